"""What the relay of the platform before this one lost: each loss, provoked as it was seen, fails here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.cloud import firestore

from local.escrows import EscrowTerms, approve_escrow, create_escrow, escrow_address
from shared.events import topics
from shared.events.settlement import EscrowApproved, EscrowCreated, EventRetracted
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Tap
from tests.functions.instances import Instances
from tests.functions.relaying import (
    FUNCTION,
    cursor_of,
    describe_chain,
    make_deposits,
    relay,
    reorganise,
    sequences_of,
)
from tests.messages import CHAIN_ID
from tests.servers import Answer, rpc_proxy


def _create_escrow(market: Market, salt: int) -> tuple[str, str]:
    """An escrow in a block of its own: its address and its payer."""
    payer, payee, arbiter = (market.account() for _ in range(3))
    terms = EscrowTerms(payer, payee, arbiter, 5, salt=salt.to_bytes(32, "big"))
    address = escrow_address(market.chain, market.deployment, terms)
    market.chain.mine(create_escrow(market.deployment, terms))
    return address, payer


def _caught_up(call: Caller, market: Market, store: firestore.Client) -> bool:
    return relay(call) == 200 and cursor_of(store).block_number == market.head()


def test_an_outage_of_600_blocks_deletes_an_escrow_and_none_here(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    """It jumped to 100 blocks before the head: of two escrows of the outage one was announced."""
    describe_chain(market, project, 100)
    announced = tap(topics.SETTLEMENT_EVENTS)
    make_deposits(market, 1)
    assert relay(call) == 200
    first, _ = _create_escrow(market, 1)
    market.mine_empty(599)
    second, _ = _create_escrow(market, 2)

    eventually(lambda: _caught_up(call, market, store), within_s=30)

    created = [event.escrow for event in announced.events() if isinstance(event, EscrowCreated)]
    assert created == [first, second]


def test_one_rate_limit_loses_its_block_range_and_delays_it_here(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    """One HTTP 429 to a request for logs, and the cursor went on behind its range."""
    account = make_deposits(market, 6)
    announced = tap(topics.SETTLEMENT_EVENTS)
    refused: list[Any] = []

    def decide(calls: Sequence[Mapping[str, Any]]) -> Answer | None:
        if calls[0]["method"] != "eth_getLogs" or refused:
            return None
        refused.append(calls)
        return Answer(429)

    describe_chain(market, project, 2)
    with rpc_proxy(project.hosts.rpc, decide) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        eventually(lambda: _caught_up(call, market, store))
    assert len(refused) == 1
    assert sequences_of(announced.events(), account) == [1, 2, 3, 4, 5, 6]


def test_a_restart_forgets_every_escrow_and_none_here(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    """The escrows that it watched were in its memory: after a restart no approval of one was heard."""
    announced = tap(topics.SETTLEMENT_EVENTS)
    escrow, payer = _create_escrow(market, 3)
    project.setenv(WINDOW_S="50")
    with Instances(project, FUNCTION) as instances:
        url = instances.start()
        instances.request_and_kill(url, None, once=lambda: cursor_of(store).block_number == market.head())
    project.setenv(WINDOW_S="0.1")
    market.chain.mine(approve_escrow(escrow, payer))

    # The killed process's lease runs out by itself.
    eventually(lambda: _caught_up(call, market, store), within_s=20)

    (approval,) = [event for event in announced.events() if isinstance(event, EscrowApproved)]
    assert approval.escrow == escrow


def test_a_reorganisation_leaves_what_vanished_and_is_taken_back_here(
    call: Caller, market: Market, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    """An escrow whose block was replaced stayed for ever."""
    announced = tap(topics.SETTLEMENT_EVENTS)
    escrow, _ = _create_escrow(market, 4)
    assert relay(call) == 200
    reorganise(market, 1)

    eventually(lambda: _caught_up(call, market, store))

    created, retracted = announced.events()
    assert isinstance(created, EscrowCreated)
    assert isinstance(retracted, EventRetracted)
    assert (created.escrow, retracted.retracted) == (escrow, created)


def test_errors_are_swallowed_while_the_cursor_advances_and_hold_it_here(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    """Whatever failed in a range, the next one was read."""
    account = make_deposits(market, 3)
    announced = tap(topics.SETTLEMENT_EVENTS)

    def decide(calls: Sequence[Mapping[str, Any]]) -> Answer | None:
        methods = {call["method"] for call in calls}
        return Answer(500) if methods & {"eth_getLogs", "eth_getBlockReceipts"} else None

    with rpc_proxy(project.hosts.rpc, decide) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        for _ in range(2):
            assert relay(call) == 503
    assert cursor_of(store).block_number < market.start_block
    assert announced.pull() == []
    project.setenv(RPC_URLS=f"{CHAIN_ID}={project.hosts.rpc}")
    assert relay(call) == 200
    assert sequences_of(announced.events(), account) == [1, 2, 3]


def test_without_an_event_it_skips_again_and_again_and_reads_every_block_here(
    call: Caller, market: Market, project: Project, store: firestore.Client
) -> None:
    """What it took for the last block that was looked at stayed 0 until something happened."""
    asked: set[int] = set()

    def decide(calls: Sequence[Mapping[str, Any]]) -> Answer | None:
        for each in calls:
            if each["method"] == "eth_getBlockByNumber" and str(each["params"][0]).startswith("0x"):
                asked.add(int(each["params"][0], 16))
        return None

    describe_chain(market, project, 50)
    market.mine_empty(260)
    with rpc_proxy(project.hosts.rpc, decide) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        eventually(lambda: _caught_up(call, market, store), within_s=30)
    assert asked >= set(range(market.start_block, market.head() + 1))
