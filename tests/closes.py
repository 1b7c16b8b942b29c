"""Daily closes in the warehouse, for tests: written as bars."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from shared.warehouse.client import Warehouse
from shared.warehouse.loading import load_once
from shared.warehouse.rows import Row
from tests.walks import made_up_closes


def day_before(moment: datetime) -> date:
    """The last whole day before a moment."""
    return moment.astimezone(UTC).date() - timedelta(days=1)


def bar(asset: str, day: date, close: float | str, *, as_of: datetime, interval: str = "1d") -> Row:
    """A bar as fetch_prices' scheduled SQL, or a back-fill, writes it."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC).isoformat()
    row_id = f"{asset}:{interval}:{start}:{as_of.isoformat()}"
    values = {
        "asset": asset,
        "interval": interval,
        "start": start,
        "open": str(close),
        "high": str(close),
        "low": str(close),
        "close": str(close),
        "ticks": 1,
        "source": "tests",
        "as_of": as_of.isoformat(),
    }
    return Row("price_bars", row_id, values)


def write_closes(
    warehouse: Warehouse,
    n_days: Mapping[str, int],
    *,
    last: date,
    as_of: datetime,
    without: frozenset[tuple[str, date]] = frozenset(),
) -> None:
    """Write so many daily bars of each asset, ending on ``last``, except those of ``without``."""
    rows = [
        bar(asset, last - timedelta(days=count - 1 - number), close, as_of=as_of)
        for asset, count in n_days.items()
        for number, close in enumerate(made_up_closes(asset, count))
        if (asset, last - timedelta(days=count - 1 - number)) not in without
    ]
    load_once(warehouse, "price_bars", rows, load_id=f"closes-{as_of.isoformat()}-{last}")
