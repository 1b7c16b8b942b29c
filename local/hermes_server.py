"""Pyth's Hermes (v2) for this machine: what the scenario says, in Hermes's own JSON, with faults by switch.

Faithful to https://hermes.pyth.network/docs as far as prices go: ``/v2/updates/price/latest`` and
``/v2/updates/price/stream`` with ``ids[]``, ``parsed`` and ``ignore_invalid_price_ids``; the API key in
``Authorization``; ten requests in ten seconds per address and then 429 for a minute; streams with keep-alive
comments that end after a day. What is not here: the signed binary update (only its
shape is), TWAPs, metadata.

``PUT /control/prices {"<id>": {"price": "3000.5", "age_s": 0}}`` sets prices in USD and how old they claim
to be. ``PUT /control {"failing_fraction": 0.5}`` sets
faults, ``GET /control`` has them and what was served. Faults, all numbers, zero for none:

- ``delay_s``: before each answer; ``failing_fraction``: of the requests, answered with 503;
- ``stale_s``: how old publish times are; ``exponent_shift``: added to every exponent;
- ``refused``: 1 answers 403 to every key; ``silent``: 1 lets streams say nothing but keep-alive;
- ``cut``: 1 breaks streams (TCP reset) instead of the next message; ``stream_s``: a stream's whole life,
  a day where it is zero; ``confidence_bps``: of every price, one where it is zero.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

EXPONENT = -8
_LATEST, _STREAM = "/v2/updates/price/latest", "/v2/updates/price/stream"
_CONTROL, _PRICES = "/control", "/control/prices"
_FAULTS = (
    *("delay_s", "failing_fraction", "stale_s", "exponent_shift"),
    *("refused", "silent", "cut", "stream_s", "confidence_bps"),
)
_PUBLISH_EVERY_S = 0.4
_DAY_S = 86_400.0
_BPS = 10_000


class Hermes:
    """The prices, the faults, and who has asked how often.

    Args:
        api_key: what every request must carry.
        requests, window_s, penalty_s: the rate limit of one address; no limit where ``requests`` is 0.
        seed: of the failing requests.
    """

    def __init__(
        self,
        api_key: str,
        *,
        requests: int = 10,
        window_s: float = 10.0,
        penalty_s: float = 60.0,
        seed: int = 1,
    ) -> None:
        self.api_key = api_key
        self._limit = (requests, window_s, penalty_s)
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.changed = threading.Condition()
        self._prices: dict[str, tuple[int, int]] = {}
        self._faults = dict.fromkeys(_FAULTS, 0.0)
        self._counts: Counter[str] = Counter()
        self._asked: dict[str, deque[float]] = {}
        self._penalised: dict[str, float] = {}
        self._slot = 0

    def set_prices(self, prices: Mapping[str, Decimal], *, age_s: int = 0) -> None:
        """Publish prices (USD) by id, as so many seconds old from here on."""
        with self.changed:
            for identifier, price in prices.items():
                self._prices[identifier] = (int(price.scaleb(-EXPONENT)), age_s)
            self.changed.notify_all()

    def set_faults(self, faults: Mapping[str, float]) -> None:
        """Change faults.

        Raises:
            ValueError: there is no such fault, or it is not a number of at least 0.
        """
        for name, value in faults.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name not in _FAULTS or not number or (value < 0 and name != "exponent_shift"):
                raise ValueError(f"{name}: there are {', '.join(_FAULTS)}, numbers of at least 0")
        with self.changed:
            self._faults.update(faults)
            self.changed.notify_all()

    def fault(self, name: str) -> float:
        """A fault's present value."""
        with self.changed:
            return self._faults[name]

    def count(self, what: str) -> None:
        """Note that something was served."""
        with self.changed:
            self._counts[what] += 1

    def state(self) -> dict[str, Any]:
        """The faults, and what was served."""
        with self.changed:
            return {"faults": dict(self._faults), "counts": dict(self._counts)}

    def unknown(self, ids: Sequence[str]) -> list[str]:
        """Which of these have no price."""
        with self.changed:
            return [each for each in ids if each not in self._prices]

    def fails(self) -> bool:
        """Whether this request is one that fails."""
        with self.changed:
            return self._random.random() < self._faults["failing_fraction"]

    def is_throttled(self, address: str) -> bool:
        """Count a request of an address; True where it has asked too often."""
        requests, window_s, penalty_s = self._limit
        now = time.monotonic()
        with self.changed:
            if not requests:
                return False
            if now < self._penalised.get(address, 0.0):
                return True
            asked = self._asked.setdefault(address, deque())
            while asked and now - asked[0] >= window_s:
                asked.popleft()
            asked.append(now)
            if len(asked) > requests:
                self._penalised[address] = now + penalty_s
                return True
            return False

    def update(self, ids: Sequence[str]) -> dict[str, Any]:
        """The newest update of these ids, as Hermes sends it."""
        with self.changed:
            self._slot += 1
            published = int(time.time() - self._faults["stale_s"])
            exponent = EXPONENT + int(self._faults["exponent_shift"])
            bps = self._faults["confidence_bps"] or 1
            parsed = [self._parsed(each, exponent, published, bps) for each in ids if each in self._prices]
        return {"binary": {"encoding": "hex", "data": ["504e4155" + "00" * 8]}, "parsed": parsed}

    def _parsed(self, identifier: str, exponent: int, published: int, bps: float) -> dict[str, Any]:
        value, age_s = self._prices[identifier]
        published -= age_s
        price = {
            "price": str(value),
            "conf": str(abs(int(value * bps / _BPS))),
            "expo": exponent,
            "publish_time": published,
        }
        return {
            "id": identifier,
            "price": price,
            "ema_price": price,
            "metadata": {
                "slot": self._slot,
                "proof_available_time": published + 1,
                "prev_publish_time": published - 1,
            },
        }


