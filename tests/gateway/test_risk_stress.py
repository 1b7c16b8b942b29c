"""Stress tests and reverse stress through the gateway, against exact rational arithmetic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from shared.domain.margin import State
from tests.conftest import ROOT, network_document
from tests.eventually import eventually
from tests.gateway.conftest import Server, running
from tests.gateway.world import World, address

SCENARIOS = json.loads((ROOT / "shared/risk/data/historical_scenarios.json").read_text())
STRESS = """
query($ids: [ID!]!, $scenario: String, $shocks: [ShockInput!]) {
  stressTest(accountIds: $ids, scenario: $scenario, shocks: $shocks) {
    scenario { name title first last source missingAssets shocks { asset shock } }
    shocks { asset shock }
    accounts { accountId unvaluedAssets pnlUsd
      before { state collateralUsd debtUsd healthPct } after { state collateralUsd debtUsd healthPct } }
    shortfallUsd
    basis { tickSequence definition scenarioSetId scenarioDefinition historyFirst historyLast
      missingAssets } } }
"""
REVERSE = """
query($ids: [ID!]!, $assets: [String!]!, $threshold: MarginThreshold! = LIQUIDATION) {
  reverseStress(accountIds: $ids, assets: $assets, threshold: $threshold) {
    assets threshold definition tickSequence accounts { accountId fallPct breached unvaluedAssets } } }
