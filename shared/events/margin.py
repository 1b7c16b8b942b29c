"""``alerts.margin.v1``, ``margin.samples.v1`` and ``margin.sweeps.v1``."""

from __future__ import annotations

from shared.domain.margin import Severity, State
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


def transition_id(account_id: str, sequence: int) -> str:
    """The event id, and the alert id, of an account's transition."""
    return f"{account_id}:{sequence:06d}"
