"""evaluate_margin over a book that is cut into shards: the same transitions, each shard by itself."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from google.cloud import firestore

from docs import cost
from shared.domain.margin import State
from shared.domain.positions import Account
from shared.domain.sharding import shard_of
from shared.events import topics
from shared.events.margin import MarginShardWork
from shared.stores import database, margin_progress
from tests.conftest import Project
from tests.firestore_bill import Bill, metered
from tests.functions.book import account, announced_states, records, store_accounts, store_tick
from tests.functions.conftest import Caller, Outage, Tap
from tests.messages import margin_shard_work, new_address, now, positions_changed, price_tick

FUNCTION = "evaluate_margin"
ETH = 10**18
USDC = 10**6
SWEEP = b'{"event_id": "sweep"}'


class Shards:
    """A book in shards, and Pub/Sub between the function and itself."""

    def __init__(
        self, call: Caller, project: Project, store: firestore.Client, work: Tap, count: int
    ) -> None:
        self.call = call
        self.store = store
        self._project = project
        self._work = work
        self.cut_into(count)

    def cut_into(self, count: int) -> None:
        """From here on the book has so many shards."""
        self._project.setenv(MARGIN_SHARDS=str(count))

    @property
    def client(self) -> database.Client:
        """The instance's Firestore client."""
        return database.connect(self._project.settings("NETWORK_FILE", "MARGIN_SHARDS"))

    def parts(
        self, message: object, topic: str, published_at: datetime | None = None
    ) -> list[MarginShardWork]:
        """What the shards are told of a message."""
        outcome = self.call.push(FUNCTION, topic, message, published_at=published_at)  # type: ignore[arg-type]
        assert outcome.acknowledged
        return self._work.events()

    def deliver(self, parts: list[MarginShardWork]) -> None:
        """Deliver to shards."""
        for part in parts:
            assert self.call.push(FUNCTION, topics.MARGIN_SHARDS, part).acknowledged

    def tick(self, sequence: int, eth: str) -> list[MarginShardWork]:
        """Publish a tick and deliver it to every shard; what they were told."""
        tick = store_tick(self.store, price_tick(sequence, ETH=eth, USDC="1"))
        parts = self.parts(tick, topics.MARKET_PRICES)
        self.deliver(parts)
        return parts


@pytest.fixture
def shards(call: Caller, project: Project, store: firestore.Client, tap: Callable[[str], Tap]) -> Shards:
    """A book in four shards."""
    return Shards(call, project, store, tap(topics.MARGIN_SHARDS), 4)


def _book(count: int = 40) -> list[Account]:
    source = random.Random(3)
    return [
        account(new_address(), ETH=("1", "0"), USDC=("0", str(source.randint(900, 1500))))
        for _ in range(count)
    ]


def test_a_tick_is_one_message_a_shard_and_every_account_is_evaluated_once(shards: Shards) -> None:
    book = _book()
    store_accounts(shards.store, book)
    parts = shards.tick(1, "1700")

    assert [(part.shard, part.shards) for part in parts] == [(number, 4) for number in range(4)]
    assert {len(states) for states in announced_states(shards.store).values()} == {1}
    assert set(records(shards.store)) == {each.account_id for each in book}
    assert margin_progress.find_evaluated(shards.client) == 1


def test_each_shard_evaluates_its_own_accounts(shards: Shards) -> None:
    book = _book()
    store_accounts(shards.store, book)
    tick = store_tick(shards.store, price_tick(1, ETH="1700", USDC="1"))
    first, *others = shards.parts(tick, topics.MARKET_PRICES)

    shards.deliver([first])
    own = {each.account_id for each in book if shard_of(each.account_id, 4).number == 0}
    assert set(records(shards.store)) == own
    assert margin_progress.find_evaluated(shards.client) is None
    shards.deliver(others)
    assert set(records(shards.store)) == {each.account_id for each in book}


def test_duplicates_and_late_parts_change_nothing(shards: Shards, tap: Callable[[str], Tap]) -> None:
    store_accounts(shards.store, _book(20))
    earlier = shards.tick(1, "1700")
    later = shards.tick(2, "1200")
    before = records(shards.store)
    announced = tap(topics.MARGIN_ALERTS)
    shards.deliver([*later, *earlier])
    again = shards.parts(earlier[0].tick, topics.MARKET_PRICES)
    assert [part.event_id for part in again] == [part.event_id for part in earlier]
    shards.deliver(again)
    assert announced.pull() == []
    assert records(shards.store) == before


def test_a_shard_that_missed_a_tick_reads_it(shards: Shards) -> None:
    (borrower,) = book = _book(1)
    store_accounts(shards.store, book)
    shards.tick(1, "3000")
    missed = store_tick(shards.store, price_tick(2, ETH="1000", USDC="1"))
    assert len(shards.parts(missed, topics.MARKET_PRICES)) == 4
    shards.tick(3, "3000")
    states = [state for _, state in announced_states(shards.store)[borrower.account_id]]
    assert len(states) == 3
    assert states[0] == states[2] == "HEALTHY"