"""
COLLATERAL_FACTOR, BORROW_FACTOR = Fraction("0.8"), Fraction("0.95")
HELD_STILL = [{"asset": "USDC", "shock": "0"}]


@pytest.fixture(scope="module")
def hair_cut(module_world: World) -> Iterator[Server]:
    """A gateway whose ether counts for 0.8 and whose borrowed USDC for 1 / 0.95, at a tick."""
    document: Any = network_document()
    document["assets"]["ETH"]["collateral_factor"] = str(Decimal("0.8"))
    document["assets"]["USDC"]["borrow_factor"] = str(Decimal("0.95"))
    module_world.project.write_network(document)
    module_world.put_tick(module_world.tick(1))
    with running() as server:
        yield server


def stress(server: Server, key: str, numbers: list[int], **variables: Any) -> dict[str, Any]:
    """The result of a stress test."""
    ids = [address(number) for number in numbers]
    found: dict[str, Any] = server.query(STRESS, {"ids": ids, **variables}, key=key)["stressTest"]
    return found


def is_near(value: str | float, exact: Fraction) -> bool:
    """Whether a number of the API is an exact one, but for its rounding."""
    return abs(Fraction(value) - exact) <= Fraction(1, 10**6) * max(Fraction(1), abs(exact))


def state_of(collateral: Fraction, debt: Fraction) -> str:
    """The state from scratch."""
    lines = (("INSOLVENT", "1"), ("LIQUIDATION", "1.15"), ("MARGIN_CALL", "1.3"), ("WARNING", "1.5"))
    return next((name for name, line in lines if collateral < Fraction(line) * debt), "HEALTHY")


@pytest.mark.parametrize("entry", SCENARIOS["scenarios"], ids=lambda entry: entry["name"])
def test_named_scenarios(hair_cut: Server, module_world: World, entry: dict[str, Any]) -> None:
    amounts = {1: (10, 10_000), 2: (10, 14_000), 3: (10, 3_000), 4: (10, 9_000)}
    module_world.put_accounts(
        *(module_world.account(n, eth=str(eth), usdc_debt=str(debt)) for n, (eth, debt) in amounts.items())
    )
    found = stress(hair_cut, module_world.key(), [3, 1, 2, 4], scenario=entry["name"], shocks=HELD_STILL)
    shock = Fraction(str(entry["shocks"]["ETH"]))
    shortfall = Fraction(0)
    for row, number in zip(found["accounts"], (3, 1, 2, 4), strict=True):
        eth, owed = amounts[number]
        debt = owed / BORROW_FACTOR
        assert row["accountId"] == address(number)
        for side, factor in (("before", Fraction(1)), ("after", 1 + shock)):
            collateral = eth * 2000 * factor * COLLATERAL_FACTOR
            assert is_near(row[side]["collateralUsd"], collateral)
            assert is_near(row[side]["debtUsd"], debt)
            assert is_near(row[side]["healthPct"], (collateral / debt - 1) * 100)
        assert row["before"]["state"] == state_of(eth * 2000 * COLLATERAL_FACTOR, debt)
        if shock < 0:
            assert row["after"]["state"] == state_of(collateral, debt)
        assert is_near(row["pnlUsd"], eth * 2000 * shock)
        shortfall += max(Fraction(0), debt - collateral)
    assert is_near(found["shortfallUsd"], shortfall)
    assert found["shocks"] == [
        {"asset": "ETH", "shock": str(entry["shocks"]["ETH"])},
        {"asset": "USDC", "shock": "0.0"},
    ]
    described = found["scenario"]
    assert {name: described[name] for name in ("name", "title", "first", "last")} == {
        name: entry[name] for name in ("name", "title", "first", "last")
    }
    assert (described["source"], described["missingAssets"]) == (SCENARIOS["source"], ["USDC"])
    basis = found["basis"]
    assert basis["scenarioDefinition"] == f"named.{entry['name']}"
    assert (basis["historyFirst"], basis["historyLast"]) == (entry["first"], entry["last"])
    assert (basis["tickSequence"], basis["missingAssets"]) == (1, [])
    assert basis["definition"].startswith("stress-margin.")
    assert len(basis["scenarioSetId"]) == 16


def test_what_a_scenario_lacks_is_reported_and_never_zero(hair_cut: Server, module_world: World) -> None:
    module_world.put_accounts(module_world.account(1), module_world.account(2, usdc_debt="0"))
    key = module_world.key()
    for variables, missing in (
        ({"scenario": "covid_crash_day"}, "USDC"),
        ({"shocks": [{"asset": "USDC", "shock": "-0.1"}]}, "ETH"),
    ):
        found = stress(hair_cut, key, [1, 2], **variables)
        assert found["basis"]["missingAssets"] == [missing]
        assert [shock["asset"] for shock in found["shocks"]] == [{"USDC": "ETH", "ETH": "USDC"}[missing]]
        indebted, free = found["accounts"]
        assert indebted["before"]["state"] != "UNVALUED"
        assert indebted["after"] == {
            "state": "UNVALUED",
            "collateralUsd": None,
            "debtUsd": None,
            "healthPct": None,
        }
        assert (indebted["pnlUsd"], indebted["unvaluedAssets"]) == (None, [missing])
        # An account is unvalued by what it holds only.
        assert free["unvaluedAssets"] == (["ETH"] if missing == "ETH" else [])
        assert free["after"]["state"] == ("UNVALUED" if missing == "ETH" else "NO_DEBT")


def test_shocks_of_both_sides_down_to_nothing(hair_cut: Server, module_world: World) -> None:
    module_world.put_accounts(module_world.account(1))
    key = module_world.key()
    shocks = [{"asset": "ETH", "shock": "-1"}, {"asset": "USDC", "shock": "0.05"}]
    found = stress(hair_cut, key, [1], shocks=shocks)
    (row,) = found["accounts"]
    assert row["after"]["state"] == "INSOLVENT"
    assert row["after"]["collateralUsd"] == "0.000000"
    assert is_near(row["after"]["debtUsd"], Fraction(10_500) / BORROW_FACTOR)
    assert is_near(row["pnlUsd"], Fraction(-20_000 - 500))
    assert is_near(found["shortfallUsd"], Fraction(10_500) / BORROW_FACTOR)
    assert (found["scenario"], found["basis"]["historyFirst"]) == (None, None)
    assert found["basis"]["scenarioDefinition"] == "shock.request"
    again = stress(hair_cut, key, [1], shocks=shocks[::-1])
    assert again["basis"]["scenarioSetId"] == found["basis"]["scenarioSetId"]


def test_no_shock_leaves_the_state_with_its_hysteresis(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    world.put_record(1, State.WARNING)
    world.announce_tick(world.tick(1, eth="1510"))
    key = world.key()
    eventually(lambda: server.query("{ marks { sequence } }", key=key)["marks"])
    still = [{"asset": "ETH", "shock": "0"}, *HELD_STILL]
    (row,) = stress(server, key, [1], shocks=still)["accounts"]
    assert row["before"] == row["after"]
    assert (row["after"]["state"], row["pnlUsd"]) == ("WARNING", "0.000000")
    world.announce_tick(world.tick(2, eth=None))
    eventually(lambda: server.query("{ marks { sequence } }", key=key)["marks"]["sequence"] == 2)
    (row,) = stress(server, key, [1], shocks=still)["accounts"]
    assert (row["before"]["state"], row["after"]["state"]) == ("UNVALUED", "UNVALUED")
    assert row["unvaluedAssets"] == ["ETH"]


def test_reverse_stress(hair_cut: Server, module_world: World) -> None:
    module_world.put_accounts(
        module_world.account(1),
        module_world.account(2, usdc_debt="0"),
        module_world.account(3, usdc_debt="15000"),
        module_world.account(4, extra_asset="DOGE"),
    )
    key = module_world.key()
    ids = [address(number) for number in (1, 2, 3, 4)]
    for threshold, multiple in (("LIQUIDATION", Fraction("1.15")), ("MARGIN_CALL", Fraction("1.3"))):
        variables = {"ids": ids, "assets": ["ETH"], "threshold": threshold}
        found = hair_cut.query(REVERSE, variables, key=key)["reverseStress"]
        indebted, free, breached, unvalued = found["accounts"]
        fall = 1 - multiple * 10_000 / BORROW_FACTOR / (20_000 * COLLATERAL_FACTOR)
        assert is_near(indebted["fallPct"], fall * 100)
        assert (indebted["breached"], free["breached"], free["fallPct"]) == (False, False, None)
        assert (breached["breached"], breached["fallPct"]) == (True, 0.0)
        assert (unvalued["fallPct"], unvalued["unvaluedAssets"]) == (None, ["DOGE"])
        assert (found["assets"], found["threshold"], found["tickSequence"]) == (["ETH"], threshold, 1)
    # Where only the debt falls, health rises.
    found = hair_cut.query(REVERSE, {"ids": ids[:1], "assets": ["USDC"]}, key=key)["reverseStress"]
    assert found["accounts"][0]["fallPct"] is None


def test_reverse_stress_and_stress_test_meet_at_the_threshold(hair_cut: Server, module_world: World) -> None:
    module_world.put_accounts(module_world.account(1))
    key = module_world.key()
    variables = {"ids": [address(1)], "assets": ["ETH"]}
    found = hair_cut.query(REVERSE, variables, key=key)["reverseStress"]
    fall = Decimal(repr(found["accounts"][0]["fallPct"])) / 100
    for shock, state in ((-fall + Decimal("1e-9"), "MARGIN_CALL"), (-fall - Decimal("1e-9"), "LIQUIDATION")):
        shocks = [{"asset": "ETH", "shock": str(shock)}, *HELD_STILL]
        (row,) = stress(hair_cut, key, [1], shocks=shocks)["accounts"]
        assert row["after"]["state"] == state


@pytest.mark.parametrize(
    ("variables", "argument"),
    [
        ({}, "scenario"),
        ({"shocks": []}, "scenario"),
        ({"scenario": "tulip_mania"}, "scenario"),
        ({"shocks": [{"asset": "DOGE", "shock": "0"}]}, "shocks.0.asset"),
        ({"shocks": [{"asset": "ETH", "shock": "-1.0001"}]}, "shocks.0.shock"),
        ({"shocks": [*HELD_STILL, {"asset": "ETH", "shock": "100.1"}]}, "shocks.1.shock"),
        ({"shocks": HELD_STILL * 2}, "shocks.1.asset"),
        (
            {"scenario": "rally_day", "shocks": [{"asset": "ETH", "shock": "0"}]},
            "shocks.0.asset",
        ),
        ({"ids": [], "shocks": HELD_STILL}, "accountIds"),
        ({"ids": [address(1), "0x1"], "shocks": HELD_STILL}, "accountIds.1"),
    ],
)
def test_bad_input_names_the_field(
    hair_cut: Server, module_world: World, variables: dict[str, Any], argument: str
) -> None:
    module_world.put_accounts(module_world.account(1))
    response = hair_cut.post(STRESS, {"ids": [address(1)], **variables}, key=module_world.key())
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": argument}


def test_accounts_and_assets_are_checked(server: Server, world: World) -> None:
    world.put_accounts(world.account(1), world.account(2))
    ids = [address(1), address(1), address(9)]
    cases: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
        (STRESS, world.key(), {"ids": ids}, {"code": "NOT_FOUND", "argument": "accountIds.2"}),
        (
            STRESS,
            world.key(accounts=[address(1)]),
            {"ids": [address(1), address(2)]},
            {"code": "NOT_FOUND", "argument": "accountIds.1"},
        ),
        (
            STRESS,
            world.key(),
            {"ids": [address(1)] * 101},
            {
                "code": "LIMIT_EXCEEDED",
                "argument": "accountIds",
                "limit": "accounts_per_stress_test",
                "maximum": 100,
            },
        ),
        (REVERSE, world.key(), {"assets": []}, {"code": "BAD_USER_INPUT", "argument": "assets"}),
        (
            REVERSE,
            world.key(),
            {"assets": ["ETH", "DOGE"]},
            {"code": "BAD_USER_INPUT", "argument": "assets.1"},
        ),
    ]
    for query, key, variables, expected in cases:
        given = {"ids": [address(1)], **variables}
        if query is STRESS:
            given["shocks"] = HELD_STILL
        (error,) = server.post(query, given, key=key).json()["errors"]
        assert error["extensions"] == expected


def test_the_named_scenarios_are_listed(server: Server, world: World) -> None:
    query = "{ stressScenarios { name title first last source shocks { asset shock } missingAssets } }"
    found = server.query(query, key=world.key())["stressScenarios"]
    assert found == [
        {
            **{name: entry[name] for name in ("name", "title", "first", "last")},
            "source": SCENARIOS["source"],
            "shocks": [
                {"asset": asset, "shock": str(shock)} for asset, shock in sorted(entry["shocks"].items())
            ],
            "missingAssets": ["USDC"],
        }
        for entry in SCENARIOS["scenarios"]
    ]
