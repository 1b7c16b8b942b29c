"""``price_bars``: daily closes, the history that risk is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time

from google.cloud.bigquery import ArrayQueryParameter, ScalarQueryParameter

from shared.domain.closes import Closes
from shared.warehouse.client import Warehouse, query


def read_daily_closes(
    warehouse: Warehouse, assets: Sequence[str], *, first: date, finish: date, known_at: datetime
) -> dict[str, Closes]:
    """Each asset's daily closes with ``first <= day < finish``, as they were known at ``known_at``.

    Of several bars of a day the one written last by then counts; a bar whose close is not positive is left
    out, as a day without one. An asset without a close is left out. The same arguments give the same closes
    whatever is written later.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    rows = query(
        warehouse,
        "daily_closes",
        [
            ArrayQueryParameter("assets", "STRING", list(assets)),
            ScalarQueryParameter("start", "TIMESTAMP", datetime.combine(first, time(), UTC)),
            ScalarQueryParameter("finish", "TIMESTAMP", datetime.combine(finish, time(), UTC)),
            ScalarQueryParameter("known_at", "TIMESTAMP", known_at),
        ],
    )
    found: dict[str, list[tuple[date, float]]] = {}
    for row in rows:
        found.setdefault(row["asset"], []).append((row["start"].date(), float(row["close"])))
    return {asset: Closes.of(asset, days) for asset, days in found.items()}
