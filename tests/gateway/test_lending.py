"""Lending markets and lenders' supplies through the gateway, against exact arithmetic on what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from shared.domain.interest import RAY, grow_index
from tests.gateway.conftest import Server, running
from tests.gateway.lending_records import RATE_PER_SECOND, lent_books, put_market, put_supplies
from tests.gateway.world import World, address

MARKET_FIELDS = """chainId asset decimals sequence changedAt asOf borrowIndex borrowRatePerSecond
  borrowRatePerYear cashBase borrowedBase suppliedBase cash borrowed supplied utilisation"""
SUPPLIES = (
    "query($id: ID!) { supplies(accountId: $id) { chainId asset decimals shares amountBase amount asOf } }"
)
MARKET = f"query($asset: String!) {{ market(chainId: 31337, asset: $asset) {{ {MARKET_FIELDS} }} }}"
LENDER, BORROWER, NOBODY = 1, 2, 3
A_YEAR_S = 365 * 86_400


@pytest.fixture(scope="module")
def changed_at() -> datetime:
    """When the market in USDC last changed: a while ago, so that interest has accrued since."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=40, seconds=17)


@pytest.fixture(scope="module")
def lending(module_world: World, changed_at: datetime) -> Iterator[Server]:
    """A gateway over a market in USDC that is partly lent, and a lender who has no account."""
    put_market(module_world, "USDC", lent_books(changed_at))
    put_supplies(module_world, LENDER, USDC=10**17 + 3, ETH=0)
    with running() as server:
        yield server


def moment(text: str) -> int:
    """The Unix time of an answer's moment."""
    return int(datetime.fromisoformat(text).timestamp())


