"""relay_chain_events for consumers of final events only: each once, in order, and never taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from google.cloud import firestore

from shared.domain.chain_progress import RETAINED_BLOCKS
from shared.events import topics
from shared.stores import announced_blocks, chain_cursors, database
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Outage, Outbox, Tap
from tests.functions.relaying import (
    cursor_of,
    deposit_in_one_block,
    describe_chain,
    make_deposits,
    relay,
    reorganise,
    sequences_of,
)
from tests.messages import CHAIN_ID


def _verify(call: Caller, store: firestore.Client, number: int) -> None:
    eventually(lambda: relay(call) == 200 and cursor_of(store).verified_number >= number)


def test_final_events_are_announced_once_under_the_ids_that_they_had(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    describe_chain(market, project, 2_000, finality=2)
    announced, final = tap(topics.SETTLEMENT_EVENTS), tap(topics.FINALIZED_EVENTS)
    account = make_deposits(market, 3)
    last = market.head()
    market.mine_empty(RETAINED_BLOCKS + 1)
    assert relay(call) == 200
    first = final.events()
    assert sequences_of(first, account) == [1, 2]
    assert cursor_of(store).verified_number == last - 1

    market.mine_empty(1)
    _verify(call, store, last)
    assert relay(call) == 200

    assert [*first, *final.events()] == announced.events()


def test_what_may_still_be_taken_back_is_announced_to_nobody_who_wants_final_events(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    describe_chain(market, project, 2_000, finality=4)
    announced, final = tap(topics.SETTLEMENT_EVENTS), tap(topics.FINALIZED_EVENTS)
    make_deposits(market, 2)
    assert relay(call) == 200
    reorganise(market, 2)
    account = make_deposits(market, 3)
    last = market.head()
    eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == last)
    assert final.pull() == []

    market.mine_empty(RETAINED_BLOCKS + 4)
    _verify(call, store, last)

    events = final.events()
    assert sequences_of(events, account) == [1, 2, 3]
    assert len(events) == 3
    assert {event.revision for event in events} == {1}
    # The two that vanished were announced, retracted, and never final.
    assert len(announced.pull()) == 2 + 2 + 3


def test_nothing_more_is_final_once_finality_is_violated(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    describe_chain(market, project, 2_000, finality=1)
    final = tap(topics.FINALIZED_EVENTS)
    make_deposits(market, 3)
    assert relay(call) == 200
    reorganise(market, 2)
    market.mine_empty(RETAINED_BLOCKS + 8)
    for _ in range(2):
        assert relay(call) == 200
    assert cursor_of(store).halted is not None
    assert final.pull() == []


def test_final_events_that_a_crash_left_are_swept(
    call: Caller,
    market: Market,
    project: Project,
    store: firestore.Client,
    without: Outage,
    tap: Callable[[str], Tap],
    outbox_left: Outbox,
) -> None:
    describe_chain(market, project, 2_000, finality=1)
    account = make_deposits(market, 2)
    last = market.head()
    market.mine_empty(RETAINED_BLOCKS + 1)
    final = tap(topics.FINALIZED_EVENTS)
    with without("pubsub"):
        _verify(call, store, last)
    assert final.pull() == []
    outbox_left.age()
    assert call.request("relay_outbox").status == 200
    assert sorted(sequences_of(final.events(), account)) == [1, 2]
    assert outbox_left.ids() == []


def test_a_crash_before_the_cursor_moves_repeats_final_events_under_the_same_ids(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    """As if the process had died between the commits that a large block takes: the cursor and the records of
    what was announced are as they were before the last of them."""
    describe_chain(market, project, 2_000, finality=1)
    make_deposits(market, 2)
    last = market.head()
    announced, final = tap(topics.SETTLEMENT_EVENTS), tap(topics.FINALIZED_EVENTS)
    assert relay(call) == 200
    records = announced_blocks.list_between(store, CHAIN_ID, 0, None, limit=9)
    unverified = cursor_of(store).verified_number
    market.mine_empty(RETAINED_BLOCKS + 1)
    _verify(call, store, last)
    first = final.events()
    commit = database.Commit(store)
    cursor = replace(cursor_of(store), verified_number=unverified)
    commit.put(chain_cursors.path(CHAIN_ID), chain_cursors.encode(cursor))
    for record in records:
        commit.put(record.path, announced_blocks.encode(record))
    commit.apply()

    _verify(call, store, last)

    assert final.events() == first == announced.events()


def test_a_block_with_more_events_than_a_commit_takes_is_final_as_a_whole(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    describe_chain(market, project, 2_000, finality=1)
    final = tap(topics.FINALIZED_EVENTS)
    account, count = market.account(), 460
    deposit_in_one_block(market, account, count)
    last = market.head()
    market.mine_empty(RETAINED_BLOCKS + 1)

    _verify(call, store, last)

    assert sequences_of(final.events(), account) == list(range(1, count + 1))
    assert announced_blocks.list_between(store, CHAIN_ID, 0, last, limit=9) == []
