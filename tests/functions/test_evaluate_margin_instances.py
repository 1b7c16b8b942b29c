"""evaluate_margin in two instances at once: one book in two memories, one sequence of transitions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
import urllib3
from google.cloud import firestore

from shared.domain.margin import State
from shared.domain.margin_book import MarginBook
from shared.domain.network import parse_network
from shared.domain.positions import Account
from shared.events import topics
from shared.events.prices import PriceTick
from tests.conftest import Project
from tests.functions.book import account, announced_states, records, store_accounts, store_tick
from tests.functions.conftest import Caller, Tap
from tests.functions.instances import Instances, push_until_taken
from tests.messages import new_address, now, positions_changed, price_tick

FUNCTION = "evaluate_margin"
ETH = 10**18
USDC = 10**6
SWEEP = b'{"event_id": "sweep"}'


class Pair:
    """Two warm books in this process: each set of settings has its own."""

    def __init__(self, call: Caller, project: Project) -> None:
        self._call = call
        self._project = project

    def push(self, instance: str, topic: str, message: object, published_at: datetime | None = None) -> None:
        """Deliver a message to one of the two, ``a`` or ``b``."""
        self._project.setenv(LOG_LEVEL={"a": "WARNING", "b": "ERROR"}[instance])
        outcome = self._call.push(FUNCTION, topic, message, published_at=published_at)  # type: ignore[arg-type]
        assert outcome.acknowledged


@pytest.fixture
def pair(call: Caller, project: Project) -> Pair:
    """Two instances that take turns."""
    return Pair(call, project)


@pytest.fixture
def borrower(store: firestore.Client) -> str:
    """An account with 1 ETH that owes 1,000 USDC: health is (price − 1000) / 10 percent."""
    account_id = new_address()
    store_accounts(store, [account(account_id, ETH=("1", "0"), USDC=("0", "1000"))])
    return account_id


def _tick(store: firestore.Client, sequence: int, eth: str) -> PriceTick:
    return store_tick(store, price_tick(sequence, ETH=eth, USDC="1"))


def test_they_take_turns_on_one_sequence_of_transitions(
    pair: Pair, store: firestore.Client, borrower: str
) -> None:
    prices = ("1600", "1400", "1600", "1200", "1100", "1600")
    for sequence, price in enumerate(prices, 1):
        pair.push("ab"[sequence % 2], topics.MARKET_PRICES, _tick(store, sequence, price))

    assert [state for _, state in announced_states(store)[borrower]] == [
        "HEALTHY",
        "WARNING",
        "HEALTHY",
        "MARGIN_CALL",
        "LIQUIDATION",
        "HEALTHY",
    ]


def test_what_one_unvalues_the_other_heals(pair: Pair, store: firestore.Client, borrower: str) -> None:
    pair.push("a", topics.MARKET_PRICES, _tick(store, 1, "1600"))
    pair.push("b", topics.MARKET_PRICES, _tick(store, 2, "1600"))
    late = now() + timedelta(seconds=200)
    pair.push("a", topics.MARGIN_SWEEPS, SWEEP, published_at=late)
    assert records(store)[borrower].state is State.UNVALUED

    pair.push("b", topics.MARKET_PRICES, store_tick(store, price_tick(3, as_of=late, ETH="1600", USDC="1")))

    assert records(store)[borrower].state is State.HEALTHY


def test_what_one_recorded_of_new_positions_the_other_goes_on_from(
    pair: Pair, store: firestore.Client, borrower: str
) -> None:
    pair.push("a", topics.MARKET_PRICES, _tick(store, 1, "1600"))
    pair.push("b", topics.MARKET_PRICES, _tick(store, 2, "1600"))
    store_accounts(
        store, [account(borrower, 2, ETH=("1", "0"), USDC=("0", "1100"))], age=timedelta(seconds=0)
    )
    change = positions_changed(borrower, 2, ETH=(ETH, 0), USDC=(0, 1100 * USDC))
    pair.push("a", topics.POSITIONS_CHANGED, change)
    assert records(store)[borrower].state is State.WARNING

    pair.push("b", topics.MARKET_PRICES, _tick(store, 3, "1800"))

    record = records(store)[borrower]
    assert (record.state, record.transitions, record.position_version) == (State.HEALTHY, 3, 2)


def test_an_outage_of_prices_is_announced_once_whoever_sees_its_ends(
    pair: Pair, store: firestore.Client, tap: Callable[[str], Tap], borrower: str
) -> None:
    operations = tap(topics.OPERATIONS_ALERTS)
    moment = now()
    kinds: list[str] = []
    for sequence in (1, 2, 3):
        tick = store_tick(store, price_tick(sequence, as_of=moment, ETH="1600", USDC="1"))
        pair.push("b", topics.MARKET_PRICES, tick)
        moment += timedelta(seconds=200)
        for instance in "ab":
            pair.push(instance, topics.MARGIN_SWEEPS, SWEEP, published_at=moment)
        kinds += [alert.kind for alert in operations.events()]

    assert kinds == [
        "prices_stopped",
        "prices_resumed",
        "prices_stopped",
        "prices_resumed",
        "prices_stopped",
    ]


def _clean_run(
    network: bytes, book: list[Account], ticks: list[PriceTick]
) -> dict[str, list[tuple[int, str]]]:
    """Every account's transitions where each tick is evaluated once, in order, by one."""
    margin = MarginBook(parse_network(network))
    for each in book:
        margin.replace_positions(each)
    found: dict[str, list[tuple[int, str]]] = {}
    for tick in ticks:
        for decision in margin.decide(tick.usable_marks(), tick_sequence=tick.sequence, as_of=tick.as_of):
            if decision.is_transition:
                record = decision.record
                found.setdefault(record.account_id, []).append((record.transitions, record.state.value))
    return found


