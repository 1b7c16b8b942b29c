"""What operators may order of a chain: to go on after a violation of finality, to announce blocks again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.cloud import firestore

from shared.domain.chain_progress import RETAINED_BLOCKS
from shared.events import topics
from shared.events.settlement import EventRetracted
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Outage, Outbox, Tap
from tests.functions.relaying import cursor_of, describe_chain, make_deposits, relay, reorganise
from tests.messages import CHAIN_ID
from tests.servers import closed_port

ORDER: dict[str, Any] = {"chain_id": CHAIN_ID, "operator": "ops@example.com", "reason": "ticket 7"}
RESOLVE, BACKFILL = "resolve_finality_violation", "backfill_chain"


@pytest.fixture
def halted(call: Caller, market: Market, project: Project, store: firestore.Client) -> Market:
    """A chain that replaced two blocks although one of them was final."""
    describe_chain(market, project, 2_000, finality=1)
    make_deposits(market, 4)
    assert relay(call) == 200
    reorganise(market, 2)
    assert relay(call) == 200
    assert cursor_of(store).halted is not None
    return market


def test_a_reorganisation_that_every_node_shows_is_retracted_once_it_is_accepted(
    call: Caller, halted: Market, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    announced, operations = tap(topics.SETTLEMENT_EVENTS), tap(topics.OPERATIONS_ALERTS)
    before = cursor_of(store)

    refused = call.request(RESOLVE, ORDER)
    assert (refused.status, refused.body["field"]) == (400, "accept_reorganisation")
    assert cursor_of(store) == before

    outcome = call.request(RESOLVE, {**ORDER, "accept_reorganisation": True})
    assert outcome.status == 200
    assert outcome.body == {"goes_on_from": before.block_number - 2, "retracts_blocks": 2}
    (alert,) = operations.events()
    assert (alert.kind, alert.details["operator"], alert.details["reason"]) == (
        "finality_restored",
        "ops@example.com",
        "ticket 7",
    )

    eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == halted.head())
    retracted = [event for event in announced.events() if isinstance(event, EventRetracted)]
    assert [event.retracted.sequence for event in retracted] == [4, 3]  # type: ignore[union-attr]


def test_it_is_ordered_twice_and_done_once(call: Caller, halted: Market, store: firestore.Client) -> None:
    assert call.request(RESOLVE, {**ORDER, "accept_reorganisation": True}).status == 200
    again = call.request(RESOLVE, {**ORDER, "accept_reorganisation": True})
    assert (again.status, again.body["error"]) == (400, "the relay of anvil is not halted")


def test_a_node_that_does_not_answer_keeps_the_chain_halted(
    call: Caller, halted: Market, project: Project, store: firestore.Client
) -> None:
    project.setenv(RPC_URLS=f"{CHAIN_ID}={project.hosts.rpc},http://127.0.0.1:{closed_port()}")
    outcome = call.request(RESOLVE, {**ORDER, "accept_reorganisation": True})
    assert outcome.status == 503
    assert "every node must answer, and node 1 does not" in outcome.body["error"]
    assert cursor_of(store).halted is not None


def test_blocks_are_announced_again_under_the_same_ids(
    call: Caller, market: Market, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced, operations = tap(topics.SETTLEMENT_EVENTS), tap(topics.OPERATIONS_ALERTS)
    make_deposits(market, 4)
    assert relay(call) == 200
    first = announced.events()
    cursor = cursor_of(store)
    order = {**ORDER, "first_block": market.start_block, "last_block": market.head()}

    for _ in range(2):
        assert call.request(BACKFILL, order).body == {"events": 4}
        assert announced.events() == first

    assert [alert.details["operator"] for alert in operations.events()] == ["ops@example.com"] * 2
    assert cursor_of(store) == cursor
    assert outbox_left.ids() == []


def test_blocks_that_were_announced_as_final_are_again_announced_as_such(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    describe_chain(market, project, 2_000, finality=1)
    make_deposits(market, 2)
    last = market.head()
    market.mine_empty(RETAINED_BLOCKS)
    final = tap(topics.FINALIZED_EVENTS)
    eventually(lambda: relay(call) == 200 and cursor_of(store).verified_number == last - 1)
    (first,) = final.events()

    order = {**ORDER, "first_block": market.start_block, "last_block": last}
    assert call.request(BACKFILL, order).body == {"events": 2}

    assert final.events() == [first]


def test_blocks_that_the_relay_has_not_passed_cannot_be_announced(
    call: Caller, market: Market, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    make_deposits(market, 1)
    assert relay(call) == 200
    make_deposits(market, 1)
    announced = tap(topics.SETTLEMENT_EVENTS)
    for first, last, field in (
        (market.start_block, market.head(), "last_block"),
        (market.start_block - 1, market.start_block, "first_block"),
        (market.start_block + 1, market.start_block, "body"),
    ):
        outcome = call.request(BACKFILL, {**ORDER, "first_block": first, "last_block": last})
        assert (outcome.status, outcome.body["field"]) == (400, field)
    assert call.request(BACKFILL, {**ORDER, "chain_id": 5, "first_block": 1, "last_block": 1}).status == 400
    assert announced.pull() == []


def test_what_a_crash_left_of_a_backfill_is_swept(
    call: Caller, market: Market, without: Outage, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    make_deposits(market, 2)
    assert relay(call) == 200
    announced = tap(topics.SETTLEMENT_EVENTS)
    order = {**ORDER, "first_block": market.start_block, "last_block": market.head()}
    with without("chain"):
        assert call.request(BACKFILL, order).status == 503
    with without("pubsub"):
        assert call.request(BACKFILL, order).status == 200
    outbox_left.age()
    assert call.request("relay_outbox").status == 200
    assert len(announced.pull()) == 2
