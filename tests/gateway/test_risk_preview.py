"""``marginPreview``: the account after a trade equals an account that made it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from shared.domain.margin import State
from shared.domain.positions import Account, Position
from tests.conftest import network_document
from tests.eventually import eventually
from tests.gateway.conftest import Server, running
from tests.gateway.world import World, address

REQUIREMENTS = """state unvaluedAssets collateralUsd debtUsd healthPct initialMarginUsd maintenanceMarginUsd
  freeCollateralUsd buyingPowerUsd leverage tickSequence definition
  callPrices { asset mark price direction distancePct breached }
  liquidationPrices { asset mark price direction distancePct breached }"""
PREVIEW = """query($id: ID!, $changes: [PositionChange!]!) {
  marginPreview(accountId: $id, changes: $changes) {
    accountId before { ...numbers } after { ...numbers } } }
fragment numbers on MarginRequirements { FIELDS }""".replace("FIELDS", REQUIREMENTS)
ACCOUNT = f"query($id: ID!) {{ account(id: $id) {{ requirements {{ {REQUIREMENTS} }} }} }}"


def wait_for_tick(server: Server, key: str, sequence: int) -> None:
    """Until the gateway knows a tick."""

    def known() -> bool:
        marks = server.query("{ marks { sequence } }", key=key)["marks"]
        return bool(marks and marks["sequence"] == sequence)

    eventually(known)


def preview_of(server: Server, key: str, changes: list[dict[str, Any]], number: int = 1) -> dict[str, Any]:
    """The preview of a trade."""
    found: dict[str, Any] = server.query(PREVIEW, {"id": address(number), "changes": changes}, key=key)[
        "marginPreview"
    ]
    return found


def test_preview_equals_the_account_that_made_the_trade(server: Server, world: World) -> None:
    # The second account is the first after it sold 4 ETH, paid back 5,000 USDC and borrowed 0.5 ETH.
    made = (
        Position(31337, "ETH", 18, 6 * 10**18, 5 * 10**17, 2),
        Position(31337, "USDC", 6, 0, 5_000 * 10**6, 2),
    )
    world.put_accounts(world.account(1), Account(address(2), 2, world.now, {p.key: p for p in made}))
    world.announce_tick(world.tick(1))
    key = world.key()
    wait_for_tick(server, key, 1)
    changes: list[dict[str, Any]] = [
        {
            "asset": "ETH",
            "chainId": 31337,
            "collateralBaseDelta": f"-{4 * 10**18}",
            "debtBaseDelta": "5" + "0" * 17,
        },
        {"asset": "USDC", "debtBaseDelta": "-5000000000"},
    ]
    found = preview_of(server, key, changes)
    before, after = (
        server.query(ACCOUNT, {"id": address(number)}, key=key)["account"]["requirements"]
        for number in (1, 2)
    )
    assert found == {"accountId": address(1), "before": before, "after": after}
    collateral, debt = Fraction(6 * 2000), Fraction(5000 + 1000)
    assert Fraction(found["after"]["collateralUsd"]) == collateral
    assert Fraction(found["after"]["debtUsd"]) == debt
    assert Fraction(found["after"]["freeCollateralUsd"]) == collateral - Fraction("1.5") * debt
    # 6·p = 1.15·(5,000 + 0.5·p)
    liquidation = Fraction("1.15") * 5000 / (6 - Fraction("1.15") / 2)
    price = Fraction(found["after"]["liquidationPrices"][0]["price"])
    assert abs(price - liquidation) < Fraction(1, 10**7)


def test_preview_changes_nothing(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    world.announce_tick(world.tick(1))
    key = world.key()
    wait_for_tick(server, key, 1)
    changes = [{"asset": "ETH", "collateralBaseDelta": f"-{10**19}"}]
    first, second = (preview_of(server, key, changes) for _ in range(2))
    assert first == second
    assert (first["before"]["state"], first["after"]["state"]) == ("HEALTHY", "INSOLVENT")
    query = "query($id: ID!) { account(id: $id) { positions { collateralBase } } }"
    account = server.query(query, {"id": address(1)}, key=key)
    assert account["account"]["positions"][0]["collateralBase"] == str(10**19)


@pytest.mark.parametrize(("repaid", "state"), [("100000000", "WARNING"), ("500000000", "HEALTHY")])
def test_the_state_after_has_the_hysteresis_of_the_one_before(
    server: Server, world: World, repaid: str, state: str
) -> None:
    # Collateral 14,900; HEALTHY begins at 150 % of debt, but from WARNING at 152 %.
    world.put_accounts(world.account(1))
    world.put_record(1, State.WARNING)
    world.announce_tick(world.tick(1, eth="1490"))
    key = world.key()
    wait_for_tick(server, key, 1)
    found = preview_of(server, key, [{"asset": "USDC", "debtBaseDelta": f"-{repaid}"}])
    assert (found["before"]["state"], found["after"]["state"]) == ("WARNING", state)


def test_missing_marks_leave_it_unvalued(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    world.announce_tick(world.tick(1, usdc=None))
    key = world.key()
    wait_for_tick(server, key, 1)
    repaid = preview_of(server, key, [{"asset": "USDC", "debtBaseDelta": f"-{10**10}"}])
    assert (repaid["before"]["state"], repaid["before"]["unvaluedAssets"]) == ("UNVALUED", ["USDC"])
    assert repaid["before"]["freeCollateralUsd"] is None
    # Without the position there is no mark to miss.
    assert (repaid["after"]["state"], repaid["after"]["freeCollateralUsd"]) == ("NO_DEBT", "20000.000000")


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"asset": "DOGE", "debtBaseDelta": "1"}, "asset"),
        ({"asset": "ETH", "chainId": 7}, "chainId"),
        ({"asset": "ETH", "collateralBaseDelta": f"-{10**19 + 1}"}, "collateralBaseDelta"),
        ({"asset": "USDC", "debtBaseDelta": f"-{10**10 + 1}"}, "debtBaseDelta"),
        ({"asset": "USDC", "collateralBaseDelta": str(2**256)}, "collateralBaseDelta"),
    ],
)
def test_a_change_that_cannot_be_made_names_its_field(
    server: Server, world: World, change: dict[str, Any], argument: str
) -> None:
    world.put_accounts(world.account(1, extra_asset="DOGE"))
    changes = [{"asset": "USDC" if change["asset"] == "ETH" else "ETH"}, change]
    response = server.post(PREVIEW, {"id": address(1), "changes": changes}, key=world.key())
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": f"changes.1.{argument}"}
    assert error["message"].startswith(f"changes.1.{argument} ")


def test_the_list_of_changes_is_bounded_and_names_each_position_once(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    eth = {"asset": "ETH"}
    for changes, expected in (
        ([], {"code": "BAD_USER_INPUT", "argument": "changes"}),
        ([eth, {**eth, "chainId": 31337}], {"code": "BAD_USER_INPUT", "argument": "changes.1.asset"}),
        (
            [eth] * 101,
            {
                "code": "LIMIT_EXCEEDED",
                "argument": "changes",
                "limit": "changes_per_preview",
                "maximum": 100,
            },
        ),
    ):
        response = server.post(PREVIEW, {"id": address(1), "changes": changes}, key=world.key())
        (error,) = response.json()["errors"]
        assert error["extensions"] == expected


def test_the_chain_is_needed_where_it_is_not_clear(world: World) -> None:
    document: Any = network_document()
    (chain,) = document["chains"]
    tokens = {address: token for address, token in chain["tokens"].items() if token["asset"] == "USDC"}
    document["chains"].append({**chain, "chain_id": 10, "name": "second", "tokens": tokens})
    world.project.write_network(document)
    world.put_accounts(world.account(1, usdc_debt="0"), Account(address(2), 1, world.now, {}))
    world.put_tick(world.tick(1))
    key = world.key()
    with running() as server:
        borrowed = {"asset": "USDC", "debtBaseDelta": "1000000"}
        # The first account has a position on one of the chains, the second on none.
        assert preview_of(server, key, [borrowed])["after"]["debtUsd"] == "1.000000"
        for change, argument in (
            (borrowed, "changes.0.chainId"),
            ({**borrowed, "asset": "ETH", "chainId": 10}, "changes.0.asset"),
        ):
            response = server.post(PREVIEW, {"id": address(2), "changes": [change]}, key=key)
            (error,) = response.json()["errors"]
            assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": argument}
        only = preview_of(server, key, [{"asset": "ETH", "collateralBaseDelta": str(10**18)}], number=2)
        assert (only["before"]["state"], only["after"]["collateralUsd"]) == ("NO_DEBT", "2000.000000")
