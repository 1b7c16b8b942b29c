"""Margin states by name, what a change of state means for people, and the bridge to the risk core."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from shared.risk.states import MarginState


class State(StrEnum):
    """Margin states by name, from best to worst; ``UNVALUED`` is none of them."""

    NO_DEBT = "NO_DEBT"
    HEALTHY = "HEALTHY"
    WARNING = "WARNING"
    MARGIN_CALL = "MARGIN_CALL"
    LIQUIDATION = "LIQUIDATION"
    INSOLVENT = "INSOLVENT"
    UNVALUED = "UNVALUED"

    @property
    def code(self) -> MarginState:
        """The risk core's code of this state."""
        return MarginState[self.name]


def state_of(code: int) -> State:
    """The state of a risk core's code."""
    return State(MarginState(code).name)


class Severity(StrEnum):
    """How urgent a transition is for a person."""

    INFO = "info"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


_SEVERITY = {
    State.NO_DEBT: Severity.INFO,
    State.HEALTHY: Severity.INFO,
    State.WARNING: Severity.MEDIUM,
    State.MARGIN_CALL: Severity.HIGH,
    State.LIQUIDATION: Severity.CRITICAL,
    State.INSOLVENT: Severity.CRITICAL,
}


def severity(previous: State | None, state: State) -> Severity:
    """How urgent it is that an account went from ``previous`` to ``state``; a recovery is information."""
    if previous is not None and state.code < previous.code:
        return Severity.INFO
    return _SEVERITY[state]


def concerns_client(previous: State | None, state: State) -> bool:
    """Whether the client is told: of every state from WARNING on, and of leaving one of them."""
    calm = (State.NO_DEBT, State.HEALTHY, None)
    return state not in calm or previous not in calm


@dataclass(frozen=True, slots=True)
class RecordedValuation:
    """USD amounts and health when the state was recorded; ``health_pct`` is None without debt."""

    collateral_usd: Decimal
    debt_usd: Decimal
    health_pct: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the next decision on an account goes on from: its record without the numbers, which are for
    readers. The fields are those of :class:`MarginRecord`."""

    state: State
    valued_state: State | None
    transitions: int
    tick_sequence: int
    position_version: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class MarginRecord:
    """An account's margin state.

    ``state`` is what the account is now; ``valued_state`` is its last state while every asset had a mark
    (they differ only while ``state`` is UNVALUED). ``transitions`` counts the margin transitions announced.
    """

    account_id: str
    state: State
    valued_state: State | None
    transitions: int
    unvalued_assets: tuple[str, ...]
    valuation: RecordedValuation | None
    tick_sequence: int
    position_version: int
    as_of: datetime

    @property
    def standing(self) -> Standing:
        """What the next decision goes on from."""
        return Standing(
            self.state,
            self.valued_state,
            self.transitions,
            self.tick_sequence,
            self.position_version,
            self.as_of,
        )
