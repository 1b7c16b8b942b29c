"""``riskHistory``, ``houseRisk``, ``houseStress``: what measure_risk recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.warehouse import client as warehouse_client
from shared.warehouse.loading import load_once
from shared.warehouse.rows import Row
from tests.gateway.conftest import Server
from tests.gateway.world import World, address

HISTORY = """query($id: ID!, $to: DateTime! = "2026-04-01T00:00:00Z", $level: Decimal! = "0.99",
  $horizonDays: Int! = 1, $method: RiskMethod! = FILTERED, $after: String) {
  riskHistory(accountId: $id, from: "2026-03-01T00:00:00Z", to: $to, first: 2, after: $after, level: $level,
    horizonDays: $horizonDays, method: $method) { pageInfo { hasNextPage endCursor }
    edges { node { asOf varUsd esUsd unmeasuredReason missingAssets
      basis { observations historyFirst } } } } }"""


@pytest.fixture
def key(world: World) -> str:
    """A key, and the tables of a run."""
    world.project.provision_warehouse(
        "portfolio_risks", "stress_test_results", "house_shortfalls", "house_risks", "house_account_risks"
    )
    return world.key()


BAD_INPUT: list[tuple[str, dict[str, Any], str]] = [
    (HISTORY, {"level": "0.96"}, "level"),
    (HISTORY, {"horizonDays": 2}, "horizonDays"),
    (HISTORY, {"method": "MONTE_CARLO_T"}, "method"),
    (HISTORY, {"to": "2026-03-01T00:00:00Z"}, "to"),
    ("query($level: Decimal!) { houseRisk(level: $level) { esUsd } }", {"level": "0.96"}, "level"),
]


def test_what_is_not_recorded_is_refused_and_names_the_argument(
    server: Server, world: World, key: str
) -> None:
    for query, variables, argument in BAD_INPUT:
        used = variables if "houseRisk" in query else {"id": address(1), **variables}
        (error,) = server.post(query, used, key=key).json()["errors"]
        found = (error["extensions"]["code"], error["extensions"].get("argument"))
        assert found == ("BAD_USER_INPUT", argument), (variables, error)
        assert error["message"].startswith(argument), error
        if argument != "to":
            assert "recorded are" in error["message"]


BASIS = {
    "definition": "d",
    "scenario_set_id": "s",
    "scenario_definition": "x",
    "history_first": "2025-01-01",
    "history_last": "2026-01-01",
    "n_observations": 365,
}


def load_twice(world: World, **rows_by_table: list[Row]) -> None:
    """Load rows, and all of them once more, as another job."""
    warehouse = warehouse_client.connect(world.settings)
    for number in range(2):
        for table, rows in rows_by_table.items():
            load_once(warehouse, table, rows, load_id=f"{number}")


def recorded(
    as_of: datetime, number: int, var: float | None, *, method: str = "filtered", reason: str | None = None
) -> Row:
    """A row as measure_risk writes it."""
    row_id = f"{as_of.isoformat()}:{address(number)}:{method}:1d:0.99"
    values = {
        "row_id": row_id,
        "account_id": address(number),
        "as_of": as_of.isoformat(),
        "tick_sequence": 1,
        "position_version": 3,
        "method": method,
        "horizon_days": 1,
        "level": 0.99,
        "net_usd": 100.0,
        "gross_usd": 300.0,
        "var_usd": var,
        "es_usd": None if var is None else 2 * var,
        "unmeasured_reason": reason,
        "missing_assets": ["LINK"] if reason else [],
        **BASIS,
    }
    return Row("portfolio_risks", row_id, values)


def test_risk_history_is_paged_and_each_result_once(server: Server, world: World, key: str) -> None:
    days = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 3)]
    rows = [
        recorded(days[0], 1, 10.5),
        recorded(days[1], 1, None, reason="LINK: no daily close"),
        recorded(days[2], 1, 12.0),
        recorded(days[2], 1, 99.0, method="historical"),
        recorded(days[2], 2, 77.0),
    ]
    load_twice(world, portfolio_risks=rows)
    first = server.query(HISTORY, {"id": address(1)}, key=key)["riskHistory"]
    assert first["pageInfo"]["hasNextPage"]
    nodes = [edge["node"] for edge in first["edges"]]
    assert [(node["varUsd"], node["esUsd"]) for node in nodes] == [("10.500000", "21.000000"), (None, None)]
    assert (nodes[1]["unmeasuredReason"], nodes[1]["missingAssets"]) == ("LINK: no daily close", ["LINK"])
    assert nodes[0]["basis"] == {"observations": 365, "historyFirst": "2025-01-01"}
    after = first["pageInfo"]["endCursor"]
    rest = server.query(HISTORY, {"id": address(1), "after": after}, key=key)["riskHistory"]
    assert [edge["node"]["varUsd"] for edge in rest["edges"]] == ["12.000000"]
    assert not rest["pageInfo"]["hasNextPage"]


TAIL_SHARES = [0.0, 0.25, 0.5, 0.25]


def shortfall_row(as_of: datetime, number: int, **usd_by_scenario: float) -> Row:
    """What measure_risk writes of an account that ends insolvent in scenarios ``s0``, ``s1``, …"""
    row_id = f"{as_of.isoformat()}:{address(number)}"
    values = {
        "row_id": row_id,
        "account_id": address(number),
        "as_of": as_of.isoformat(),
        "tick_sequence": 1,
        "position_version": 40 + number,
        "scenarios": [int(name[1:]) for name in usd_by_scenario],
        "shortfalls_usd": list(usd_by_scenario.values()),
    }
    return Row("house_shortfalls", row_id, values)


def house_row(as_of: datetime, kind: str, part: str, es: float | None) -> Row:
    """A row as measure_risk writes it."""
    row_id = f"{as_of.isoformat()}:house:0.99:{kind}:{part}"
    values = {
        "row_id": row_id,
        "as_of": as_of.isoformat(),
        "tick_sequence": 1,
        "level": 0.99,
        "horizon_days": 1,
        "part_kind": kind,
        "part": part,
        "var_usd": 50.0 if kind == "total" else None,
        "es_usd": es,
        "max_insolvent": 3 if kind == "total" else None,
        "tail_shares": TAIL_SHARES if kind == "total" else [],
        "accounts": 9,
        "outside_accounts": 1,
        "unmeasured_reason": None,
        "missing_assets": ["LINK"],
        **BASIS,
    }
    return Row("house_risks", row_id, values)


def stress_row(as_of: datetime, number: int, state: str, pnl: float | None) -> Row:
    """A row as measure_risk writes it."""
    row_id = f"{as_of.isoformat()}:{address(number)}:rally_day"
    values = {
        "row_id": row_id,
        "account_id": address(number),
        "as_of": as_of.isoformat(),
        "tick_sequence": 1,
        "position_version": 1,
        "scenario": "rally_day",
        "horizon_days": 1,
        "state": state,
        "collateral_usd": None,
        "debt_usd": None,
        "health_pct": None,
        "pnl_usd": pnl,
        "shortfall_usd": 0.25 if pnl else None,
        "unmeasured_reason": None,
        "missing_assets": [],
        **BASIS,
        "history_first": None,
        "history_last": None,
        "n_observations": 1,
    }
    return Row("stress_test_results", row_id, values)


HOUSE = """{ houseRisk { asOf varUsd esUsd byAsset { asset esUsd } byChain { chainId esUsd } maxInsolvent
  accounts outsideAccounts missingAssets basis { observations } }
  houseStress { scenario asOf accounts unvalued marginCalls liquidations insolvent pnlUsd shortfallUsd } }"""


def test_the_house_shows_its_last_finished_run(server: Server, world: World, key: str) -> None:
    assert server.query(HOUSE, key=key) == {"houseRisk": None, "houseStress": []}
    yesterday, today = world.now - timedelta(days=1), world.now
    house = [
        house_row(yesterday, "total", "", 1.0),
        house_row(today, "total", "", 80.0),
        house_row(today, "asset", "USDC", 80.0),
        house_row(today, "chain", "31337", 60.0),
        house_row(today, "chain", "", 20.0),
    ]
    stress = [
        stress_row(yesterday, 1, "INSOLVENT", -5.0),
        stress_row(today, 1, "MARGIN_CALL", -2.5),
        stress_row(today, 2, "INSOLVENT", -1.0),
        stress_row(today, 3, "UNVALUED", None),
        # A run that is not done yet.
        stress_row(today + timedelta(minutes=1), 1, "INSOLVENT", -9.0),
    ]
    load_twice(world, house_risks=house, stress_test_results=stress)

    shown = server.query(HOUSE, key=key)

    risk = shown["houseRisk"]
    assert (risk["varUsd"], risk["esUsd"], risk["maxInsolvent"]) == ("50.000000", "80.000000", 3)
    assert risk["byAsset"] == [{"asset": "USDC", "esUsd": "80.000000"}]
    assert risk["byChain"] == [
        {"chainId": None, "esUsd": "20.000000"},
        {"chainId": 31337, "esUsd": "60.000000"},
    ]
    assert (risk["accounts"], risk["outsideAccounts"], risk["missingAssets"]) == (9, 1, ["LINK"])
    (stressed,) = shown["houseStress"]
    counts = ("accounts", "unvalued", "marginCalls", "liquidations", "insolvent")
    assert [stressed[name] for name in counts] == [3, 1, 1, 0, 1]
    assert (stressed["pnlUsd"], stressed["shortfallUsd"]) == ("-3.500000", "0.500000")


BY_ACCOUNT = """query($after: String) { houseRisk { esUsd byAccount(first: 2, after: $after) {
  edges { node { accountId esUsd positionVersion } } pageInfo { hasNextPage endCursor } } } }"""


def test_the_house_risk_by_account_sums_to_the_whole_the_largest_first(
    server: Server, world: World, key: str
) -> None:
    today = world.now
    shortfalls = [
        shortfall_row(today, 1, s1=8.0),
        shortfall_row(today, 2, s0=9.0, s1=4.0, s2=40.0, s3=8.0),
        # Insolvent only where the house's tail has no part.
        shortfall_row(today, 3, s0=1000.0),
        shortfall_row(today, 4, s2=4.0),
        shortfall_row(today - timedelta(days=1), 5, s1=7.0),
        # A run that is not done yet.
        shortfall_row(today + timedelta(minutes=1), 6, s1=7.0),
    ]
    totals = [house_row(today - timedelta(days=1), "total", "", 1.75), house_row(today, "total", "", 27.0)]
    load_twice(world, house_shortfalls=shortfalls, house_risks=totals)

    def shown(after: str | None) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
        risk = server.query(BY_ACCOUNT, {"after": after}, key=key)["houseRisk"]
        assert risk["esUsd"] == "27.000000"
        nodes = [edge["node"] for edge in risk["byAccount"]["edges"]]
        return [tuple(node.values()) for node in nodes], risk["byAccount"]["pageInfo"]

    first, page = shown(None)
    assert first == [(address(2), "23.000000", 42), (address(1), "2.000000", 41)]
    assert page["hasNextPage"]
    rest, page = shown(page["endCursor"])
    assert rest == [(address(4), "2.000000", 44)]
    assert not page["hasNextPage"]
