"""``alerts.margin.v1``, ``margin.samples.v1``, ``margin.sweeps.v1`` and ``margin.shards.v1``."""

from __future__ import annotations

from pydantic import model_validator

from shared.domain.margin import Severity, State
from shared.domain.sharding import Shard
from shared.events.base import (
    Address,
    AssetId,
    Event,
    ExactDecimal,
    Instant,
    NonNegativeInt,
    PositiveInt,
    Record,
)
from shared.events.prices import PriceTick


class Valuation(Record):
    """The numbers behind a decision. ``health_pct`` is absent where there is no debt."""

    collateral_usd: ExactDecimal
    debt_usd: ExactDecimal
    health_pct: float | None


class MarginTransition(Event):
    """An account entered another margin state. ``sequence`` counts its transitions, from 1."""

    account_id: Address
    sequence: PositiveInt
    previous_state: State | None
    state: State
    severity: Severity
    notify: bool
    valuation: Valuation
    marks: dict[AssetId, ExactDecimal]
    tick_sequence: NonNegativeInt
    position_version: PositiveInt
    as_of: Instant


class Sample(Record):
    """One account's health at a sampling moment."""

    account_id: Address
    state: State
    valuation: Valuation | None


class MarginSamples(Event):
    """The sampled health of some of the accounts."""

    as_of: Instant
    tick_sequence: NonNegativeInt
    samples: tuple[Sample, ...]


class MarginSweep(Event):
    """The clock's request to look at ages of marks and to sample every account's health."""


class MarginShardWork(Event):
    """A tick, or without one a sweep, for one shard of the book (see :mod:`shared.domain.sharding`).

    ``as_of`` is the moment of the sweep, or of the message that brought the tick.
    """

    shard: NonNegativeInt
    shards: PositiveInt
    tick: PriceTick | None
    as_of: Instant

    @model_validator(mode="after")
    def _is_a_shard(self) -> MarginShardWork:
        Shard(self.shard, self.shards)
        return self


def shard_work_id(work: str, shard: int, shards: int) -> str:
    """The event id of one shard's part of ``work``: a tick's event id, or a sweep and its moment."""
    return f"{work}:{shard}-of-{shards}"


def transition_id(account_id: str, sequence: int) -> str:
    """The event id, and the alert id, of an account's transition."""
    return f"{account_id}:{sequence:06d}"
