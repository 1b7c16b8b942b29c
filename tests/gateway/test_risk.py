"""Margin requirements and trigger prices, each number against exact rational arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from shared.domain.margin import State
from shared.domain.positions import Account, Position, position_key
from shared.risk import prices
from shared.risk.book import Book, Valuation
from shared.risk.positions import BookRow, Float64Array
from tests.conftest import network_document
from tests.eventually import eventually
from tests.gateway.conftest import Server, running, runs_an_event_loop
from tests.gateway.world import World, address

REQUIREMENTS = """
query($id: ID!) { account(id: $id) { margin { state collateralUsd debtUsd }
  requirements { accountId state unvaluedAssets collateralUsd debtUsd healthPct initialMarginUsd
    maintenanceMarginUsd freeCollateralUsd buyingPowerUsd leverage definition tickSequence positionVersion
    callPrices { ...trigger } liquidationPrices { ...trigger } } } }
fragment trigger on TriggerPrice { asset mark price direction distancePct breached }
"""


def at_tick(server: Server, key: str, sequence: int, number: int = 1) -> dict[str, Any]:
    """The account, once the gateway knows the tick."""

    def ask() -> dict[str, Any] | None:
        account = server.query(REQUIREMENTS, {"id": address(number)}, key=key)["account"]
        return account if account["requirements"]["tickSequence"] == sequence else None

    found: dict[str, Any] = eventually(ask)
    return found


def is_near(value: str | float, exact: Fraction, *, within: Fraction = Fraction(1, 10**6)) -> bool:
    """Whether a number of the API is an exact one, but for its rounding."""
    return abs(Fraction(value) - exact) <= within * max(Fraction(1), abs(exact))


def test_the_accounts_of_a_page_are_read_and_valued_together(
    server: Server, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred accounts cost one read of each kind and one pass, as one account does."""
    count = 100
    for start in range(1, count + 1, 50):
        world.put_accounts(
            *(world.account(n, eth=str(n), usdc_debt="1000") for n in range(start, start + 50))
        )
    world.announce_tick(world.tick(3, eth="1500"))
    at_tick(server, world.key(), 3)
    passes: list[int] = []
    revalue = Book.revalue

    def counted(book: Book, marks: Float64Array) -> Valuation:
        passes.append(book.n_rows)
        return revalue(book, marks)

    monkeypatch.setattr(Book, "revalue", counted)
    triggered: list[tuple[int, bool]] = []
    of_book = prices.book_trigger_prices

    def recorded(
        rows: Sequence[BookRow], marks: Float64Array, threshold: float
    ) -> list[prices.TriggerPrices]:
        triggered.append((len(rows), runs_an_event_loop()))
        return of_book(rows, marks, threshold)

    monkeypatch.setattr(prices, "book_trigger_prices", recorded)
    calls: list[int] = []
    for first in (1, count):
        passes.clear()
        triggered.clear()
        server.reads.clear()
        page = server.query(
            "query($first: Int!) { accounts(first: $first) { edges { node { id"
            " requirements { collateralUsd callPrices { price } liquidationPrices { asset price } } } } } }",
            {"first": first},
            key=world.key(),
        )
        found = {
            edge["node"]["id"]: edge["node"]["requirements"]["collateralUsd"]
            for edge in page["accounts"]["edges"]
        }
        assert len(found) == first
        assert all(is_near(found[address(n)], Fraction(1500 * n)) for n in range(1, first + 1))
        assert passes == [first]
        assert triggered == [(first, False)] * 2, "one pass a threshold, and none on the event loop"
        calls.append(server.reads["calls"])
    assert calls[0] == calls[1]


