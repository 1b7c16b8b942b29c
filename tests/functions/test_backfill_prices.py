"""backfill_prices: bars of a feed's past rounds, written once however often it is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.chain import Transaction, calldata
from shared.domain.price_bars import BarInterval
from shared.warehouse import client as warehouse_client
from shared.warehouse import price_bars
from tests.conftest import Project
from tests.functions.conftest import Caller, Market, Outage
from tests.functions.instances import Instances

FUNCTION = "backfill_prices"
DAY = datetime(2025, 3, 1, tzinfo=UTC)
ORDER = {
    "asset": "ETH",
    "interval": "1d",
    "source": "chainlink",
    "from": "2025-03-01T00:00:00Z",
    "to": "2025-03-03T12:00:00Z",
}


def _add_rounds(market: Market, *rounds: tuple[timedelta, int]) -> None:
    """Rounds of ETH's feed at moments since ``DAY``, in whole dollars."""
    for since, dollars in rounds:
        moment = int((DAY + since).timestamp())
        data = calldata(
            "updateRound(address,int256,uint64,uint64)",
            *(market.deployment.feeds["ETH"], dollars * 10**8, moment, moment),
        )
        market.chain.mine([Transaction(market.deployment.owner, market.deployment.market_setter, data)])


def _written(project: Project) -> list[tuple[Any, ...]]:
    warehouse = warehouse_client.connect(project.settings("BIGQUERY_DATASET", uses=("bigquery",)))
    return [
        (bar.start, *(int(each) for each in (bar.open, bar.high, bar.low, bar.close)), bar.ticks)
        for bar in price_bars.list_page(
            warehouse,
            "ETH",
            BarInterval.DAY,
            start=DAY - timedelta(days=9),
            finish=DAY + timedelta(days=9),
            after=None,
            limit=9,
        )
    ]


def test_a_range_is_filled_once(call: Caller, market: Market, project: Project) -> None:
    project.provision_warehouse("price_bars")
    _add_rounds(
        market,
        (timedelta(hours=-1), 2_000),
        (timedelta(hours=1), 3_000),
        (timedelta(hours=2), 3_500),
        (timedelta(hours=20), 2_900),
        (timedelta(hours=25), 3_100),
        (timedelta(hours=26), 0),
        (timedelta(hours=50), 9_999),
    )
    expected = [
        (DAY, 3_000, 3_500, 2_900, 2_900, 3),
        (DAY + timedelta(days=1), 3_100, 3_100, 3_100, 3_100, 1),
    ]
    assert call.request(FUNCTION, ORDER).body == {"bars": 2, "written": 2, "rounds": 4}
    assert _written(project) == expected
    assert call.request(FUNCTION, ORDER).body == {"bars": 2, "written": 0, "rounds": 4}
    assert _written(project) == expected


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"asset": "DOGE"}, "asset", "DOGE is not among the assets"),
        ({"source": "pyth-hermes"}, "source", "pyth-hermes is no Chainlink source of ETH"),
        ({"interval": "1w"}, "interval", ""),
        ({"to": "2025-03-01T23:00:00Z"}, "to", "there is no whole bar before it"),
        ({"interval": "1m", "from": "2020-01-01T00:00:00Z"}, "to", "the range holds more than 10000 bars"),
        ({"from": "yesterday"}, "from", ""),
        ({"surprise": 1}, "surprise", ""),
    ],
)
def test_what_cannot_be_filled_is_named(
    call: Caller, market: Market, changes: dict[str, Any], field: str, said: str
) -> None:
    outcome = call.request(FUNCTION, ORDER | changes)
    assert outcome.status == 400
    assert outcome.body["field"] == field
    assert said in outcome.body["error"]


def test_an_outage_asks_to_try_again(call: Caller, market: Market, without: Outage) -> None:
    with without("chain"):
        assert call.request(FUNCTION, ORDER).status == 503
    with without("bigquery"):
        assert call.request(FUNCTION, ORDER).status == 503


def test_what_a_killed_process_left_out_is_filled_and_nothing_twice(
    call: Caller, market: Market, project: Project
) -> None:
    project.provision_warehouse("price_bars")
    _add_rounds(market, *((timedelta(hours=20 * number), 3_000 + number) for number in range(3)))
    with Instances(project, FUNCTION) as instances:
        instances.request_and_kill(instances.start(), ORDER, once=lambda: True)
    known = _written(project)
    outcome = call.request(FUNCTION, ORDER)
    assert outcome.body == {"bars": 2, "written": 2 - len(known), "rounds": 3}
    assert _written(project) == [
        (DAY, 3_000, 3_001, 3_000, 3_001, 2),
        (DAY + timedelta(days=1), 3_002, 3_002, 3_002, 3_002, 1),
    ]
    assert call.request(FUNCTION, ORDER).body["written"] == 0
