"""Hermes's stream of price updates (server-sent events), followed by a thread.

Hermes closes a stream after a day; that is no failure. One that is cut is, and so is one that stays open and
says nothing new: nobody would notice otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import orjson
import urllib3

from shared.domain.quotes import SourceAnswer
from shared.providers.hermes_prices import parse_prices

_DATA = b"data:"
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_REFUSED = frozenset({401, 403})
_CLOSED_BY_RULE = b"Connection timeout reached"


class HermesStream:
    """Keeps the newest price of each id, and connects again whenever the stream ends.

    Args:
        url: the stream with its query.
        silence_s: how long it may say nothing before it counts as failed.
        ids: what the query asks for.
        may_connect: asked before each connection, which counts against Hermes's rate limit.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        silence_s: float,
        monotonic: Callable[[], float],
        ids: Sequence[str],
        may_connect: Callable[[], bool],
    ) -> None:
        self._url = url
        self._headers = {**headers, "Accept": "text/event-stream"}
        self._silence_s = silence_s
        self._monotonic = monotonic
        self._ids = frozenset(ids)
        self._may_connect = may_connect
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=silence_s, read=silence_s), retries=False
        )
        self._thread = threading.Thread(target=self._follow, name="hermes-stream", daemon=True)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._prices: dict[str, SourceAnswer] = {}
        self._heard_at: float | None = None
        self._response: urllib3.BaseHTTPResponse | None = None
        self.last_failure: str | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._ended.set()
        with self._lock:
            response = self._response
        if response is not None:
            response.shutdown()
        self._pool.clear()

    def covers(self, ids: Sequence[str]) -> bool:
        """Whether it was asked for all of these."""
        return self._ids.issuperset(ids) and not self._ended.is_set()

    def delivers(self) -> bool:
        """Whether it has said something new within its silence."""
        heard_at = self._heard_at
        return heard_at is not None and self._monotonic() - heard_at <= self._silence_s

    def prices(self) -> dict[str, SourceAnswer]:
        """The newest price of each id."""
        with self._lock:
            return dict(self._prices)

    def _follow(self) -> None:
        in_a_row = 0
        while not self._ended.is_set():
            if not self._may_connect():
                self._ended.wait(_PAUSES_S[0])
                continue
            failure = self._follow_once()
            if self._ended.is_set():
                return
            in_a_row = 0 if self._heard_at is not None else in_a_row
            if failure is None:
                continue
            self.last_failure = failure
            # What was heard is not new any more: whoever reads must ask until the stream delivers again.
            self._heard_at = None
            self._ended.wait(_PAUSES_S[min(in_a_row, len(_PAUSES_S) - 1)])
            in_a_row += 1

    def _follow_once(self) -> str | None:
        """Read one connection to its end; why that was a failure, or None where it was not."""
        try:
            response = self._pool.request("GET", self._url, headers=self._headers, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            return f"the stream did not open: {type(error).__name__}"
        with self._lock:
            self._response = response
        try:
            if response.status != 200:
                if response.status in _REFUSED:
                    self._ended.wait(_PAUSES_S[-1])
                return f"the stream answered HTTP {response.status}"
            started = self._monotonic()
            for line in response:
                if _CLOSED_BY_RULE in line:
                    return None
                if line.startswith(_DATA):
                    self._take(line[len(_DATA) :])
                if self._monotonic() - (self._heard_at or started) > self._silence_s:
                    return f"the stream said nothing new for {self._silence_s:g} s"
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return f"the stream was cut: {type(error).__name__}"
        finally:
            with self._lock:
                self._response = None
            response.close()
        return "the stream ended early"

    def _take(self, data: bytes) -> None:
        prices = parse_prices(orjson.loads(data))
        with self._lock:
            for identifier, answer in prices.items():
                known = self._prices.get(identifier)
                if known is None or answer.observed_s >= known.observed_s:
                    self._prices[identifier] = answer
        if prices:
            self._heard_at = self._monotonic()
