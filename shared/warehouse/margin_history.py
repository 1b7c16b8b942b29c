"""``margin_history``: each account's transitions and sampled health."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from google.cloud.bigquery import ScalarQueryParameter

from shared.domain.margin import State
from shared.warehouse.client import Warehouse, query


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


_BEGINNING = (datetime(1, 1, 1, tzinfo=UTC), "")


def list_page(
    warehouse: Warehouse,
    account_id: str,
    *,
    start: datetime,
    finish: datetime,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[HistoryRow]:
    """Up to ``limit`` rows with ``start <= as_of < finish``, oldest first, from the one behind ``after``
    (as_of, row id); each row id once.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    after_as_of, after_row_id = after or _BEGINNING
    rows = query(
        warehouse,
        "margin_history",
        [
            ScalarQueryParameter("account_id", "STRING", account_id),
            ScalarQueryParameter("start", "TIMESTAMP", start),
            ScalarQueryParameter("finish", "TIMESTAMP", finish),
            ScalarQueryParameter("after_as_of", "TIMESTAMP", after_as_of),
            ScalarQueryParameter("after_row_id", "STRING", after_row_id),
            ScalarQueryParameter("row_limit", "INT64", limit),
        ],
    )
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