def test_a_market_is_shown_with_interest_up_to_now(
    lending: Server, module_world: World, changed_at: datetime
) -> None:
    before = int(datetime.now(UTC).timestamp())
    found: dict[str, Any] = lending.query(MARKET, {"asset": "USDC"}, key=module_world.key())["market"]
    assert before <= moment(found["asOf"]) <= datetime.now(UTC).timestamp()
    assert moment(found["changedAt"]) == changed_at.timestamp()
    assert (found["chainId"], found["asset"], found["decimals"], found["sequence"]) == (31337, "USDC", 6, 7)

    index = grow_index(RAY * 5 // 4, RATE_PER_SECOND, moment(found["asOf"]) - int(changed_at.timestamp()))
    borrowed = 320_000 * 10**6 * index // RAY
    reserves = (borrowed - 400_000 * 10**6) // 10
    assert borrowed > 402_000 * 10**6, "five per cent a year for forty days"
    assert Fraction(found["borrowIndex"]) == Fraction(index, RAY)
    assert int(found["cashBase"]) == 600_000 * 10**6
    assert int(found["borrowedBase"]) == borrowed
    assert int(found["suppliedBase"]) == 600_000 * 10**6 + borrowed - reserves
    for name in ("cash", "borrowed", "supplied"):
        assert Fraction(found[name]) == Fraction(int(found[f"{name}Base"]), 10**6)
    used = Fraction(borrowed, 600_000 * 10**6 + borrowed)
    assert 0 <= used - Fraction(found["utilisation"]) < Fraction(1, RAY)
    assert Fraction(found["borrowRatePerSecond"]) == Fraction(RATE_PER_SECOND, RAY)
    assert Fraction(found["borrowRatePerYear"]) == Fraction(RATE_PER_SECOND * A_YEAR_S, RAY)
    assert abs(Decimal(found["borrowRatePerYear"]) - Decimal("0.05")) < Decimal("1e-15")


def test_markets_are_listed_and_those_without_a_report_are_not(lending: Server, module_world: World) -> None:
    key = module_world.key()
    listed = f"{{ markets {{ {MARKET_FIELDS} }} }}"
    put_market(module_world, "ETH", None)
    assert [each["asset"] for each in lending.query(listed, key=key)["markets"]] == ["USDC"]
    assert lending.query(MARKET, {"asset": "ETH"}, key=key)["market"] is None

    # A node's clock may be ahead of ours: what it reported stands.
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    put_market(module_world, "ETH", replace(lent_books(ahead, borrowed_base=0), rate_per_second=0))
    eth, usdc = lending.query(listed, key=key)["markets"]
    assert (eth["asset"], usdc["asset"]) == ("ETH", "USDC")
    assert moment(eth["asOf"]) == moment(eth["changedAt"]) == ahead.timestamp()
    assert eth["borrowedBase"] == "0"
    assert Fraction(eth["utilisation"]) == 0
    assert eth["cashBase"] == eth["suppliedBase"] == str(10**12)
    assert Decimal(eth["cash"]) == Decimal("0.000001")
    assert lending.query(MARKET, {"asset": "ETH"}, key=key)["market"] == eth
    put_market(module_world, "ETH", None)


@pytest.mark.parametrize("asset", ["", "DOGE", "USDC/x", "USDC/x/y", "../USDC"])
def test_an_unknown_asset_has_no_market(lending: Server, module_world: World, asset: str) -> None:
    assert lending.query(MARKET, {"asset": asset}, key=module_world.key()) == {"market": None}


def test_a_lender_without_an_account_sees_what_its_shares_are_worth(
    lending: Server, module_world: World, changed_at: datetime
) -> None:
    key = module_world.key()
    query = SUPPLIES.replace("{ supplies", "{ account(id: $id) { id } supplies", 1)
    answer = lending.query(query, {"id": address(LENDER)}, key=key)
    assert answer["account"] is None
    # What was redeemed entirely is not listed.
    (supply,) = answer["supplies"]
    books = lent_books(changed_at).accrue(moment(supply["asOf"]))
    worth = (10**17 + 3) * (books.supply_assets_base + 1) // (10**18 + 10**6)
    assert worth > 100_150 * 10**6, "a tenth of the supply, and of its interest"
    assert supply == {
        "chainId": 31337,
        "asset": "USDC",
        "decimals": 6,
        "shares": str(10**17 + 3),
        "amountBase": str(worth),
        "amount": str(Decimal(worth).scaleb(-6)),
        "asOf": supply["asOf"],
    }


def test_shares_of_a_market_that_is_not_known_have_no_amount(lending: Server, module_world: World) -> None:
    put_supplies(module_world, BORROWER, ETH=2**128 - 1)
    (supply,) = lending.query(SUPPLIES, {"id": address(BORROWER)}, key=module_world.key())["supplies"]
    assert supply["shares"] == str(2**128 - 1)
    assert (supply["amountBase"], supply["amount"], supply["asOf"]) == (None, None, None)


def test_a_lender_that_a_key_may_not_see_looks_like_one_that_never_lent(
    lending: Server, module_world: World
) -> None:
    limited = module_world.key(accounts=[address(NOBODY)])
    hidden = lending.post(SUPPLIES, {"id": address(LENDER)}, key=limited).json()
    absent = lending.post(SUPPLIES, {"id": address(999)}, key=limited).json()
    assert hidden == absent == {"data": {"supplies": []}}
    allowed = module_world.key(accounts=[address(LENDER)])
    assert lending.query(SUPPLIES, {"id": address(LENDER).upper().replace("X", "x")}, key=allowed)["supplies"]
    (error,) = lending.post(SUPPLIES, {"id": "0x1"}, key=allowed).json()["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "accountId"}


def test_supplies_of_a_page_of_accounts_are_read_together(
    server: Server, world: World, changed_at: datetime
) -> None:
    put_market(world, "USDC", lent_books(changed_at))
    world.put_accounts(*(world.account(number) for number in range(1, 6)))
    for number in range(1, 5):
        put_supplies(world, number, USDC=10**17 * number)
    query = "{ accounts { edges { node { id supplies { asset shares amountBase } } } } }"
    key = world.key()
    server.query(query, key=key)
    server.reads.clear()
    edges = server.query(query, key=key)["accounts"]["edges"]
    shares = [[supply["shares"] for supply in edge["node"]["supplies"]] for edge in edges]
    assert shares == [[str(10**17 * number)] for number in range(1, 5)] + [[]]
    assert all(supply["amountBase"] for edge in edges for supply in edge["node"]["supplies"])
    # The supplies of all five, and the market.
    assert server.reads["find_all"] == 2
