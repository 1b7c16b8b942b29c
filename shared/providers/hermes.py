"""Pyth's prices through Hermes, its HTTP service (v2).

Source: https://docs.pyth.network/price-feeds/api-instances-and-providers/hermes. Every request carries the
API key; 401 and 403 mean that it is not accepted. An address may ask ten times in ten seconds, and gets 429
for a minute after that (https://docs.pyth.network/price-feeds/rate-limits). Hermes serves old prices without
complaint: whoever uses one looks at its publish time.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import lru_cache, partial
from urllib.parse import urlencode, urlsplit

import orjson
import urllib3

from shared.domain.price_sources import HermesTransport, PriceSource
from shared.domain.quotes import SourceAnswer
from shared.errors import HeldBackError, RetryableError, TerminalError
from shared.providers.hermes_prices import parse_prices
from shared.providers.hermes_stream import HermesStream
from shared.racing import LatencyWindow, Race, RetryBudget, first_reply

REQUESTS, WINDOW_S, PENALTY_S = 10, 10.0, 60.0
_FOR_FIRST_REQUESTS = REQUESTS // 2
"""Second attempts leave this much of the rate limit to the ticks that follow."""
_FOR_STREAMS = 2
"""What is not spent on asking, so that a stream that was cut can come back at once."""
_REFUSED = frozenset({401, 403})
_THROTTLED = 429
_NOT_FOUND = 404
_ID = re.compile(r"[0-9a-f]{64}")


class HermesSource:
    """Prices by Pyth's price id, asked for at every read or streamed in between.

    Args:
        source: how to reach it: transport, timeout, and the silence after which a stream has failed.
        urls: base addresses, in order of preference.
        executor: runs requests side by side.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        source: PriceSource,
        urls: Sequence[str],
        api_key: str,
        *,
        executor: Executor,
        monotonic: Callable[[], float],
    ) -> None:
        self.latency = LatencyWindow()
        self._urls = [url.rstrip("/") for url in urls]
        self._headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        self._timeout_s = source.timeout_s
        # A pool per address, which is given the target alone: PoolManager would take a hundred ids apart,
        # character by character, three times where this does it twice.
        self._pools = {url: self._pool(url) for url in self._urls}
        self._race = Race(executor, monotonic)
        self._monotonic = monotonic
        self._budget = RetryBudget()
        self._limit = RateLimit(monotonic)
        self._lock = threading.Lock()
        self._stream: HermesStream | None = None
        self._streams = source.transport is HermesTransport.STREAM
        self._silence_s = source.silence_s or source.timeout_s

    def read(self, feeds: Mapping[str, str]) -> dict[str, SourceAnswer | str]:
        """The newest known price of every asset, or the reason why there is none.

        While a stream delivers, nothing is asked.

        Raises:
            HeldBackError: the rate limit is used up, so it was not asked.
            TerminalError: the key is not accepted.
            RetryableError: Hermes did not answer in time, or the stream has failed and nothing else answers.
        """
        ids = {asset: feed.removeprefix("0x").lower() for asset, feed in feeds.items()}
        wanted = sorted({each for each in ids.values() if _ID.fullmatch(each)})
        if self._streams:
            streamed = self._streamed(wanted)
            if streamed is not None:
                return {asset: streamed.get(each, _unknown(each)) for asset, each in ids.items()}
        found = self._ask(wanted)
        return {asset: found.get(each, _unknown(each)) for asset, each in ids.items()}

    def close(self) -> None:
        """End the stream; the next read begins another."""
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _pool(self, url: str) -> urllib3.HTTPConnectionPool:
        limits = urllib3.Timeout(connect=self._timeout_s, read=self._timeout_s)
        return urllib3.connection_from_url(url, maxsize=8, timeout=limits, retries=False)

    def _streamed(self, wanted: Sequence[str]) -> dict[str, SourceAnswer] | None:
        """What the stream has delivered; None while it does not."""
        with self._lock:
            stream = self._stream
            if stream is None or not stream.covers(wanted):
                previous = stream
                url = f"{self._urls[0]}/v2/updates/price/stream?{_query(wanted)}"
                stream = self._stream = HermesStream(
                    url,
                    self._headers,
                    silence_s=self._silence_s,
                    monotonic=self._monotonic,
                    ids=wanted,
                    may_connect=self._limit.take,
                )
                stream.start()
                if previous is not None:
                    previous.close()
        return stream.prices() if stream.delivers() else None

    def _ask(self, wanted: Sequence[str]) -> dict[str, SourceAnswer]:
        if not wanted:
            return {}
        if not self._limit.take(_FOR_STREAMS):
            raise HeldBackError("Hermes is not asked: its rate limit is used up")
        self._budget.earn()
        return self._race.run(
            [partial(self._latest, url, wanted) for url in (*self._urls, *self._urls)],
            first_reply,
            together=1,
            patience_s=self.latency.patience_s(self._timeout_s, others=len(self._urls) > 1),
            limit_s=self._timeout_s,
            may_add=lambda: (
                self._limit.has_room(_FOR_FIRST_REQUESTS) and self._budget.spend() and self._limit.take()
            ),
        )

    def _latest(self, url: str, wanted: Sequence[str]) -> dict[str, SourceAnswer]:
        started = self._monotonic()
        try:
            response = self._pools[url].urlopen(
                "GET", f"{urlsplit(url).path}/v2/updates/price/latest?{_query(wanted)}", headers=self._headers
            )
        except urllib3.exceptions.HTTPError as error:
            raise RetryableError(f"Hermes did not answer: {type(error).__name__}") from error
        if response.status in _REFUSED:
            raise TerminalError(f"Hermes answered HTTP {response.status}: the API key is not accepted")
        if response.status == _THROTTLED:
            self._limit.penalise(PENALTY_S)
            raise RetryableError("Hermes answered HTTP 429: its rate limit is exceeded")
        if response.status == _NOT_FOUND:
            return self._without_unknown(url, wanted, response.data.decode(errors="replace"))
        if response.status != 200:
            raise RetryableError(f"Hermes answered HTTP {response.status}")
        self.latency.add(self._monotonic() - started)
        try:
            return parse_prices(orjson.loads(response.data))
        except ValueError as error:
            raise RetryableError(f"Hermes answered what is no price update: {error}") from error

    def _without_unknown(self, url: str, wanted: Sequence[str], said: str) -> dict[str, SourceAnswer]:
        """Ask again without the ids that a Hermes which does not pass over them has named."""
        unknown = {each for each in wanted if each in said.lower()}
        rest = [each for each in wanted if each not in unknown]
        if not unknown:
            raise RetryableError(f"Hermes answered HTTP 404: {said[:200]}")
        if not rest or not self._limit.take():
            return {}
        return self._latest(url, rest)


