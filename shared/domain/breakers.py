"""Circuit breakers: what keeps failing is left alone for a while, and then tried once.

One breaker per source *and asset*, so that an asset that a source does not know costs the others nothing
(M. Nygard, Release It!, "Circuit Breaker").
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

FAILURES_TO_OPEN = 3
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=60)


class BreakerState(StrEnum):
    """``CLOSED``: asked. ``OPEN``: left alone until a moment. ``HALF_OPEN``: asked once, to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker(NamedTuple):
    """What is known of one source and asset.

    Args:
        failures: in a row.
        openings: in a row; each doubles the pause, up to a minute.
        retry_at: until when it is left alone; None while closed.
        last_error: why it failed last, also after it has recovered.
    """

    failures: int = 0
    openings: int = 0
    retry_at: datetime | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None
    last_success_at: datetime | None = None

    def state(self, now: datetime) -> BreakerState:
        """What it is at a moment."""
        if self.retry_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.retry_at else BreakerState.HALF_OPEN

    def allows(self, now: datetime) -> bool:
        """Whether the source may be asked about the asset at a moment."""
        return self.state(now) is not BreakerState.OPEN

    def succeeded(self, now: datetime) -> Breaker:
        """After an answer: closed."""
        return Breaker(0, 0, None, self.last_error, self.last_error_at, now)

    def failed(self, now: datetime, error: str, *, opens_at_once: bool = False) -> Breaker:
        """After a failure: open where it was the last of too many in a row, a trial, or final in itself
        (a refused key gets no better by asking again)."""
        failures = self.failures + 1
        told = self._replace(failures=failures, last_error=error, last_error_at=now)
        if failures < FAILURES_TO_OPEN and self.retry_at is None and not opens_at_once:
            return told
        pause = _LONGEST_PAUSE if opens_at_once else min(_FIRST_PAUSE * 2**self.openings, _LONGEST_PAUSE)
        return told._replace(openings=min(self.openings + 1, 6), retry_at=now + pause)
