"""One point of an account's margin history."""

from __future__ import annotations

import strawberry

from gateway.margin.types import MarginState
from gateway.scalars import DateTime, Decimal
from shared.warehouse import exposures, margin_history

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


@strawberry.type(
    description=(
        "What an account held and owed in one hour, factors included: its last figures, and the extremes."
    )
)
class HourlyExposure:
    account_id: strawberry.ID
    hour: DateTime = strawberry.field(description="Its beginning.")
    last_as_of: DateTime = strawberry.field(description="The moment of the last figures.")
    collateral_usd: Decimal
    debt_usd: Decimal
    max_collateral_usd: Decimal
    max_debt_usd: Decimal
    min_health_pct: float | None = strawberry.field(description="Null without debt.")


@strawberry.type(
    description="What all accounts that were valued in one hour held and owed at last, factors included."
)
class HouseExposure:
    hour: DateTime = strawberry.field(description="Its beginning.")
    accounts: int
    borrowers: int = strawberry.field(description="Accounts with debt.")
    collateral_usd: Decimal
    debt_usd: Decimal
    min_health_pct: float | None = strawberry.field(description="Of all accounts in the hour.")


def from_hour(row: exposures.HourlyExposure) -> HourlyExposure:
    """The exposure of a row."""
    return HourlyExposure(
        account_id=row.account_id,  # type: ignore[arg-type]
        hour=row.hour,
        last_as_of=row.last_as_of,
        collateral_usd=row.collateral_usd,
        debt_usd=row.debt_usd,
        max_collateral_usd=row.max_collateral_usd,
        max_debt_usd=row.max_debt_usd,
        min_health_pct=row.min_health_pct,
    )


def from_house_hour(row: exposures.HouseExposure) -> HouseExposure:
    """The exposure of the whole book in an hour."""
    return HouseExposure(
        hour=row.hour,
        accounts=row.accounts,
        borrowers=row.borrowers,
        collateral_usd=row.collateral_usd,
        debt_usd=row.debt_usd,
        min_health_pct=row.min_health_pct,
    )