class RateLimit:
    """So many requests in a sliding window; safe for threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._made: deque[float] = deque()
        self._closed_until = 0.0
        self._lock = threading.Lock()

    def take(self, spare: int = 0) -> bool:
        """Whether a request, and as many as are spared, may be made now; it then counts."""
        with self._lock:
            if not self._has_room(spare):
                return False
            self._made.append(self._monotonic())
            return True

    def has_room(self, spare: int) -> bool:
        """Whether so many requests and one more may be made now."""
        with self._lock:
            return self._has_room(spare)

    def penalise(self, seconds: float) -> None:
        """Make none for a while."""
        with self._lock:
            self._closed_until = self._monotonic() + seconds

    def _has_room(self, spare: int = 0) -> bool:
        now = self._monotonic()
        while self._made and now - self._made[0] >= WINDOW_S:
            self._made.popleft()
        return now >= self._closed_until and len(self._made) + spare < REQUESTS


def _query(ids: Sequence[str]) -> str:
    return _query_of(tuple(ids))


@lru_cache(maxsize=8)
def _query_of(ids: tuple[str, ...]) -> str:
    """The query of the ids, which are the same from tick to tick."""
    words = [("ids[]", each) for each in ids]
    return urlencode([*words, ("encoding", "hex"), ("parsed", "true"), ("ignore_invalid_price_ids", "true")])


def _unknown(identifier: str) -> str:
    return f"Hermes has no price of {identifier}"
