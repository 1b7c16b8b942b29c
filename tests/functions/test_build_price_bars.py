"""build_price_bars: bars of what the archive wrote, each once, and made again where ticks came late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.domain.price_bars import BarInterval, PriceBar
from shared.warehouse import appending, price_bars
from shared.warehouse import client as warehouse_client
from shared.warehouse.client import Warehouse
from shared.warehouse.rows import rows_of
from tests.conftest import Project
from tests.functions.conftest import Caller, Outage
from tests.functions.instances import Instances
from tests.messages import price_tick

FUNCTION = "build_price_bars"
DAY = datetime(2025, 3, 1, tzinfo=UTC)
NOW = DAY + timedelta(days=1, minutes=3)


@pytest.fixture
def warehouse(project: Project) -> Warehouse:
    """The tables that bars are made from and kept in, empty."""
    project.provision_warehouse("marks", "price_bars")
    return warehouse_client.connect(project.settings("BIGQUERY_DATASET", uses=("bigquery",)))


def _archive(warehouse: Warehouse, *ticks: tuple[int, timedelta, str]) -> None:
    for sequence, since, price in ticks:
        tick = price_tick(sequence, as_of=DAY + since, ETH=price)
        rows = rows_of(tick, topic="t", payload=b"", ordering_key="", published_at=tick.as_of)
        assert appending.append(warehouse, [row for row in rows if row.table == "marks"]) == {}


def _bars(warehouse: Warehouse, interval: BarInterval) -> list[PriceBar]:
    return price_bars.list_page(
        warehouse,
        "ETH",
        interval,
        start=DAY - timedelta(days=9),
        finish=DAY + timedelta(days=9),
        after=None,
        limit=99,
    )


def _ohlc(bar: PriceBar) -> tuple[str, ...]:
    return tuple(format(each.normalize(), "f") for each in (bar.open, bar.high, bar.low, bar.close))


def test_bars_are_made_of_ticks_once_and_again_where_ticks_came_late(
    call: Caller, warehouse: Warehouse
) -> None:
    late = timedelta(hours=23, minutes=59)
    _archive(
        warehouse,
        (1, timedelta(hours=23, minutes=58), "10"),
        (2, late, "12.5"),
        (3, late + timedelta(seconds=20), "11"),
        (4, late + timedelta(seconds=40), "11.000000001"),
        # After the last whole bar.
        (6, timedelta(days=1, minutes=2, seconds=40), "99"),
    )
    assert call.request(FUNCTION, schedule_time=NOW).body["built_until"] == {
        "1m": (DAY + timedelta(days=1, minutes=2)).isoformat(),
        "1h": (DAY + timedelta(days=1)).isoformat(),
        "1d": (DAY + timedelta(days=1)).isoformat(),
    }
    first, second = _bars(warehouse, BarInterval.MINUTE)
    assert (first.start, _ohlc(first), first.ticks) == (
        DAY + timedelta(hours=23, minutes=58),
        ("10",) * 4,
        1,
    )
    assert (_ohlc(second), second.ticks) == (("12.5", "12.5", "11", "11.000000001"), 3)
    (hour,) = _bars(warehouse, BarInterval.HOUR)
    (day,) = _bars(warehouse, BarInterval.DAY)
    assert (hour.start, hour.ticks, hour.source) == (DAY + timedelta(hours=23), 4, "marks")
    assert (day.start, _ohlc(day), day.as_of) == (DAY, ("10", "12.5", "10", "11.000000001"), NOW)

    # A tick that the archive wrote late, and one that it wrote twice.
    _archive(warehouse, (5, late + timedelta(seconds=50), "9"), (1, timedelta(hours=23, minutes=58), "10"))
    assert call.request(FUNCTION, schedule_time=NOW + timedelta(seconds=2)).status == 200
    unchanged, _ = _bars(warehouse, BarInterval.MINUTE)
    assert unchanged == first, "a bar whose ticks are the same was written again"
    (corrected,) = _bars(warehouse, BarInterval.DAY)
    assert (_ohlc(corrected), corrected.ticks) == (("10", "12.5", "9", "9"), 5)
    assert corrected.as_of == NOW + timedelta(seconds=2)


def test_a_bar_that_was_back_filled_stays(call: Caller, warehouse: Warehouse) -> None:
    seven = Decimal(7)
    filled = PriceBar("ETH", BarInterval.DAY, DAY, seven, seven, seven, seven, 1, "chainlink", NOW)
    price_bars.add_changed(warehouse, [filled], [])
    _archive(warehouse, (1, timedelta(hours=23, minutes=58), "10"))
    assert call.request(FUNCTION, schedule_time=NOW + timedelta(seconds=9)).status == 200
    assert _bars(warehouse, BarInterval.DAY) == [filled]


def test_it_is_called_again_while_the_warehouse_does_not_answer(call: Caller, without: Outage) -> None:
    with without("bigquery"):
        assert call.request(FUNCTION, schedule_time=NOW).status == 503


def test_a_process_killed_between_two_statements_is_made_good_by_the_next_run(
    call: Caller, warehouse: Warehouse, project: Project
) -> None:
    """An instance works by the clock, so the ticks are those of the hour that has ended."""
    ended = BarInterval.HOUR.start_of(datetime.now(UTC) - timedelta(minutes=1))
    for sequence, price in enumerate(("10", "12"), 1):
        _archive(warehouse, (sequence, ended - DAY - timedelta(minutes=3 - sequence), price))

    def bars(interval: BarInterval) -> list[PriceBar]:
        start = ended - BarInterval.HOUR.length
        return price_bars.list_page(
            warehouse, "ETH", interval, start=start, finish=ended, after=None, limit=99
        )

    with Instances(project, FUNCTION) as instances:
        instances.request_and_kill(instances.start(), None, once=lambda: bool(bars(BarInterval.MINUTE)))
    minutes = bars(BarInterval.MINUTE)
    assert [_ohlc(bar) for bar in minutes] == [("10",) * 4, ("12",) * 4]
    assert call.request(FUNCTION).status == 200
    assert bars(BarInterval.MINUTE) == minutes
    (hour,) = bars(BarInterval.HOUR)
    assert (_ohlc(hour), hour.ticks) == (("10", "12", "10", "12"), 2)
