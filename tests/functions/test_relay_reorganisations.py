"""relay_chain_events while the chain replaces its blocks: taken back what was announced, or halted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from google.cloud import firestore

from local.chain import deposit
from shared.events import topics
from shared.events.settlement import EventRetracted
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Tap
from tests.functions.relaying import cursor_of, describe_chain, make_deposits, relay, reorganise


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_what_a_reorg_took_back_is_retracted_before_its_replacement(
    call: Caller, market: Market, store: firestore.Client, tap: Callable[[str], Tap], depth: int
) -> None:
    announced = tap(topics.SETTLEMENT_EVENTS)
    account = make_deposits(market, 6)
    assert relay(call) == 200
    before = announced.events()
    reorganise(market, depth)
    make_deposits(market, 1)
    market.chain.mine(deposit(market.deployment, account, "ETH", 100))

    eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == market.head())

    after = announced.events()
    retracted = [event for event in after if isinstance(event, EventRetracted)]
    assert [event.retracted for event in retracted] == list(reversed(before[-depth:]))
    assert after[: len(retracted)] == retracted
    (replacement,) = [event for event in after[depth:] if event.account_id == account]
    assert replacement.sequence == 6 - depth + 1
    assert {event.revision for event in after} == {1}
    assert cursor_of(store).revision == 1


def test_a_reorg_back_to_what_was_is_announced_again_under_the_same_ids(
    call: Caller, market: Market, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    snapshot = market.chain.client.call("evm_snapshot")
    # The same second, so that the same transaction makes the same block again.
    moment = int(datetime.now(UTC).timestamp()) + 1_000
    account = market.account()
    announced = tap(topics.SETTLEMENT_EVENTS)
    for amount in (5, 6, 5):
        market.chain.client.call("evm_revert", snapshot)
        snapshot = market.chain.client.call("evm_snapshot")
        market.chain.set_balances({account: 10**20})
        market.chain.client.call("evm_setNextBlockTimestamp", hex(moment))
        market.chain.mine(deposit(market.deployment, account, "ETH", amount))
        eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == market.head())
    events = announced.events()
    first, second = events[0].event_id, events[2].event_id
    told = [
        (event.revision, event.retracted.event_id if isinstance(event, EventRetracted) else event.amount_base)
        for event in events
    ]
    assert told == [(0, 5), (1, first), (1, 6), (2, second), (2, 5)]
    assert events[4].event_id == first


def test_a_reorg_of_final_blocks_halts_the_chain_and_says_so_once(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    describe_chain(market, project, 2_000, finality=1)
    make_deposits(market, 3)
    assert relay(call) == 200
    announced, operations = tap(topics.SETTLEMENT_EVENTS), tap(topics.OPERATIONS_ALERTS)
    halted_at = cursor_of(store).block_number
    reorganise(market, 2)
    make_deposits(market, 2)

    for _ in range(3):
        assert relay(call) == 200

    (alert,) = operations.events()
    assert (alert.kind, alert.severity, alert.subject) == ("finality_violated", "critical", "anvil")
    assert announced.pull() == []
    cursor = cursor_of(store)
    assert cursor.block_number == halted_at
    assert cursor.halted is not None
    assert "was final" in cursor.halted
