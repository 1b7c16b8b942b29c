"""One point of an account's margin history."""

from __future__ import annotations

import strawberry

from gateway.margin.types import MarginState
from gateway.scalars import DateTime, Decimal
from shared.warehouse import margin_history

HistoryKind = strawberry.enum(
    margin_history.HistoryKind, name="HistoryKind", description="Why the point was recorded."
)


@strawberry.type(description="An account's margin at one moment of the past.")
class MarginPoint:
    id: strawberry.ID
    account_id: strawberry.ID
    as_of: DateTime
    kind: HistoryKind  # type: ignore[valid-type]
    state: MarginState  # type: ignore[valid-type]
    previous_state: MarginState | None  # type: ignore[valid-type]
    transition_sequence: int | None
    tick_sequence: int
    collateral_usd: Decimal | None
    debt_usd: Decimal | None
    health_pct: float | None


def from_row(row: margin_history.HistoryRow) -> MarginPoint:
    """The point of a row."""
    return MarginPoint(
        id=row.row_id,  # type: ignore[arg-type]
        account_id=row.account_id,  # type: ignore[arg-type]
        as_of=row.as_of,
        kind=row.kind,
        state=row.state,
        previous_state=row.previous_state,
        transition_sequence=row.transition_sequence,
        tick_sequence=row.tick_sequence,
        collateral_usd=row.collateral_usd,
        debt_usd=row.debt_usd,
        health_pct=row.health_pct,
    )
