"""``margin_history``: each account's transitions and sampled health."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from shared.domain.margin import State
from shared.warehouse.client import Warehouse, query
from shared.warehouse.history_pages import HistoryPage


class HistoryKind(StrEnum):
    """Why a row was written."""

    TRANSITION = "transition"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """An account's margin at one moment; the amounts are None where it was unvalued."""

    row_id: str
    account_id: str
    as_of: datetime
    kind: HistoryKind
    state: State
    previous_state: State | None
    transition_sequence: int | None
    tick_sequence: int
    collateral_usd: Decimal | None
    debt_usd: Decimal | None
    health_pct: float | None


def list_page(warehouse: Warehouse, page: HistoryPage) -> list[HistoryRow]:
    """The rows of a page, each row id once.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    rows = query(warehouse, "margin_history", page.parameters)
    return [
        HistoryRow(
            row_id=row["row_id"],
            account_id=row["account_id"],
            as_of=row["as_of"],
            kind=HistoryKind(row["kind"]),
            state=State(row["state"]),
            previous_state=State(row["previous_state"]) if row["previous_state"] else None,
            transition_sequence=row["transition_sequence"],
            tick_sequence=row["tick_sequence"],
            collateral_usd=row["collateral_usd"],
            debt_usd=row["debt_usd"],
            health_pct=row["health_pct"],
        )
        for row in rows
    ]
