"""Marks with what they were made of, their bars, and the sources behind them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.domain.breakers import BreakerState
from shared.domain.marks import Method
from shared.domain.price_bars import BarInterval, PriceBar
from shared.domain.price_sources import SourceKind
from shared.domain.quotes import Refusal
from shared.events.prices import SourceQuote
from shared.stores import price_sources
from shared.warehouse import client as warehouse_client
from shared.warehouse import price_bars
from tests.conftest import Project
from tests.eventually import eventually
from tests.gateway.conftest import Server
from tests.gateway.world import World

DAY = datetime(2026, 3, 1, tzinfo=UTC)
MARK = """{ mark(asset: "ETH") { status price method source quotes { source price refusal reason } }
  unknown: mark(asset: "DOGE") { price } }"""
BARS = """query($first: Int!, $after: String) { markHistory(asset: "ETH", interval: DAY, first: $first,
  after: $after, from: "2026-03-01T00:00:00Z", to: "2026-03-04T00:00:00Z") {
  edges { node { start open close ticks source } } pageInfo { hasNextPage endCursor } } }"""


def test_a_mark_tells_what_every_source_said(server: Server, world: World) -> None:
    tick = world.tick(1, eth="1833.2")
    (eth, usdc) = tick.marks
    quotes = (
        SourceQuote(
            source="chainlink", provider="chainlink", price=Decimal("1833.2"), observed_at=tick.as_of
        ),
        SourceQuote(source="pyth-hermes", provider="pyth", refusal=Refusal.UNREACHABLE, reason="HTTP 503"),
    )
    eth = eth.model_copy(update={"quotes": quotes, "method": Method.SINGLE})
    world.put_tick(tick.model_copy(update={"marks": (eth, usdc)}))
    world.announce_tick(tick.model_copy(update={"marks": (eth, usdc)}))
    key = world.key()

    found = eventually(lambda: (answer := server.query(MARK, key=key))["mark"] and answer)

    assert found["unknown"] is None
    assert (found["mark"]["status"], found["mark"]["price"], found["mark"]["method"]) == (
        "OK",
        "1833.2",
        "SINGLE",
    )
    assert [(quote["source"], quote["price"], quote["refusal"]) for quote in found["mark"]["quotes"]] == [
        ("chainlink", "1833.2", None),
        ("pyth-hermes", None, "UNREACHABLE"),
    ]


def test_bars_come_in_pages_and_the_latest_row_of_each_counts(
    server: Server, world: World, project: Project
) -> None:
    project.provision_warehouse("price_bars")
    warehouse = warehouse_client.connect(project.settings("BIGQUERY_DATASET", uses=("bigquery",)))

    def bar(day: int, close: str, *, built: int = 0, source: str = "marks") -> PriceBar:
        start, price = DAY + timedelta(days=day), Decimal(close)
        as_of = start + timedelta(days=1, hours=built)
        return PriceBar("ETH", BarInterval.DAY, start, Decimal(1), price, Decimal(1), price, 7, source, as_of)

    bars = [bar(0, "2.5"), bar(1, "3"), bar(1, "4", built=1, source="chainlink"), bar(2, "5"), bar(3, "6")]
    price_bars.add_changed(warehouse, bars, [])
    key = world.key()

    first = server.query(BARS, {"first": 2}, key=key)["markHistory"]
    assert [(edge["node"]["close"], edge["node"]["source"]) for edge in first["edges"]] == [
        ("2.5", "marks"),
        ("4", "chainlink"),
    ]
    assert first["pageInfo"]["hasNextPage"]
    rest = server.query(BARS, {"first": 2, "after": first["pageInfo"]["endCursor"]}, key=key)["markHistory"]
    assert [edge["node"]["close"] for edge in rest["edges"]] == ["5"]


@pytest.mark.parametrize(
    ("change", "argument"),
    [(('asset: "ETH"', 'asset: "DOGE"'), "asset"), (("03-04", "02-04"), "to")],
)
def test_bars_that_cannot_be_are_refused_by_name(
    server: Server, world: World, change: tuple[str, str], argument: str
) -> None:
    (error,) = server.post(BARS.replace(*change), {"first": 2}, key=world.key()).json()["errors"]
    assert error["extensions"]["argument"] == argument


def test_operators_see_how_each_source_does(server: Server, world: World) -> None:
    state = price_sources.SourceState(
        source_id="pyth-hermes",
        kind=SourceKind.HERMES,
        provider="pyth",
        is_enabled=True,
        breakers={"ETH": BreakerState.OPEN, "USDC": BreakerState.HALF_OPEN},
        last_error="HTTP 503",
        last_error_at=DAY,
        last_success_at=None,
        latency_p50_ms=1.5,
        latency_p95_ms=20.0,
        as_of=DAY,
    )
    world.client.document(price_sources.path(state.source_id)).set(price_sources.encode(state))
    query = """{ priceSources { id kind enabled failing lastError latencyP95Ms breakers { asset state } } }"""
    assert server.query(query, key=world.key())["priceSources"] == [
        {
            "id": "pyth-hermes",
            "kind": "HERMES",
            "enabled": True,
            "failing": True,
            "lastError": "HTTP 503",
            "latencyP95Ms": 20.0,
            "breakers": [{"asset": "ETH", "state": "OPEN"}, {"asset": "USDC", "state": "HALF_OPEN"}],
        }
    ]