def _book(count: int, source: random.Random) -> list[Account]:
    return [
        account(new_address(), ETH=("1", "0"), USDC=("0", str(source.randint(900, 1500))))
        for _ in range(count)
    ]


def _walk(count: int, source: random.Random) -> list[str]:
    price, walk = 1700.0, []
    for _ in range(count):
        price *= 1 + source.uniform(-0.06, 0.058)
        walk.append(f"{price:.2f}")
    return walk


@pytest.fixture
def instances(project: Project) -> Iterator[Instances]:
    """Real processes of the function, as the platform runs them."""
    with Instances(project, FUNCTION) as running:
        yield running


def test_two_processes_racing_for_every_tick_number_each_transition_once(
    instances: Instances, project: Project, store: firestore.Client
) -> None:
    source = random.Random(7)
    book = _book(60, source)
    store_accounts(store, book)
    ticks = [_tick(store, sequence, price) for sequence, price in enumerate(_walk(25, source), 1)]
    urls = [instances.start(), instances.start()]
    pool = urllib3.PoolManager(maxsize=16, retries=False)

    # Every tick goes to both at once, up to six ticks in flight, so that they arrive in no order.
    with ThreadPoolExecutor(12) as executor:
        for outcome in [
            executor.submit(push_until_taken, pool, url, project, topics.MARKET_PRICES, tick)
            for tick in ticks
            for url in urls
        ]:
            outcome.result()
    pool.clear()

    assert announced_states(store) == _clean_run(project.network_bytes(), book, ticks)
    assert store.document("margin_progress/book").get().get("tick_sequence") == len(ticks)


def test_a_process_killed_at_any_moment_leaves_nothing_out_and_nothing_twice(
    instances: Instances, project: Project, store: firestore.Client
) -> None:
    source = random.Random(11)
    book = _book(60, source)
    store_accounts(store, book)
    ticks = [_tick(store, sequence, price) for sequence, price in enumerate(_walk(12, source), 1)]
    pool = urllib3.PoolManager(maxsize=16, retries=False)
    urls = [instances.start(), instances.start()]

    with ThreadPoolExecutor(4) as executor:
        deliveries = [
            executor.submit(push_until_taken, pool, urls, project, topics.MARKET_PRICES, tick)
            for tick in ticks
        ]
        deliveries[3].result()
        instances.kill(urls[0])
        deliveries[7].result()
        instances.kill(urls[1])
        for delivery in deliveries:
            delivery.result()
    pool.clear()

    assert announced_states(store) == _clean_run(project.network_bytes(), book, ticks)
