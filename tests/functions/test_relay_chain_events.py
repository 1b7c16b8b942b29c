"""relay_chain_events: every log announced, none skipped, none under two ids, whatever the node does."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from google.cloud import firestore

from local.chain import borrow, deposit, repay, withdraw
from local.escrows import (
    EscrowTerms,
    approve_escrow,
    create_escrow,
    escrow_address,
    release_escrow,
    withdraw_escrow,
)
from shared.chain import blocks
from shared.domain.interest import debt_of
from shared.events import topics
from shared.events.settlement import EscrowCreated, EscrowEvent, MarketChanged, PositionChanged
from shared.stores import chain_cursors
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Outage, Outbox, Tap
from tests.functions.instances import Instances
from tests.functions.relaying import (
    FUNCTION,
    cursor_of,
    deposit_in_one_block,
    describe_chain,
    make_deposits,
    relay,
    sequences_of,
)
from tests.messages import CHAIN_ID
from tests.servers import Answer, rpc_proxy

ETH = 10**18


def test_positions_and_escrows_are_announced_as_the_contracts_report_them(
    call: Caller, market: Market, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced = tap(topics.SETTLEMENT_EVENTS)
    account, payer, payee, arbiter = (market.account() for _ in range(4))
    deployment = market.deployment
    terms = EscrowTerms(payer, payee, arbiter, 5, salt=bytes(32))
    escrow = escrow_address(market.chain, deployment, terms)
    market.chain.mine(
        [
            *deposit(deployment, account, "ETH", 3 * ETH),
            *borrow(deployment, account, "USDC", 1_000 * 10**6),
            *repay(deployment, account, "USDC", 400 * 10**6),
            *withdraw(deployment, account, "ETH", ETH),
            *create_escrow(deployment, terms),
            *approve_escrow(escrow, payer),
            *release_escrow(escrow, payer),
            *withdraw_escrow(escrow, payee),
        ]
    )

    assert relay(call) == 200

    events = announced.events()
    positions = [event for event in events if isinstance(event, PositionChanged)]
    assert [(e.sequence, e.action, e.asset, e.amount_base, e.collateral_base) for e in positions] == [
        (1, "deposit", "ETH", 3 * ETH, 3 * ETH),
        (2, "borrow", "USDC", 1_000 * 10**6, 0),
        (3, "repay", "USDC", 400 * 10**6, 0),
        (4, "withdraw", "ETH", ETH, 2 * ETH),
    ]
    # All in one block: no interest, but loan and payment are each rounded against the debtor.
    for event, principal in zip(positions, (0, 1_000 * 10**6, 600 * 10**6, 0), strict=True):
        assert 0 <= event.debt_base - principal <= 2
    assert [e.debt_base for e in positions] == [debt_of(e.debt_shares, e.borrow_index) for e in positions]
    assert {event.account_id for event in positions} == {account}
    markets = [event for event in events if isinstance(event, MarketChanged)]
    assert [e.asset for e in markets] == ["USDC", "USDC"]
    # More is lent after the loan than after the payment.
    assert markets[0].rate_per_second > markets[1].rate_per_second > 0
    assert markets[1].sequence == markets[0].sequence + 1
    assert markets[1].cash_base == markets[0].cash_base + 400 * 10**6
    steps = [event for event in events if isinstance(event, EscrowEvent)]
    assert [(type(e).__name__, e.step, e.escrow) for e in steps] == [
        ("EscrowCreated", 1, escrow),
        ("EscrowApproved", 2, escrow),
        ("EscrowReleased", 3, escrow),
        ("EscrowWithdrawn", 4, escrow),
    ]
    assert isinstance(steps[0], EscrowCreated)
    assert (steps[0].payer, steps[0].payee, steps[0].arbiter) == (payer, payee, arbiter)
    block = blocks.read_block(market.chain.client, events[0].block_number)
    assert (events[0].block_hash, events[0].block_time.timestamp()) == (block.hash, block.time)
    assert cursor_of(store).block_number == market.head()
    assert outbox_left.ids() == []


def test_a_second_look_announces_nothing_again(
    call: Caller, market: Market, tap: Callable[[str], Tap]
) -> None:
    make_deposits(market, 2)
    announced = tap(topics.SETTLEMENT_EVENTS)
    for _ in range(3):
        assert relay(call) == 200
    assert len(announced.pull()) == 2


def test_blocks_are_read_slice_behind_slice(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    account = make_deposits(market, 7)
    describe_chain(market, project, 2)
    announced = tap(topics.SETTLEMENT_EVENTS)

    eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == market.head())

    assert sequences_of(announced.events(), account) == [1, 2, 3, 4, 5, 6, 7]


def test_a_block_is_announced_once_it_has_its_confirmations(
    call: Caller, market: Market, project: Project, tap: Callable[[str], Tap]
) -> None:
    describe_chain(market, project, 2_000, confirmations=3)
    announced = tap(topics.SETTLEMENT_EVENTS)
    account = make_deposits(market, 1)
    market.mine_empty(2)
    assert relay(call) == 200
    assert announced.pull() == []

    market.mine_empty(1)
    assert relay(call) == 200
    assert sequences_of(announced.events(), account) == [1]


@pytest.mark.parametrize("block_count", [1, 4])
def test_however_many_events_come_at_once_all_are_announced(
    call: Caller,
    market: Market,
    store: firestore.Client,
    tap: Callable[[str], Tap],
    outbox_left: Outbox,
    block_count: int,
) -> None:
    """More than one commit takes, in one block and in several: a slice that never fits is never left."""
    account = market.account()
    announced = tap(topics.SETTLEMENT_EVENTS)
    for number in range(block_count):
        deposit_in_one_block(market, account, 500, first_nonce=500 * number)

    eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == market.head(), within_s=30)

    events = announced.events()
    assert len({event.block_number for event in events}) == block_count
    assert sorted(sequences_of(events, account)) == list(range(1, 500 * block_count + 1))
    assert outbox_left.ids() == []


def test_it_is_called_again_while_no_node_answers(
    call: Caller, market: Market, without: Outage, tap: Callable[[str], Tap]
) -> None:
    account = make_deposits(market, 1)
    announced = tap(topics.SETTLEMENT_EVENTS)
    with without("chain"):
        assert relay(call) == 503
    assert announced.pull() == []

    assert relay(call) == 200
    assert sequences_of(announced.events(), account) == [1]


def _every_other(answer: Answer) -> Callable[[Sequence[Mapping[str, Any]]], Answer | None]:
    turn = itertools.count()
    return lambda _: answer if next(turn) % 2 == 0 else None


FAULTS: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], Answer | None]] = {
    "answers HTTP 500": _every_other(Answer(500)),
    "closes the connection": _every_other(Answer(None)),
    "sends half an answer": _every_other(Answer(200, b'[{"jsonrpc":"2.0","id":0,"resu')),
    "sends an empty batch": _every_other(Answer(200, b"[]")),
    "refuses for its rate limit": _every_other(
        Answer(200, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"limit exceeded"}}')
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_node_that_fails_half_of_its_requests_costs_nothing_but_time(
    call: Caller,
    market: Market,
    project: Project,
    store: firestore.Client,
    tap: Callable[[str], Tap],
    fault: str,
) -> None:
    account = make_deposits(market, 5)
    announced = tap(topics.SETTLEMENT_EVENTS)
    with rpc_proxy(project.hosts.rpc, FAULTS[fault]) as proxy:
        describe_chain(market, project, 2)
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == market.head())
    assert sequences_of(announced.events(), account) == [1, 2, 3, 4, 5]


def test_a_node_that_refuses_each_call_is_tried_again_as_one_that_is_away(
    call: Caller, market: Market, project: Project
) -> None:
    error = {"code": -32005, "message": "daily request count exceeded"}

    def decide(calls: Sequence[Mapping[str, Any]]) -> Answer | None:
        if calls[0]["method"] == "eth_chainId":
            return None
        body = [{"jsonrpc": "2.0", "id": call["id"], "error": error} for call in calls]
        return Answer(200, json.dumps(body).encode())

    with rpc_proxy(project.hosts.rpc, decide) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        outcome = call.request(FUNCTION)
    assert outcome.status == 503
    assert "daily request count exceeded" in outcome.body["error"]


def test_a_second_node_answers_where_the_first_does_not(
    call: Caller, market: Market, project: Project, tap: Callable[[str], Tap]
) -> None:
    account = make_deposits(market, 1)
    announced = tap(topics.SETTLEMENT_EVENTS)
    with rpc_proxy(project.hosts.rpc, lambda _: Answer(503)) as broken:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={broken.url},{project.hosts.rpc}")
        assert relay(call) == 200
    assert sequences_of(announced.events(), account) == [1]


@pytest.mark.parametrize(
    ("refusal", "accepted"),
    [
        ("query exceeds max block range 2", 2),
        ("Internal server error. Forwarder error: 1000.", 2),
        # Nothing is short enough: the blocks' receipts have the logs as well.
        ("query returned more than 10000 results", 0),
    ],
)
def test_a_node_that_refuses_long_ranges_is_asked_for_shorter_ones(
    call: Caller,
    market: Market,
    project: Project,
    tap: Callable[[str], Tap],
    refusal: str,
    accepted: int,
) -> None:
    account = make_deposits(market, 9)
    announced = tap(topics.SETTLEMENT_EVENTS)
    asked: list[int] = []

    def decide(calls: Sequence[Mapping[str, Any]]) -> Answer | None:
        if calls[0]["method"] != "eth_getLogs":
            return None
        (query,) = calls[0]["params"]
        length = int(query["toBlock"], 16) - int(query["fromBlock"], 16) + 1
        asked.append(length)
        if length <= accepted:
            return None
        error = {"code": -32602, "message": refusal}
        return Answer(200, json.dumps([{"jsonrpc": "2.0", "id": 0, "error": error}]).encode())

    with rpc_proxy(project.hosts.rpc, decide) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}", WINDOW_S="3")
        outcome = call.request(FUNCTION)
    assert outcome.status == 200
    assert max(asked) > 2
    assert len(asked) < 20
    assert sequences_of(announced.events(), account) == list(range(1, 10))


@pytest.mark.parametrize("left_out", ["every log", "every other log"])
def test_logs_that_a_node_leaves_out_are_announced_all_the_same_and_operators_are_told(
    call: Caller,
    market: Market,
    project: Project,
    store: firestore.Client,
    tap: Callable[[str], Tap],
    left_out: str,
) -> None:
    account = make_deposits(market, 5)
    announced, operations = tap(topics.SETTLEMENT_EVENTS), tap(topics.OPERATIONS_ALERTS)

    def decide(calls: Sequence[Mapping[str, Any]]) -> Answer | None:
        if calls[0]["method"] != "eth_getLogs":
            return None
        logs = market.chain.client.call("eth_getLogs", *calls[0]["params"])
        kept = [] if left_out == "every log" else logs[::2]
        return Answer(200, json.dumps([{"jsonrpc": "2.0", "id": 0, "result": kept}]).encode())

    with rpc_proxy(project.hosts.rpc, decide) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        assert relay(call) == 200

    assert sequences_of(announced.events(), account) == [1, 2, 3, 4, 5]
    (alert,) = operations.events()
    assert (alert.kind, alert.details["provider"]) == ("logs_incomplete", "node 0")
    assert alert.details["missing"] == ("5" if left_out == "every log" else "2")
    assert cursor_of(store).differences == int(alert.details["missing"])


def test_a_url_of_another_chain_is_refused(
    call: Caller, market: Market, project: Project, tap: Callable[[str], Tap]
) -> None:
    make_deposits(market, 1)
    announced = tap(topics.SETTLEMENT_EVENTS)

    def decide(calls: Sequence[Mapping[str, Any]]) -> Answer | None:
        if calls[0]["method"] != "eth_chainId":
            return None
        return Answer(200, b'[{"jsonrpc":"2.0","id":0,"result":"0x1"}]')

    with rpc_proxy(project.hosts.rpc, decide) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        outcome = call.request(FUNCTION)
    assert outcome.status == 503
    assert "serves chain 1, not 31337" in outcome.body["error"]
    assert announced.pull() == []


def test_an_event_of_a_token_that_is_not_described_holds_the_cursor_until_it_is(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    account = market.account()
    market.chain.mine(deposit(market.deployment, account, "LINK", 5))
    announced = tap(topics.SETTLEMENT_EVENTS)
    whole = market.deployment.network(start_block=market.start_block)
    partial = market.deployment.network(start_block=market.start_block)
    link = market.deployment.tokens["LINK"]
    del partial["chains"][0]["tokens"][link]
    project.write_network(partial)

    outcome = call.request(FUNCTION)
    assert outcome.status == 503
    assert f"token {link} of chain {CHAIN_ID} is not in the network description" in outcome.body["error"]
    assert chain_cursors.find(store, CHAIN_ID) is None

    project.write_network(whole)
    assert relay(call) == 200
    assert sequences_of(announced.events(), account) == [1]


def test_a_crash_between_commit_and_publish_is_made_good_by_the_sweep(
    call: Caller, market: Market, without: Outage, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    account = make_deposits(market, 3)
    announced = tap(topics.SETTLEMENT_EVENTS)
    with without("pubsub"):
        relay(call)
    assert len(outbox_left.ids()) == 3
    assert relay(call) == 200
    assert announced.pull() == []

    outbox_left.age()
    assert call.request("relay_outbox").status == 200

    assert sorted(sequences_of(announced.events(), account)) == [1, 2, 3]
    assert outbox_left.ids() == []


def test_a_process_killed_between_slices_leaves_none_out(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    account = make_deposits(market, 20)
    announced = tap(topics.SETTLEMENT_EVENTS)
    describe_chain(market, project, 1)
    project.setenv(WINDOW_S="50")
    with Instances(project, FUNCTION) as instances:
        url = instances.start()
        instances.post(url)
        eventually(lambda: cursor_of(store).block_number >= market.start_block + 3, within_s=20)
        instances.kill(url)
    project.setenv(WINDOW_S="0.1")
    # The killed process's lease runs out by itself.
    eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == market.head(), within_s=20)
    sweep = Outbox(store)
    sweep.age()
    assert call.request("relay_outbox").status == 200

    events = announced.events()
    assert sorted(set(sequences_of(events, account))) == list(range(1, 21))
    # A repeat has the same id.
    assert len({event.event_id for event in events}) == 20
