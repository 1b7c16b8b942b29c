"""How well a provider has answered lately, and until when it is to be left alone."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from shared.errors import RetryableError

_WEIGHT = 0.2
_LEAST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_LONGEST_ASKED_S = 30.0
_LONGEST_WAIT_S = 0.5
_LEAST_SILENCE_S = 1.0
_LONGEST_SILENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class HealthFigures:
    """A provider's figures since the process started. ``score`` is from 0 to 1."""

    score: float
    requests: int
    failures: int
    rate_limits: int
    latency_s: float | None
    open: bool


class Clock(Protocol):
    """Where time is read and spent."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    def pause(self, seconds: float) -> None:
        """Wait."""


class ProviderHealth:
    """A moving average of successes, counts, the pause that a rate limit asks for, and how long nobody should
    wait for a silent provider who has another to ask."""

    def __init__(self, clock: Clock | None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._score = 1.0
        self._latency_s: float | None = None
        self._pause_s = 0.0
        self._paused_until = 0.0
        self._silence_s = 0.0
        self._silent_until = 0.0

    @property
    def score(self) -> float:
        """From 0 (every recent request failed) to 1."""
        with self._lock:
            return self._score

    @property
    def open(self) -> bool:
        """False while a rate limit's pause lasts."""
        return self._clock is None or self._clock.monotonic() >= self._paused_until

    @property
    def silent(self) -> bool:
        """True for a while after a request that was not answered in time."""
        return self._clock is not None and self._clock.monotonic() < self._silent_until

    @contextmanager
    def request(self) -> Iterator[None]:
        """Around one request: counts it and notes how it went."""
        started = None if self._clock is None else self._clock.monotonic()
        with self._lock:
            self._counts["requests"] += 1
        try:
            yield
        except RetryableError:
            self.failed()
            raise
        with self._lock:
            self._score += _WEIGHT * (1.0 - self._score)
            self._pause_s = self._silence_s = 0.0
            if started is not None and self._clock is not None:
                taken_s = self._clock.monotonic() - started
                known_s = taken_s if self._latency_s is None else self._latency_s
                self._latency_s = known_s + _WEIGHT * (taken_s - known_s)

    def failed(self) -> None:
        """An answer could not be used: a transport failure, or one that contradicts itself."""
        with self._lock:
            self._counts["failures"] += 1
            self._score -= _WEIGHT * self._score

    def timed_out(self) -> None:
        """A request was not answered in time: rely on others, twice as long as the last time."""
        with self._lock:
            self._silence_s = min(_LONGEST_SILENCE_S, max(_LEAST_SILENCE_S, 2 * self._silence_s))
            if self._clock is not None:
                self._silent_until = self._clock.monotonic() + self._silence_s

    def rate_limited(self, retry_after: str | None) -> None:
        """Leave the provider alone: as long as it says, else twice as long as the last time."""
        with self._lock:
            self._counts["rate_limits"] += 1
            asked_s = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
            self._pause_s = min(_LONGEST_PAUSE_S, max(_LEAST_PAUSE_S, 2 * self._pause_s))
            if self._clock is not None:
                pause_s = max(self._pause_s, min(asked_s, _LONGEST_ASKED_S))
                self._paused_until = self._clock.monotonic() + pause_s

    def wait(self) -> bool:
        """Wait until a rate limit's pause is over; False where that is too long to hold a request for."""
        if self._clock is None:
            return False
        with self._lock:
            left_s = self._paused_until - self._clock.monotonic()
        if left_s > _LONGEST_WAIT_S:
            return False
        self._clock.pause(left_s)
        return True

    def figures(self) -> HealthFigures:
        """The present figures."""
        is_open = self.open
        with self._lock:
            counts: Mapping[str, int] = self._counts
            return HealthFigures(
                score=self._score,
                requests=counts["requests"],
                failures=counts["failures"],
                rate_limits=counts["rate_limits"],
                latency_s=self._latency_s,
                open=is_open,
            )