def test_requirements_are_those_of_the_policy(server: Server, world: World) -> None:
    world.put_accounts(world.account(1, eth="7.25", usdc_debt="9000.5"))
    world.put_record(1, State.HEALTHY)
    world.announce_tick(world.tick(5, eth="1999.99"))
    account = at_tick(server, world.key(), 5)
    found = account["requirements"]
    collateral, debt = Fraction("7.25") * Fraction("1999.99"), Fraction("9000.5")
    equity = collateral - debt
    assert is_near(found["collateralUsd"], collateral)
    assert is_near(found["debtUsd"], debt)
    assert is_near(found["healthPct"], equity / debt * 100)
    assert is_near(found["initialMarginUsd"], debt / 2)
    assert is_near(found["maintenanceMarginUsd"], debt * Fraction("0.3"))
    assert is_near(found["freeCollateralUsd"], equity - debt / 2)
    assert is_near(found["buyingPowerUsd"], (collateral - debt * Fraction("1.5")) / Fraction("0.5"))
    assert is_near(found["leverage"], collateral / equity)
    assert {name: found[name] for name in ("state", "collateralUsd", "debtUsd")} == account["margin"]
    assert (found["unvaluedAssets"], found["positionVersion"]) == ([], 1)
    assert found["definition"] == "margin-requirements.v1"


def test_trigger_prices_of_both_sides(server: Server, world: World) -> None:
    world.put_accounts(world.account(1, eth="10", usdc_debt="9000"))
    world.announce_tick(world.tick(1, eth="1500"))
    found = at_tick(server, world.key(), 1)["requirements"]
    for field, multiple in (("callPrices", Fraction("1.3")), ("liquidationPrices", Fraction("1.15"))):
        eth, usdc = found[field]
        expected_eth, expected_usdc = multiple * 900, Fraction(15000) / (multiple * 9000)
        assert is_near(eth.pop("price"), expected_eth, within=Fraction(1, 10**11))
        assert is_near(eth.pop("distancePct"), (expected_eth / 1500 - 1) * 100)
        assert eth == {"asset": "ETH", "mark": "1500", "direction": "FALLS", "breached": False}
        assert is_near(usdc.pop("price"), expected_usdc, within=Fraction(1, 10**11))
        assert is_near(usdc.pop("distancePct"), (expected_usdc - 1) * 100)
        assert usdc == {"asset": "USDC", "mark": "1", "direction": "RISES", "breached": False}


@pytest.mark.parametrize(
    ("collateral_base", "call_is_breached"), [(13 * 10**17, False), (13 * 10**17 - 1, True)]
)
def test_breached_is_decided_exactly_at_the_threshold(
    server: Server, world: World, collateral_base: int, call_is_breached: bool
) -> None:
    held = (
        Position(31337, "ETH", 18, collateral_base, 0, 1),
        Position(31337, "USDC", 6, 0, 10**9, 1),
    )
    world.put_accounts(Account(address(1), 1, world.now, {p.key: p for p in held}))
    world.announce_tick(world.tick(1, eth="1000"))
    found = at_tick(server, world.key(), 1)["requirements"]
    assert found["state"] == ("MARGIN_CALL" if call_is_breached else "WARNING")
    assert {trigger["breached"] for trigger in found["callPrices"]} == {call_is_breached}
    assert {trigger["breached"] for trigger in found["liquidationPrices"]} == {False}
    assert is_near(found["callPrices"][0]["price"], Fraction(1000))


