"""Alerts: margin transitions that were announced."""

from __future__ import annotations

from typing import Any

import strawberry

from gateway.margin.types import MarginState, MessageKind
from gateway.scalars import DateTime, Decimal
from shared.domain import margin
from shared.events.margin import MarginTransition

Severity = strawberry.enum(margin.Severity, name="Severity", description="How urgent it is for a person.")


@strawberry.type(description="The mark of one asset that a decision was made with.")
class MarkUsed:
    asset: str
    price: Decimal


@strawberry.type(description="An account entered another margin state.")
class Alert:
    id: strawberry.ID
    account_id: strawberry.ID
    sequence: int = strawberry.field(description="Counts the account's transitions, from 1.")
    previous_state: MarginState | None  # type: ignore[valid-type]
    state: MarginState  # type: ignore[valid-type]
    severity: Severity  # type: ignore[valid-type]
    notify: bool = strawberry.field(description="Whether people were notified.")
    collateral_usd: Decimal
    debt_usd: Decimal
    health_pct: float | None = strawberry.field(description="Null without debt.")
    marks: list[MarkUsed]
    tick_sequence: int
    position_version: int
    as_of: DateTime
    encoded: strawberry.Private[dict[Any, str]] = strawberry.field(default_factory=dict)


@strawberry.type(
    description=(
        "Alerts since the message before, oldest first. Pass cursor as after when you subscribe again: the "
        "snapshot then holds what you missed."
    )
)
class AlertsMessage:
    kind: MessageKind
    alerts: list[Alert]
    cursor: str


def from_transition(transition: MarginTransition) -> Alert:
    """The alert of a transition."""
    return Alert(
        id=transition.event_id,  # type: ignore[arg-type]
        account_id=transition.account_id,  # type: ignore[arg-type]
        sequence=transition.sequence,
        previous_state=transition.previous_state,
        state=transition.state,
        severity=transition.severity,
        notify=transition.notify,
        collateral_usd=transition.valuation.collateral_usd,
        debt_usd=transition.valuation.debt_usd,
        health_pct=transition.valuation.health_pct,
        marks=[MarkUsed(asset=asset, price=price) for asset, price in sorted(transition.marks.items())],
        tick_sequence=transition.tick_sequence,
        position_version=transition.position_version,
        as_of=transition.as_of,
    )