class HermesServer(ThreadingHTTPServer):
    """Serves a Hermes on this machine; port 0 takes any."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, hermes: Hermes, port: int) -> None:
        self.hermes = hermes
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away has nothing to say about it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: HermesServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        hermes = self.server.hermes
        if parts.path == _CONTROL:
            self._json(200, hermes.state())
            return
        query = parse_qs(parts.query)
        ids = [each.removeprefix("0x").lower() for each in query.get("ids[]", [])]
        if parts.path not in (_LATEST, _STREAM):
            self._text(404, "Not Found")
        elif (refusal := self._refusal()) is not None:
            self._text(*refusal)
        elif not ids:
            self._text(400, "Failed to deserialize query string: missing field `ids`")
        elif (unknown := hermes.unknown(ids)) and query.get("ignore_invalid_price_ids") != ["true"]:
            self._text(404, f"Price ids not found: {', '.join(f'0x{each}' for each in unknown)}")
        elif parts.path == _LATEST:
            hermes.count("latest")
            self._json(200, hermes.update(ids))
        else:
            hermes.count("streams")
            self._stream(ids)

    def do_PUT(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        try:
            if self.path == _PRICES:
                for each, said in wanted.items():
                    self.server.hermes.set_prices({each: Decimal(said["price"])}, age_s=int(said["age_s"]))
            else:
                self.server.hermes.set_faults(wanted)
        except (ValueError, ArithmeticError, KeyError, TypeError) as error:
            self._json(422, {"error": str(error)})
            return
        self._json(200, self.server.hermes.state())

    def _refusal(self) -> tuple[int, str] | None:
        hermes = self.server.hermes
        hermes.count("requests")
        time.sleep(hermes.fault("delay_s"))
        if self.headers.get("Authorization") is None:
            return 401, "API key required"
        if hermes.fault("refused") or self.headers["Authorization"] != f"Bearer {hermes.api_key}":
            return 403, "Invalid API key"
        if hermes.is_throttled(self.client_address[0]):
            hermes.count("throttled")
            return 429, "Too Many Requests"
        if hermes.fails():
            hermes.count("failed")
            return 503, "Service Unavailable"
        return None

    def _stream(self, ids: Sequence[str]) -> None:
        hermes = self.server.hermes
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        ends = time.monotonic() + (hermes.fault("stream_s") or _DAY_S)
        while time.monotonic() < ends:
            if hermes.fault("cut"):
                self._reset()
                return
            if hermes.fault("silent"):
                self._chunk(b": keep-alive\n\n")
            else:
                self._chunk(b"data:" + json.dumps(hermes.update(ids)).encode() + b"\n\n")
                hermes.count("streamed")
            with hermes.changed:
                hermes.changed.wait(_PUBLISH_EVERY_S)
        self._chunk(b"event: error\ndata:Connection timeout reached (24h)\n\n")
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _reset(self) -> None:
        # Closing with a linger time of zero sends RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def finish(self) -> None:
        """Close the connection, unless it was reset."""
        if self.connection.fileno() >= 0:
            super().finish()

    def _json(self, status: int, value: Any) -> None:
        self._answer(status, "application/json", json.dumps(value).encode())

    def _text(self, status: int, text: str) -> None:
        self._answer(status, "text/plain; charset=utf-8", text.encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's name
        """Write no line per request: the counts say what was served."""


def main() -> None:
    """Serve until the process ends."""
    parser = argparse.ArgumentParser(description="Pyth's Hermes for this machine.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--requests", type=int, default=10, help="in ten seconds; 0: as many as come")
    options = parser.parse_args()
    HermesServer(Hermes(options.api_key, requests=options.requests), options.port).serve_forever()


if __name__ == "__main__":
    main()
