"""``hourlyExposures``, ``houseExposures``."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.warehouse import client as warehouse
from tests.gateway.conftest import Server
from tests.gateway.world import World, address


def test_hourly_exposures_are_the_last_figures_and_extremes_of_each_hour(
    server: Server, world: World
) -> None:
    world.project.provision_warehouse("margin_history", "hourly_exposures")
    connected = warehouse.connect(world.settings)
    hour = world.now.replace(minute=0, second=0, microsecond=0)

    def sample(number: int, as_of: datetime, held: str | None, owed: str | None, pct: float | None) -> Any:
        return {
            "row_id": f"sample:{number}:{as_of.isoformat()}",
            "account_id": address(number),
            "as_of": as_of.isoformat(),
            "kind": "sample",
            "state": "HEALTHY" if held else "UNVALUED",
            "previous_state": None,
            "transition_sequence": None,
            "tick_sequence": 1,
            "collateral_usd": held,
            "debt_usd": owed,
            "health_pct": pct,
        }

    earlier = hour - timedelta(hours=3)
    rows = [
        sample(1, hour - timedelta(hours=30), "1", "1", 0.0),
        sample(1, earlier, "300.5", "100", 200.5),
        sample(1, earlier + timedelta(minutes=20), "150", "100", 50.0),
        sample(1, earlier + timedelta(minutes=40), "200.25", "100", 100.25),
        sample(1, hour, "250", "100", 150.0),
        sample(2, earlier, "70", "0", None),
        sample(3, earlier, None, None, None),
    ]
    for _ in range(2):
        assert connected.client.insert_rows_json(f"{connected.dataset}.margin_history", rows) == []
    key = world.key()
    house = """query($hours: Int! = 24) { houseExposures(hours: $hours) {
      hour accounts borrowers collateralUsd debtUsd minHealthPct } }"""
    shown = server.query(house, key=key)["houseExposures"]
    assert [datetime.fromisoformat(row["hour"]) for row in shown] == [earlier, hour]
    assert [
        (row["accounts"], row["borrowers"], Decimal(row["collateralUsd"]), row["minHealthPct"])
        for row in shown
    ] == [(2, 1, Decimal("270.25"), 50.0), (1, 1, Decimal(250), 150.0)]
    assert len(server.query(house, {"hours": 31}, key=key)["houseExposures"]) == 3
    for hours in (0, 169):
        (error,) = server.post(house, {"hours": hours}, key=key).json()["errors"]
        assert error["extensions"]["argument"] == "hours"

    query = """query($from: DateTime!, $to: DateTime!, $after: String) {
      hourlyExposures(accountId: "%s", from: $from, to: $to, first: 1, after: $after) { edges { node {
      hour lastAsOf collateralUsd debtUsd maxCollateralUsd minHealthPct } }
      pageInfo { hasNextPage endCursor } } }""".replace("%s", address(1))
    given = {"from": earlier.isoformat(), "to": (hour + timedelta(hours=1)).isoformat()}
    first = server.query(query, given, key=key)["hourlyExposures"]
    ((node,), page) = ([edge["node"] for edge in first["edges"]], first["pageInfo"])
    assert datetime.fromisoformat(node["hour"]) == earlier
    assert datetime.fromisoformat(node["lastAsOf"]) == earlier + timedelta(minutes=40)
    amounts = [Decimal(node[name]) for name in ("collateralUsd", "debtUsd", "maxCollateralUsd")]
    assert (amounts, node["minHealthPct"]) == ([Decimal("200.25"), Decimal(100), Decimal("300.5")], 50.0)
    assert page["hasNextPage"]
    rest = server.query(query, {**given, "after": page["endCursor"]}, key=key)["hourlyExposures"]
    assert [datetime.fromisoformat(edge["node"]["hour"]) for edge in rest["edges"]] == [hour]
    assert not rest["pageInfo"]["hasNextPage"]
