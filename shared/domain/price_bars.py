"""Bars: an asset's open, high, low and close in one minute, hour or day, UTC."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum


class BarInterval(StrEnum):
    """How long a bar is."""

    MINUTE = "1m"
    HOUR = "1h"
    DAY = "1d"

    @property
    def length(self) -> timedelta:
        """The time from one bar's start to the next one's."""
        return _LENGTHS[self]

    def start_of(self, moment: datetime) -> datetime:
        """The start of the bar that a moment is in."""
        since = moment - _EPOCH
        return _EPOCH + since // self.length * self.length


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LENGTHS = {
    BarInterval.MINUTE: timedelta(minutes=1),
    BarInterval.HOUR: timedelta(hours=1),
    BarInterval.DAY: timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class PriceBar:
    """One bar, in USD per whole token, made of ``ticks`` prices; ``as_of`` is when it was made."""

    asset: str
    interval: BarInterval
    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    ticks: int
    source: str
    as_of: datetime


def bars_of(
    asset: str,
    interval: BarInterval,
    observations: Iterable[tuple[datetime, Decimal]],
    *,
    source: str,
    as_of: datetime,
) -> list[PriceBar]:
    """The bars of observations (moment, price), oldest first; a bar without one is left out, not invented."""
    by_start: dict[datetime, list[Decimal]] = {}
    for moment, price in sorted(observations):
        by_start.setdefault(interval.start_of(moment), []).append(price)
    return [
        PriceBar(
            asset,
            interval,
            start,
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
            len(prices),
            source,
            as_of,
        )
        for start, prices in by_start.items()
    ]
