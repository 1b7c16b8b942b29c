"""``market.prices.v1``: one tick, every asset's mark and what it was made of, and markets' indexes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

from pydantic import ConfigDict, model_validator

from shared.domain.marks import MarkStatus, Method, UsableMark, with_debt_marks
from shared.domain.positions import position_key
from shared.domain.quotes import Refusal
from shared.events.base import (
    AssetId,
    BaseUnits,
    Event,
    ExactDecimal,
    Identifier,
    Instant,
    NonNegativeInt,
    PositiveInt,
    Record,
)


class SourceQuote(Record):
    """What one source said, in USD per whole token.

    ``refusal`` and ``reason`` say why a quote does not count; a carried one was heard at ``read_at``, before
    this tick. ``reference`` is the round id or publish time under which the source has it.
    """

    model_config = ConfigDict(from_attributes=True)

    source: Identifier
    provider: Identifier
    price: ExactDecimal | None = None
    confidence: ExactDecimal | None = None
    observed_at: Instant | None = None
    read_at: Instant | None = None
    reference: str | None = None
    is_carried: bool = False
    refusal: Refusal | None = None
    reason: str | None = None


class LastGood(Record):
    """The newest mark that could be used."""

    model_config = ConfigDict(from_attributes=True)

    price: ExactDecimal
    confidence: ExactDecimal
    observed_at: Instant
    max_age_s: PositiveInt


class Mark(Record):
    """The price used for one asset, in USD per whole token, and where it came from.

    ``price`` is present exactly when ``status`` is ``ok`` or ``degraded``; otherwise ``reason`` says what was
    seen. ``collateral_price`` and ``debt_price`` are what the asset's policy values either side at; absent,
    it is the price.
    ``max_age_s`` is the age of ``observed_at`` from which the mark may no longer be used. ``source`` names
    those whose quotes count, joined by ``+``.
    """

    asset: AssetId
    status: MarkStatus
    price: ExactDecimal | None = None
    confidence: ExactDecimal | None = None
    collateral_price: ExactDecimal | None = None
    debt_price: ExactDecimal | None = None
    source: Identifier
    method: Method = Method.NONE
    observed_at: Instant | None = None
    age_s: NonNegativeInt | None = None
    max_age_s: PositiveInt
    reason: str | None = None
    is_off_peg: bool = False
    last_good: LastGood | None = None
    held_since: Instant | None = None
    quotes: tuple[SourceQuote, ...] = ()

    @model_validator(mode="after")
    def _price_matches_status(self) -> Self:
        if self.is_usable:
            if self.price is None or self.price <= 0:
                raise ValueError("price must be greater than zero where status is ok or degraded")
            if self.observed_at is None:
                raise ValueError("observed_at must be given where status is ok or degraded")
            if self.collateral_price is not None and not 0 < self.collateral_price <= self.price:
                raise ValueError("collateral_price must be above zero and not above price")
            if self.debt_price is not None and self.debt_price < self.price:
                raise ValueError("debt_price must not be below price")
        elif self.price is not None:
            raise ValueError("price must be absent where status is stale or halted")
        elif not self.reason:
            raise ValueError("reason must be given where status is stale or halted")
        return self

    @property
    def is_usable(self) -> bool:
        """Whether there is a price."""
        return self.status.is_usable

    @property
    def usable(self) -> UsableMark | None:
        """What the asset is valued at; None where there is no price."""
        if self.price is None:
            return None
        collateral = self.price if self.collateral_price is None else self.collateral_price
        return UsableMark(self.price, collateral, self.price if self.debt_price is None else self.debt_price)

    def is_fresh(self, moment: datetime) -> bool:
        """Whether the observation is young enough at a moment."""
        return self.observed_at is not None and moment - self.observed_at <= timedelta(seconds=self.max_age_s)


class MarketIndex(Record):
    """What a debt to one market amounts to at the tick: ``shares · borrow_index``, with 27 decimals.

    The index is grown to the tick's moment, at the rate and from the moment that the market last reported; it
    is that report's own where the chain's clock is ahead of the tick's.
    """

    chain_id: PositiveInt
    asset: AssetId
    borrow_index: BaseUnits
    rate_per_second: BaseUnits
    reported_at: Instant


class PriceTick(Event):
    """Every asset's mark and every market's index at one moment. ``sequence`` rises by one per tick, across
    restarts."""

    sequence: PositiveInt
    as_of: Instant
    block_numbers: dict[str, NonNegativeInt]
    marks: tuple[Mark, ...]
    markets: tuple[MarketIndex, ...]

    @model_validator(mode="after")
    def _one_mark_per_asset(self) -> Self:
        assets = [mark.asset for mark in self.marks]
        if len(set(assets)) != len(assets):
            raise ValueError("marks must hold each asset once")
        if len(self.borrow_indexes) != len(self.markets):
            raise ValueError("markets must hold each market once")
        return self

    @property
    def borrow_indexes(self) -> dict[str, int]:
        """The borrow index of each market, by the key of a position in it."""
        return {position_key(each.chain_id, each.asset): each.borrow_index for each in self.markets}

    def is_current(self, moment: datetime, max_age_s: float) -> bool:
        """Whether the tick as a whole is young enough at a moment."""
        return moment - self.as_of <= timedelta(seconds=max_age_s)

    def usable_marks(self) -> dict[str, UsableMark]:
        """What every asset with a usable mark is valued at, and by market what a share of debt in it is."""
        usable = {mark.asset: each for mark in self.marks if (each := mark.usable) is not None}
        return with_debt_marks(usable, self.borrow_indexes)

    def usable_marks_at(self, moment: datetime, max_age_s: float) -> dict[str, UsableMark]:
        """Those that may be used at a moment: of marks that are usable and fresh, in a current tick."""
        if not self.is_current(moment, max_age_s):
            return {}
        usable = {
            mark.asset: each
            for mark in self.marks
            if mark.is_fresh(moment) and (each := mark.usable) is not None
        }
        return with_debt_marks(usable, self.borrow_indexes)


def tick_id(sequence: int) -> str:
    """The event id of a tick; zero-padded so that ids sort as the ticks do."""
    return f"tick:{sequence:012d}"
