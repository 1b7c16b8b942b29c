"""Interest from the vault to our projection: the same to the last base unit, at any block's time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from google.cloud import firestore

from local.chain import Transaction, borrow, calldata, deposit, repay
from shared.chain import abi, blocks
from shared.chain.rpc import quantity
from shared.domain.interest import RAY
from shared.events import topics
from shared.stores import accounts, markets, supplies
from tests.functions.conftest import Caller, Market, Tap
from tests.functions.lending import charge_interest, pass_time
from tests.functions.relaying import relay, reorganise

A_DAY_S = 86_400
ASSETS = ("USDC", "ETH")


def _lend(market: Market, account: str, amount_base: int) -> None:
    data = calldata("supply(address,uint256)", market.deployment.tokens["ETH"], amount_base)
    market.chain.mine([Transaction(account, market.deployment.vault, data, value=amount_base)])


def _redeem(market: Market, account: str, shares: int) -> None:
    data = calldata("redeem(address,uint256)", market.deployment.tokens["ETH"], shares)
    market.chain.mine([Transaction(account, market.deployment.vault, data)])


def _on_chain(market: Market, account_ids: Iterable[str]) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(collateral, debt, supplied) by account and asset, as the vault says at its latest block."""
    head = hex(market.head())
    found = {}
    for account_id in account_ids:
        for asset in ASSETS:
            data = calldata("position(address,address)", account_id, market.deployment.tokens[asset])
            answer = market.chain.client.call("eth_call", {"to": market.deployment.vault, "data": data}, head)
            found[account_id, asset] = tuple(abi.unsigned(word) for word in abi.words(answer, 3))
    return found  # type: ignore[return-value]


def _projected(
    market: Market, store: firestore.Client, account_ids: list[str]
) -> dict[tuple[str, str], tuple[int, int, int]]:
    """The same from our projection, at the time of the chain's latest block."""
    at = blocks.read_block(market.chain.client, market.head()).time
    lending = {each.asset: each for each in markets.list_all(store)}
    known, lent = accounts.find_many(store, account_ids), supplies.find_many(store, account_ids)
    found = {}
    for account_id in account_ids:
        for asset in ASSETS:
            held = known[account_id].positions.get(f"31337:{asset}") if account_id in known else None
            supply = lent.get(account_id, {}).get(f"31337:{asset}")
            books = lending[asset].books_at(at) if asset in lending else None
            found[account_id, asset] = (
                held.collateral_base if held else 0,
                books.debt_of(held.debt_shares) if held and books else 0,
                books.assets_of(supply.shares) if supply and supply.shares and books else 0,
            )
    return found


@pytest.fixture
def follow(call: Caller, tap: Callable[[str], Tap]) -> Callable[[], None]:
    """Relay what is on chain and apply what was announced, the last message first."""
    announced = tap(topics.SETTLEMENT_EVENTS)

    def relayed() -> None:
        assert relay(call) == 200
        events: list[Any] = announced.events()
        for event in reversed(events):
            assert call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, event).acknowledged

    return relayed


def test_debts_and_supplies_are_the_vaults_to_the_last_unit_over_days_and_reorganisations(
    market: Market, store: firestore.Client, follow: Callable[[], None]
) -> None:
    charge_interest(market)
    first, second, lender = (market.account() for _ in range(3))
    people = [first, second, lender]
    for account, amount in ((first, 900 * 10**18), (second, 700 * 10**18)):
        market.chain.mine(deposit(market.deployment, account, "ETH", amount))
    market.chain.mine(borrow(market.deployment, first, "USDC", 123_456_789_012))
    _lend(market, lender, 77 * 10**18 + 1)
    pass_time(market, 3 * A_DAY_S + 17)
    market.chain.mine(borrow(market.deployment, second, "USDC", 7))
    market.chain.mine(borrow(market.deployment, second, "ETH", 10**18 + 3))
    follow()
    assert _projected(market, store, people) == _on_chain(market, people)

    pass_time(market, 41 * A_DAY_S)
    before = _on_chain(market, people)
    assert before[first, "USDC"][1] > 123_456_789_012 * 1008 // 1000, "seven per cent a year"
    assert before[lender, "ETH"][2] > 77 * 10**18
    assert _projected(market, store, people) == before

    market.chain.mine_in_turn([repay(market.deployment, first, "USDC", 23_456_789_012)])
    _redeem(market, lender, 10**24 + 1)
    market.chain.mine(borrow(market.deployment, first, "USDC", 5_000_000_001))
    market.chain.mine(borrow(market.deployment, second, "USDC", 11))
    follow()
    assert _projected(market, store, people) == _on_chain(market, people)

    reorganise(market, 3)
    market.chain.mine(borrow(market.deployment, second, "USDC", 13))
    follow()
    pass_time(market, 9 * A_DAY_S)
    after = _on_chain(market, people)
    assert _projected(market, store, people) == after
    lending = {each.asset: each for each in markets.list_all(store)}
    assert lending["USDC"].books.rate_per_second > 0
    assert lending["USDC"].books.borrow_index > RAY
    assert quantity(market.chain.client.call("eth_blockNumber")) == market.head()


def test_a_payment_of_everything_that_is_taken_back_leaves_the_debt_as_it_was(
    market: Market, store: firestore.Client, follow: Callable[[], None]
) -> None:
    charge_interest(market)
    account = market.account()
    market.chain.mine(deposit(market.deployment, account, "ETH", 100 * 10**18))
    market.chain.mine(borrow(market.deployment, account, "ETH", 10**18 + 7))
    pass_time(market, 100 * A_DAY_S + 1)
    follow()
    # Native value beyond what is due comes back.
    market.chain.mine(repay(market.deployment, account, "ETH", 2 * 10**18))
    follow()
    assert _on_chain(market, [account])[account, "ETH"][1] == 0
    assert _projected(market, store, [account]) == _on_chain(market, [account])

    reorganise(market, 1)
    market.mine_empty(1)
    follow()
    truth = _on_chain(market, [account])
    assert truth[account, "ETH"][1] > 10**18 + 7
    assert _projected(market, store, [account]) == truth