def test_hysteresis_keeps_the_state_that_margin_shows(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    world.put_record(1, State.WARNING)
    world.announce_tick(world.tick(1, eth="1510"))
    account = at_tick(server, world.key(), 1)
    assert account["requirements"]["state"] == account["margin"]["state"] == "WARNING"


def test_no_debt_and_no_equity(server: Server, world: World) -> None:
    world.put_accounts(world.account(1, usdc_debt="0"), world.account(2, eth="1", usdc_debt="5000"))
    world.announce_tick(world.tick(1))
    key = world.key()
    free = at_tick(server, key, 1)["requirements"]
    assert (free["state"], free["healthPct"], free["leverage"]) == ("NO_DEBT", None, 1.0)
    assert free["freeCollateralUsd"] == "20000.000000"
    assert free["liquidationPrices"] == [
        {
            "asset": "ETH",
            "mark": "2000",
            "price": None,
            "direction": None,
            "distancePct": None,
            "breached": False,
        }
    ]
    broke = at_tick(server, key, 1, number=2)["requirements"]
    assert (broke["state"], broke["leverage"]) == ("INSOLVENT", None)
    assert (broke["freeCollateralUsd"], broke["buyingPowerUsd"]) == ("0.000000", "0.000000")
    eth = broke["liquidationPrices"][0]
    assert (eth["breached"], eth["direction"]) == (True, "FALLS")
    assert is_near(eth["price"], Fraction(5750))


def test_unvalued_accounts_have_no_numbers_and_name_the_assets(server: Server, world: World) -> None:
    world.put_accounts(world.account(1), world.account(2, extra_asset="DOGE"))
    key = world.key()
    before = server.query(REQUIREMENTS, {"id": address(1)}, key=key)["account"]["requirements"]
    assert (before["tickSequence"], before["unvaluedAssets"]) == (None, ["ETH", "USDC"])
    world.announce_tick(world.tick(1, eth=None))
    for number, missing in ((1, ["ETH"]), (2, ["DOGE", "ETH"])):
        found = at_tick(server, key, 1, number=number)["requirements"]
        assert (found["state"], found["unvaluedAssets"]) == ("UNVALUED", missing)
        numbers = {name: value for name, value in found.items() if name.endswith(("Usd", "Pct", "Prices"))}
        assert len(numbers) == 9
        assert set(numbers.values()) == {None}
        assert found["leverage"] is None


def with_haircuts(world: World, factors: Mapping[str, tuple[str, str]]) -> None:
    """A network in which assets have these collateral and borrow factors."""
    document: Any = network_document()
    for asset, (collateral, borrow) in factors.items():
        document["assets"][asset].update(collateral_factor=collateral, borrow_factor=borrow)
    world.project.write_network(document)


def test_buying_power_counts_the_haircuts_of_what_is_traded(world: World) -> None:
    with_haircuts(world, {"ETH": ("0.8", "0.75"), "USDC": ("0.9", "0.95")})
    held = (
        Position(31337, "ETH", 18, 10 * 10**18, 2 * 10**18, 1),
        Position(31337, "USDC", 6, 0, 5000 * 10**6, 1),
    )
    world.put_accounts(Account(address(1), 1, world.now, {position_key(31337, p.asset): p for p in held}))
    world.put_tick(world.tick(1))
    query = """query($id: ID!) { account(id: $id) { requirements { collateralUsd debtUsd
      buyingPowerUsd(asset: "ETH", borrowedAsset: "USDC") liquidationPrices { asset price } } } }"""
    with running() as server:
        found = server.query(query, {"id": address(1)}, key=world.key())["account"]["requirements"]
        for argument in ("asset", "borrowedAsset"):
            asked = f'requirements {{ buyingPowerUsd({argument}: "DOGE") }}'
            wrong = f'{{ account(id: "{address(1)}") {{ {asked} }} }}'
            (error,) = server.post(wrong, key=world.key()).json()["errors"]
            assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": argument}
    collateral = Fraction(20000) * Fraction("0.8")
    debt = Fraction(4000) / Fraction("0.75") + Fraction(5000) / Fraction("0.95")
    assert is_near(found["collateralUsd"], collateral)
    assert is_near(found["debtUsd"], debt)
    bought = (collateral - Fraction("1.5") * debt) / (Fraction("1.5") / Fraction("0.95") - Fraction("0.8"))
    assert is_near(found["buyingPowerUsd"], bought)
    # At the price found for the asset on both sides, exact health is the threshold.
    for trigger in found["liquidationPrices"]:
        marks = {"ETH": Fraction(2000), "USDC": Fraction(1), trigger["asset"]: Fraction(trigger["price"])}
        collateral_then = 10 * marks["ETH"] * Fraction("0.8")
        debt_then = 2 * marks["ETH"] / Fraction("0.75") + 5000 * marks["USDC"] / Fraction("0.95")
        assert is_near(float(collateral_then / debt_then), Fraction("1.15"), within=Fraction(1, 10**9)), (
            trigger
        )
    assert Decimal(found["buyingPowerUsd"]) > 0
