"""``market.prices.v1``: one tick, every asset's mark."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Self

from pydantic import model_validator

from shared.domain.marks import MarkStatus
from shared.events.base import (
    AssetId,
    Event,
    ExactDecimal,
    Identifier,
    Instant,
    NonNegativeInt,
    PositiveInt,
    Record,
)


class Mark(Record):
    """The price used for one asset, in USD per whole token, and where it came from.

    ``price`` is present exactly when ``status`` is ``ok``; otherwise ``reason`` says what was seen.
    ``max_age_s`` is the age of ``observed_at`` from which the mark may no longer be used.
    """

    asset: AssetId
    status: MarkStatus
    price: ExactDecimal | None = None
    source: Identifier
    round_id: str | None = None
    observed_at: Instant | None = None
    max_age_s: PositiveInt
    reason: str | None = None

    @model_validator(mode="after")
    def _price_matches_status(self) -> Self:
        if self.status is MarkStatus.OK:
            if self.price is None or self.price <= 0:
                raise ValueError("price must be greater than zero where status is ok")
            if self.observed_at is None:
                raise ValueError("observed_at must be given where status is ok")
        elif self.price is not None:
            raise ValueError("price must be absent where status is not ok")
        elif not self.reason:
            raise ValueError("reason must be given where status is not ok")
        return self

    def is_fresh(self, moment: datetime) -> bool:
        """Whether the observation is young enough at a moment."""
        return self.observed_at is not None and moment - self.observed_at <= timedelta(seconds=self.max_age_s)


class PriceTick(Event):
    """Every asset's mark at one moment. ``sequence`` rises by one per tick, across restarts."""

    sequence: PositiveInt
    as_of: Instant
    block_numbers: dict[str, NonNegativeInt]
    marks: tuple[Mark, ...]

    @model_validator(mode="after")
    def _one_mark_per_asset(self) -> Self:
        assets = [mark.asset for mark in self.marks]
        if len(set(assets)) != len(assets):
            raise ValueError("marks must hold each asset once")
        return self

    def is_current(self, moment: datetime, max_age_s: float) -> bool:
        """Whether the tick as a whole is young enough at a moment."""
        return moment - self.as_of <= timedelta(seconds=max_age_s)

    def prices_at(self, moment: datetime, max_age_s: float) -> dict[str, Decimal | None]:
        """The prices that may be used at a moment: of marks that are usable and fresh, in a current tick."""
        if not self.is_current(moment, max_age_s):
            return {}
        return {
            mark.asset: mark.price
            for mark in self.marks
            if mark.status is MarkStatus.OK and mark.is_fresh(moment)
        }


def tick_id(sequence: int) -> str:
    """The event id of a tick; zero-padded so that ids sort as the ticks do."""
    return f"tick:{sequence:012d}"
