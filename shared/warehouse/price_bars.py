"""``price_bars``: made of ``marks`` by SQL, filled from elsewhere by hand, read by history and risk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from google.cloud.bigquery import ScalarQueryParameter

from shared.domain.price_bars import BarInterval, PriceBar
from shared.warehouse import appending
from shared.warehouse.client import Warehouse, query
from shared.warehouse.rows import Row

_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)
_SHORTER = {BarInterval.HOUR: BarInterval.MINUTE, BarInterval.DAY: BarInterval.HOUR}


def build(
    warehouse: Warehouse, interval: BarInterval, *, start: datetime, finish: datetime, as_of: datetime
) -> None:
    """Make the bars with ``start <= their start < finish`` that are missing, or whose ticks came late; both
    ends must be starts of bars. Built twice, they are the same.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    parameters = [
        ScalarQueryParameter("start", "TIMESTAMP", start),
        ScalarQueryParameter("finish", "TIMESTAMP", finish),
        ScalarQueryParameter("as_of", "TIMESTAMP", as_of),
    ]
    if interval is BarInterval.MINUTE:
        query(warehouse, "build_minute_bars", parameters)
        return
    parameters += [
        ScalarQueryParameter("interval", "STRING", interval.value),
        ScalarQueryParameter("shorter", "STRING", _SHORTER[interval].value),
    ]
    query(warehouse, "build_longer_bars", parameters)


def list_page(
    warehouse: Warehouse,
    asset: str,
    interval: BarInterval,
    *,
    start: datetime,
    finish: datetime,
    after: datetime | None,
    limit: int,
) -> list[PriceBar]:
    """Up to ``limit`` bars with ``start <= their start < finish``, oldest first, from behind ``after``.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    rows = query(
        warehouse,
        "price_bars",
        [
            ScalarQueryParameter("asset", "STRING", asset),
            ScalarQueryParameter("interval", "STRING", interval.value),
            ScalarQueryParameter("start", "TIMESTAMP", start),
            ScalarQueryParameter("finish", "TIMESTAMP", finish),
            ScalarQueryParameter("after", "TIMESTAMP", after or _BEFORE_ALL),
            ScalarQueryParameter("row_limit", "INT64", limit),
        ],
    )
    return [PriceBar(**{**row, "interval": BarInterval(row["interval"])}) for row in rows]


def add_changed(warehouse: Warehouse, bars: Sequence[PriceBar], known: Sequence[PriceBar]) -> list[PriceBar]:
    """Write those bars that are not known exactly so; which they were.

    Raises:
        RetryableError: BigQuery did not answer, or refused a bar; some may have been written.
    """
    as_known = {(bar.asset, bar.interval, bar.start): bar for bar in known}
    changed = [
        bar
        for bar in bars
        if (seen := as_known.get((bar.asset, bar.interval, bar.start))) is None
        or replace(seen, as_of=bar.as_of) != bar
    ]
    appending.append_all(warehouse, [_row(bar) for bar in changed])
    return changed


def _row(bar: PriceBar) -> Row:
    return Row(
        "price_bars",
        f"{bar.asset}:{bar.interval}:{bar.start.isoformat()}:{bar.source}:{bar.as_of.isoformat()}",
        {
            "asset": bar.asset,
            "interval": bar.interval.value,
            "start": bar.start.isoformat(),
            "open": format(bar.open, "f"),
            "high": format(bar.high, "f"),
            "low": format(bar.low, "f"),
            "close": format(bar.close, "f"),
            "ticks": bar.ticks,
            "source": bar.source,
            "as_of": bar.as_of.isoformat(),
        },
    )
