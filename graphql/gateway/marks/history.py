"""Bars of an asset's price."""

from __future__ import annotations

import strawberry

from gateway.scalars import DateTime, Decimal
from shared.domain import price_bars

BarInterval = strawberry.enum(
    price_bars.BarInterval,
    name="BarInterval",
    description="How long a bar is, on the clock of UTC.",
)


@strawberry.type(description="Open, high, low and close of a time, in USD per whole token.")
class PriceBar:
    asset: str
    interval: BarInterval  # type: ignore[valid-type]
    start: DateTime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    ticks: int = strawberry.field(description="How many prices it is made of.")
    source: str = strawberry.field(description="'marks', or the source that it was back-filled from.")


def from_bar(bar: price_bars.PriceBar) -> PriceBar:
    """A bar as the API shows it."""
    return PriceBar(
        asset=bar.asset,
        interval=bar.interval,
        start=bar.start,
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        ticks=bar.ticks,
        source=bar.source,
    )
