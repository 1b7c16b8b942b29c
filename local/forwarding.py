"""What the proxies of chaos runs share: a small HTTP server that passes requests on, and a control endpoint.

Plain sockets and threads rather than a web framework, because a proxy must be able to break a connection.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

CONTROL_PATH = "/control"
_UPSTREAM_LIMIT_S = 120.0
# Of one connection, so not passed on (RFC 9110, 7.6.1); the proxy's server writes its own.
_HOP_HEADERS = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date", "server"}
)


@dataclass(frozen=True)
class ProxiedRequest:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class ProxiedAnswer:
    """What goes back; None as ``body`` breaks the connection instead (TCP reset)."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


CONNECTION_RESET = ProxiedAnswer(0, {}, None)


class Proxy(ABC):
    """Passes requests to ``upstream``, disturbed as its settings say.

    Settings are fractions and seconds by name; they begin at zero, which disturbs nothing, and are changed
    by ``PUT /control``. Every decision is drawn from one seeded source, and what was done is counted.
    """

    def __init__(self, upstream: str, seed: int, settings: Mapping[str, float]) -> None:
        self._upstream = upstream.rstrip("/")
        self._pool = urllib3.PoolManager(maxsize=64, retries=False, timeout=_UPSTREAM_LIMIT_S)
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._lock = threading.Lock()
        self._settings = dict(settings)
        self._counts: Counter[str] = Counter()

    @abstractmethod
    def answer(self, request: ProxiedRequest) -> ProxiedAnswer:
        """What becomes of one request."""

    def forward(self, request: ProxiedRequest) -> ProxiedAnswer:
        """Upstream's answer; 502 where there is none."""
        try:
            answer = self._pool.request(
                request.method,
                self._upstream + request.path,
                body=request.body,
                headers={name: value for name, value in request.headers.items() if _is_passed_on(name)},
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            return ProxiedAnswer(502, {"Content-Type": "text/plain"}, str(error).encode())
        headers = {name: value for name, value in answer.headers.items() if _is_passed_on(name)}
        return ProxiedAnswer(answer.status, headers, answer.data)

    def count(self, what: str) -> None:
        """Note that something was done."""
        with self._lock:
            self._counts[what] += 1

    def draw(self) -> float:
        """The next number from 0 to 1."""
        with self._lock:
            return self._random.random()

    def setting(self, name: str) -> float:
        """A setting's present value."""
        with self._lock:
            return self._settings[name]

    def control(self, request: ProxiedRequest) -> ProxiedAnswer:
        """Read the settings and counts, or change settings."""
        if request.method == "PUT":
            problem = self._change(request.body)
            if problem is not None:
                return _json(422, {"error": problem})
        with self._lock:
            return _json(200, {"settings": self._settings, "counts": dict(self._counts)})

    def change(self, settings: Mapping[str, float]) -> None:
        """Change settings.

        Raises:
            ValueError: there is no such setting, or it is not a number of at least 0.
        """
        problem = self._change(json.dumps(settings).encode())
        if problem is not None:
            raise ValueError(problem)

    def _change(self, body: bytes) -> str | None:
        try:
            wanted = json.loads(body)
        except ValueError as error:
            return f"not JSON: {error}"
        with self._lock:
            unknown = set(wanted) - set(self._settings)
            if unknown:
                return f"unknown settings {sorted(unknown)}; there are {sorted(self._settings)}"
            wrong = [
                name for name, value in wanted.items() if not isinstance(value, int | float) or value < 0
            ]
            if wrong:
                return f"{', '.join(wrong)} must be a number of at least 0"
            self._settings.update(wanted)
        return None


def serve(proxy: Proxy, port: int) -> None:
    """Serve a proxy until the process ends."""
    _Server(("127.0.0.1", port), proxy).serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave in one segment, and at once.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = ProxiedRequest(self.command, self.path, dict(self.headers.items()), body)
        proxy = self.server.proxy
        answer = proxy.control(request) if self.path == CONTROL_PATH else proxy.answer(request)
        if answer.body is None:
            self._reset()
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - http.server's names

    def _reset(self) -> None:
        # Closing with a linger time of zero sends RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def finish(self) -> None:
        """Close the connection, unless it was reset."""
        if self.connection.fileno() >= 0:
            super().finish()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's name
        """Write no line per request: the counts say what was done."""


def _is_passed_on(header: str) -> bool:
    return header.lower() not in _HOP_HEADERS


def _json(status: int, value: Any) -> ProxiedAnswer:
    return ProxiedAnswer(status, {"Content-Type": "application/json"}, json.dumps(value).encode())
