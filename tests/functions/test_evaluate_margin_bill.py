"""What a tick costs in Firestore: nothing per account that did not change, two writes per account that did.

The figures are the bill, so they are exact, and ``docs/cost.md`` is written from them.
``tests/firestore_bill.py`` says how they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from google.cloud import firestore

from docs import cost
from shared.events import topics
from shared.stores import database
from tests.conftest import Project
from tests.firestore_bill import Bill, metered
from tests.functions.book import account, announced_states, store_accounts, store_tick
from tests.functions.conftest import Caller
from tests.messages import new_address, now, positions_changed, price_tick

FUNCTION = "evaluate_margin"
FEW = 30
CROSSING = 7

# The progress, and the query for what was written since, which finds nothing and costs one read.
QUIET_TICK = Bill(*cost.QUIET_TICK, read_requests=2, commits=1)


@dataclass(frozen=True)
class World:
    """A book that was evaluated long ago at 2,000 USD per ETH, warm in one instance."""

    client: firestore.Client
    nearest: list[str]
    """The accounts that owe most."""


@pytest.fixture
def world(request: pytest.FixtureRequest, call: Caller, project: Project, store: firestore.Client) -> World:
    """As many accounts as the test asks for."""
    size: int = getattr(request, "param", FEW)
    owing = [new_address() for _ in range(size)]
    store_accounts(
        store,
        [
            account(account_id, ETH=("1", "0"), USDC=("0", "1300" if index < CROSSING else "1000"))
            for index, account_id in enumerate(owing)
        ],
    )
    first = store_tick(store, price_tick(1, ETH="2000", USDC="1"))
    assert call.push(FUNCTION, topics.MARKET_PRICES, first).acknowledged
    assert len(announced_states(store)) == size
    # As if that had been an hour ago: what is younger than the overlap is looked at twice.
    hour_ago = now() - timedelta(hours=1)
    for start in range(0, size, 400):
        batch = store.batch()
        for account_id in owing[start : start + 400]:
            batch.update(store.document(f"margin_states/{account_id}"), {"updated_at": hour_ago})
        batch.commit()
    # Another instance, which loads the book as it is now.
    project.setenv(LOG_LEVEL="ERROR")
    assert call.push(FUNCTION, topics.MARKET_PRICES, first).acknowledged
    return World(database.connect(project.settings("NETWORK_FILE", "MARGIN_SHARDS")), owing[:CROSSING])


@pytest.mark.parametrize("world", [1_000], indirect=True)
def test_a_tick_with_a_thousand_unchanged_accounts_costs_nothing_per_account(
    call: Caller, world: World
) -> None:
    for sequence, price in ((2, "2010"), (3, "1990"), (4, "2200")):
        with metered(world.client) as bill:
            tick = price_tick(sequence, ETH=price, USDC="1")
            assert call.push(FUNCTION, topics.MARKET_PRICES, tick).acknowledged
        assert bill == QUIET_TICK


def test_a_duplicate_tick_costs_its_look_and_no_write(call: Caller, world: World) -> None:
    with metered(world.client) as bill:
        assert call.push(FUNCTION, topics.MARKET_PRICES, price_tick(1, ETH="2000", USDC="1")).acknowledged
    assert bill == Bill(reads=2, writes=0, deletes=0, read_requests=2, commits=0)


def test_a_crossing_costs_two_writes_per_account_that_crossed(
    call: Caller, store: firestore.Client, world: World
) -> None:
    with metered(world.client) as bill:
        # 1,940 against 1,300 owed is 49.2 %; against 1,000 it is 94 %.
        tick = price_tick(2, ETH="1940", USDC="1")
        assert call.push(FUNCTION, topics.MARKET_PRICES, tick).acknowledged

    states = announced_states(store)
    assert {each for each, found in states.items() if len(found) == 2} == set(world.nearest)
    # State and alert of each, the announcements together, and the progress; then they are cleared.
    assert bill == Bill(
        reads=QUIET_TICK.reads,
        writes=QUIET_TICK.writes + cost.TRANSITION.writes * CROSSING + cost.ANNOUNCEMENT.writes,
        deletes=cost.ANNOUNCEMENT.deletes,
        read_requests=QUIET_TICK.read_requests,
        commits=3,
    )


def test_what_it_recorded_itself_is_not_read_again(call: Caller, world: World) -> None:
    assert call.push(FUNCTION, topics.MARKET_PRICES, price_tick(2, ETH="1940", USDC="1")).acknowledged
    with metered(world.client) as bill:
        assert call.push(FUNCTION, topics.MARKET_PRICES, price_tick(3, ETH="1941", USDC="1")).acknowledged
    assert bill == QUIET_TICK


def test_a_change_of_positions_costs_what_changed(call: Caller, world: World) -> None:
    event = positions_changed(new_address(), 1, ETH=(10**18, 0), USDC=(0, 10**9))
    with metered(world.client) as bill:
        assert call.push(FUNCTION, topics.POSITIONS_CHANGED, event).acknowledged
    assert bill == Bill(*cost.CHANGED_POSITIONS, read_requests=2, commits=2)


def test_a_sweep_of_fresh_prices_writes_nothing(call: Caller, world: World) -> None:
    with metered(world.client) as bill:
        assert call.push(FUNCTION, topics.MARGIN_SWEEPS, b'{"event_id": "sweep"}').acknowledged
    assert bill == Bill(*cost.QUIET_SWEEP, read_requests=2, commits=0)