def test_positions_go_to_the_shard_of_their_account(shards: Shards) -> None:
    shards.tick(1, "1600")
    ids = [new_address() for _ in range(8)]
    for account_id in ids:
        event = positions_changed(account_id, 1, ETH=(ETH, 0), USDC=(0, 1000 * USDC))
        assert shards.parts(event, topics.POSITIONS_CHANGED) == []
    assert {records(shards.store)[account_id].state for account_id in ids} == {State.HEALTHY}


def test_another_number_of_shards_goes_on_where_the_book_was(shards: Shards) -> None:
    book = _book()
    store_accounts(shards.store, book)
    shards.cut_into(1)
    for sequence, price in ((1, "1700"), (2, "1200"), (3, "1700")):
        shards.parts(
            store_tick(shards.store, price_tick(sequence, ETH=price, USDC="1")), topics.MARKET_PRICES
        )
    before = announced_states(shards.store)
    shards.cut_into(2)
    shards.tick(4, "1700")
    assert announced_states(shards.store) == before, "earlier ticks are not evaluated again"
    shards.tick(5, "1000")
    shards.cut_into(1)
    for each in book[:3]:
        store_accounts(
            shards.store,
            [account(each.account_id, 2, ETH=("1", "0"), USDC=("0", "100"))],
            age=timedelta(0),
        )
    last = store_tick(shards.store, price_tick(6, ETH="1700", USDC="1"))
    shards.parts(last, topics.MARKET_PRICES)
    after = announced_states(shards.store)
    for account_id, states in after.items():
        assert [sequence for sequence, _ in states] == list(range(1, len(states) + 1))
        assert len(states) == len(before[account_id]) + 2
    assert margin_progress.find_evaluated(shards.client) == 6


def test_a_sweep_samples_every_shard_and_says_once_that_prices_stopped(
    shards: Shards, tap: Callable[[str], Tap]
) -> None:
    book = _book(12)
    store_accounts(shards.store, book)
    shards.tick(1, "1700")
    samples, operations = tap(topics.MARGIN_SAMPLES), tap(topics.OPERATIONS_ALERTS)
    late = now() + timedelta(seconds=200)
    for _ in range(2):
        parts = shards.parts(SWEEP, topics.MARGIN_SWEEPS, published_at=late)
        assert [part.tick for part in parts] == [None] * 4
        shards.deliver(parts)

    messages = {event.event_id: event for event in samples.events()}
    sampled = [sample.account_id for event in messages.values() for sample in event.samples]
    assert sorted(sampled) == sorted(each.account_id for each in book)
    assert [alert.kind for alert in operations.events()] == ["prices_stopped"]
    tick = store_tick(shards.store, price_tick(2, as_of=late, ETH="1700", USDC="1"))
    shards.deliver(shards.parts(tick, topics.MARKET_PRICES))
    assert [alert.kind for alert in operations.events()] == ["prices_resumed"]


def test_it_is_delivered_again_until_every_shard_is_told(shards: Shards, without: Outage) -> None:
    tick = store_tick(shards.store, price_tick(1, ETH="1700", USDC="1"))
    with without("pubsub"):
        assert shards.call.push(FUNCTION, topics.MARKET_PRICES, tick).status == 500
    assert len(shards.parts(tick, topics.MARKET_PRICES)) == 4


def test_what_is_no_shard_is_kept_as_a_dead_letter(shards: Shards, tap: Callable[[str], Tap]) -> None:
    body = json.loads(margin_shard_work().encode())
    dead = tap(topics.dead_letter_topic(topics.MARGIN_SHARDS))
    for number, count in ((2, 2), (0, 3)):
        wrong = json.dumps({**body, "shard": number, "shards": count}).encode()
        assert shards.call.push(FUNCTION, topics.MARGIN_SHARDS, wrong).acknowledged
        assert dead.pull() == [wrong]


@pytest.mark.parametrize("count", [2, 4])
def test_a_quiet_tick_costs_the_same_for_each_shard(shards: Shards, count: int) -> None:
    shards.cut_into(count)
    book = _book()
    store_accounts(shards.store, book)
    shards.tick(1, "1700")
    batch = shards.store.batch()
    for each in book:
        document = shards.store.document(f"margin_states/{each.account_id}")
        batch.update(document, {"updated_at": now() - timedelta(hours=1)})
    batch.commit()
    shards.tick(2, "1701")
    with metered(shards.client) as bill:
        shards.tick(3, "1702")
    assert bill == Bill(
        reads=cost.QUIET_TICK.reads * count,
        writes=cost.QUIET_TICK.writes * count,
        deletes=0,
        read_requests=2 * count,
        commits=count,
    )
