"""evaluate_margin: states, transitions numbered without a gap, each announced once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from google.cloud import firestore

from shared.domain.margin import State
from shared.domain.marks import MarkStatus
from shared.events import topics
from tests.conftest import Project
from tests.functions.book import account, announced_states, records, store_accounts, store_tick
from tests.functions.conftest import Caller, Outage, Outbox, Tap
from tests.messages import new_address, now, positions_changed, price_tick

FUNCTION = "evaluate_margin"
ETH = 10**18
USDC = 10**6


@pytest.fixture
def borrower(store: firestore.Client) -> str:
    """An account with 1 ETH that owes 1,000 USDC: health is (price − 1000) / 10 percent."""
    account_id = new_address()
    store_accounts(store, [account(account_id, ETH=("1", "0"), USDC=("0", "1000"))])
    return account_id


def _tick(call: Caller, store: firestore.Client, sequence: int, **prices: Any) -> None:
    tick = store_tick(store, price_tick(sequence, **prices))
    assert call.push(FUNCTION, topics.MARKET_PRICES, tick).acknowledged


def test_a_falling_price_is_followed_state_by_state(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], borrower: str, outbox_left: Outbox
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    for sequence, price in enumerate(("1600", "1400", "1200", "1100", "900"), 1):
        _tick(call, store, sequence, ETH=price, USDC="1")

    transitions = announced.events()
    assert [(event.sequence, event.previous_state, event.state) for event in transitions] == [
        (1, None, State.HEALTHY),
        (2, State.HEALTHY, State.WARNING),
        (3, State.WARNING, State.MARGIN_CALL),
        (4, State.MARGIN_CALL, State.LIQUIDATION),
        (5, State.LIQUIDATION, State.INSOLVENT),
    ]
    assert [event.notify for event in transitions] == [False, True, True, True, True]
    last = transitions[-1]
    assert (last.valuation.collateral_usd, last.valuation.debt_usd) == (Decimal(900), Decimal(1000))
    assert last.valuation.health_pct == pytest.approx(-10)
    assert last.marks == {"ETH": Decimal(900), "USDC": Decimal(1)}
    record = records(store)[borrower]
    assert (record.state, record.transitions, record.tick_sequence) == (State.INSOLVENT, 5, 5)
    assert announced_states(store)[borrower] == [(event.sequence, event.state.value) for event in transitions]
    assert outbox_left.ids() == []


def test_the_boundary_belongs_to_the_better_state_and_recovery_needs_the_band(
    call: Caller, store: firestore.Client, borrower: str
) -> None:
    for sequence, price in enumerate(
        (
            "1500",
            "1499.999999999999999999",
            "1500",
            "1519.999999999999999999",
            "1520",
            "1500.000000000000000001",
            "1500",
        ),
        1,
    ):
        _tick(call, store, sequence, ETH=price, USDC="1")
        state = records(store)[borrower].state
        expected = State.WARNING if sequence in (2, 3, 4) else State.HEALTHY
        assert state is expected, price


def test_a_duplicate_tick_changes_and_announces_nothing(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], borrower: str
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    tick = store_tick(store, price_tick(1, ETH="1400", USDC="1"))
    for _ in range(3):
        assert call.push(FUNCTION, topics.MARKET_PRICES, tick).acknowledged

    assert len(announced.pull()) == 1
    assert records(store)[borrower].transitions == 1


def test_a_duplicate_position_changes_and_announces_nothing(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    account_id = new_address()
    _tick(call, store, 1, ETH="1600", USDC="1")
    announced = tap(topics.MARGIN_ALERTS)
    event = positions_changed(account_id, 1, ETH=(ETH, 0), USDC=(0, 1000 * USDC))
    for _ in range(3):
        assert call.push(FUNCTION, topics.POSITIONS_CHANGED, event).acknowledged

    (transition,) = announced.events()
    assert (transition.state, transition.position_version, transition.tick_sequence) == (State.HEALTHY, 1, 1)


def test_ticks_that_overtake_each_other_are_evaluated_in_order(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], borrower: str
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    ticks = [
        store_tick(store, price_tick(sequence, ETH=price, USDC="1"))
        for sequence, price in enumerate(("1600", "1400", "1600", "1200"), 1)
    ]
    for sequence in (1, 4, 2, 3):
        assert call.push(FUNCTION, topics.MARKET_PRICES, ticks[sequence - 1]).acknowledged

    assert [(event.state, event.tick_sequence) for event in announced.events()] == [
        (State.HEALTHY, 1),
        (State.WARNING, 2),
        (State.HEALTHY, 3),
        (State.MARGIN_CALL, 4),
    ]


def test_an_older_version_of_positions_does_not_replace_a_newer_one(
    call: Caller, store: firestore.Client
) -> None:
    account_id = new_address()
    _tick(call, store, 1, ETH="1600", USDC="1")
    newer = positions_changed(account_id, 2, ETH=(ETH, 0), USDC=(0, 1300 * USDC))
    older = positions_changed(account_id, 1, ETH=(ETH, 0))
    for event in (newer, older):
        assert call.push(FUNCTION, topics.POSITIONS_CHANGED, event).acknowledged

    record = records(store)[account_id]
    assert (record.state, record.position_version, record.transitions) == (State.MARGIN_CALL, 2, 1)


def test_positions_before_the_first_tick_are_unvalued_until_it_comes(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    account_id = new_address()
    announced = tap(topics.MARGIN_ALERTS)
    positions = account(account_id, ETH=("1", "0"), USDC=("0", "1000"))
    store_accounts(store, [positions])
    event = positions_changed(account_id, 1, ETH=(ETH, 0), USDC=(0, 1000 * USDC))
    assert call.push(FUNCTION, topics.POSITIONS_CHANGED, event).acknowledged
    record = records(store)[account_id]
    assert (record.state, record.valued_state, record.unvalued_assets) == (
        State.UNVALUED,
        None,
        ("ETH", "USDC"),
    )
    assert announced.pull() == []

    _tick(call, store, 1, ETH="1400", USDC="1")

    (transition,) = announced.events()
    assert (transition.sequence, transition.previous_state, transition.state) == (1, None, State.WARNING)


def test_changes_that_wait_are_evaluated_together(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    _tick(call, store, 1, ETH="1600", USDC="1")
    announced = tap(topics.MARGIN_ALERTS)
    changes = [positions_changed(new_address(), 1, ETH=(ETH, 0), USDC=(0, 1000 * USDC)) for _ in range(60)]
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda event: call.push(FUNCTION, topics.POSITIONS_CHANGED, event), changes))

    assert all(outcome.acknowledged for outcome in outcomes)
    assert sorted(event.account_id for event in announced.events()) == sorted(
        change.account_id for change in changes
    )
    assert all(record.transitions == 1 for record in records(store).values())


def test_a_change_that_crosses_no_state_is_still_recorded(call: Caller, store: firestore.Client) -> None:
    account_id = new_address()
    _tick(call, store, 1, ETH="1600", USDC="1")
    for version, collateral in ((1, ETH), (2, 2 * ETH)):
        event = positions_changed(account_id, version, ETH=(collateral, 0), USDC=(0, 1000 * USDC))
        assert call.push(FUNCTION, topics.POSITIONS_CHANGED, event).acknowledged

    record = records(store)[account_id]
    assert (record.state, record.transitions, record.position_version) == (State.HEALTHY, 1, 2)
    assert record.valuation is not None
    assert record.valuation.collateral_usd == Decimal(3200)


def test_it_is_delivered_again_while_firestore_fails(
    call: Caller, store: firestore.Client, without: Outage, tap: Callable[[str], Tap], borrower: str
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    tick = store_tick(store, price_tick(1, ETH="1400", USDC="1"))
    with without("firestore"):
        assert call.push(FUNCTION, topics.MARKET_PRICES, tick).status == 500
    assert records(store) == {}

    assert call.push(FUNCTION, topics.MARKET_PRICES, tick).acknowledged
    assert [event.account_id for event in announced.events()] == [borrower]


def test_a_position_in_an_asset_that_nobody_listed_is_unvalued_and_stops_no_one(
    call: Caller, store: firestore.Client, borrower: str
) -> None:
    stranger = new_address()
    store_accounts(store, [account(stranger, DOGE=("1000", "0"), USDC=("0", "10"))])

    _tick(call, store, 1, ETH="1400", USDC="1")

    assert records(store)[borrower].state is State.WARNING
    record = records(store)[stranger]
    assert (record.state, record.unvalued_assets) == (State.UNVALUED, ("DOGE",))


def test_a_position_of_nothing_needs_no_mark(call: Caller, store: firestore.Client) -> None:
    account_id = new_address()
    store_accounts(store, [account(account_id, ETH=("0", "0"), USDC=("3", "1"))])

    _tick(call, store, 1, ETH=MarkStatus.STALE, USDC="1")

    assert records(store)[account_id].state is State.HEALTHY


def test_a_crash_between_commit_and_publish_is_made_good_by_the_sweep(
    call: Caller,
    store: firestore.Client,
    without: Outage,
    tap: Callable[[str], Tap],
    borrower: str,
    outbox_left: Outbox,
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    tick = store_tick(store, price_tick(1, ETH="1400", USDC="1"))
    with without("pubsub"):
        call.push(FUNCTION, topics.MARKET_PRICES, tick)
    assert records(store)[borrower].state is State.WARNING
    assert outbox_left.ids() == [f"alerts.margin.v1~{borrower}:000001"]
    assert call.push(FUNCTION, topics.MARKET_PRICES, tick).acknowledged
    assert announced.pull() == []

    outbox_left.age()
    assert call.request("relay_outbox").status == 200

    assert [event.event_id for event in announced.events()] == [f"{borrower}:000001"]
    assert outbox_left.ids() == []


def test_a_crash_between_the_states_and_the_progress_repeats_nothing(
    call: Caller, project: Project, store: firestore.Client, tap: Callable[[str], Tap], borrower: str
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    _tick(call, store, 1, ETH="1400", USDC="1")
    # What a process leaves that dies after it recorded the states and before it recorded the tick.
    store.document("margin_progress/book").delete()
    # Other settings: a new process, as far as what is kept warm is concerned.
    project.setenv(LOG_LEVEL="ERROR")

    again = price_tick(1, ETH="1400", USDC="1")
    assert call.push(FUNCTION, topics.MARKET_PRICES, again).acknowledged

    assert len(announced.pull()) == 1
    assert records(store)[borrower].transitions == 1
    assert store.document("margin_progress/book").get().get("tick_sequence") == 1


@pytest.mark.parametrize("status", [MarkStatus.STALE, MarkStatus.HALTED])
def test_an_unusable_mark_makes_its_holders_unvalued_and_nobody_else(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], borrower: str, status: MarkStatus
) -> None:
    usdc_only = new_address()
    store_accounts(store, [account(usdc_only, USDC=("3", "1"))])
    _tick(call, store, 1, ETH="1600", USDC="1")
    announced = tap(topics.MARGIN_ALERTS)

    _tick(call, store, 2, ETH=status, USDC="1")

    record = records(store)[borrower]
    assert (record.state, record.valued_state) == (State.UNVALUED, State.HEALTHY)
    assert (record.unvalued_assets, record.valuation) == (("ETH",), None)
    assert records(store)[usdc_only].state is State.HEALTHY
    assert announced.pull() == []

    _tick(call, store, 3, ETH="1600", USDC="1")
    assert records(store)[borrower].state is State.HEALTHY
    assert announced.pull() == []

    _tick(call, store, 4, ETH=status, USDC="1")
    _tick(call, store, 5, ETH="1400", USDC="1")
    (transition,) = announced.events()
    assert (transition.sequence, transition.previous_state, transition.state) == (
        2,
        State.HEALTHY,
        State.WARNING,
    )


def test_an_asset_without_any_mark_makes_its_holders_unvalued(
    call: Caller, store: firestore.Client, borrower: str
) -> None:
    _tick(call, store, 1, USDC="1")

    record = records(store)[borrower]
    assert (record.state, record.unvalued_assets) == (State.UNVALUED, ("ETH",))


def test_a_sweep_unvalues_what_has_become_too_old_and_a_tick_heals_it(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], borrower: str
) -> None:
    _tick(call, store, 1, ETH="1600", USDC="1")
    margin, operations = tap(topics.MARGIN_ALERTS), tap(topics.OPERATIONS_ALERTS)
    sweep = b'{"event_id": "sweep"}'

    fresh = now() + timedelta(seconds=119)
    assert call.push(FUNCTION, topics.MARGIN_SWEEPS, sweep, published_at=fresh).acknowledged
    assert records(store)[borrower].state is State.HEALTHY
    assert operations.pull() == []

    late = now() + timedelta(seconds=122)
    for _ in range(2):
        assert call.push(FUNCTION, topics.MARGIN_SWEEPS, sweep, published_at=late).acknowledged
    record = records(store)[borrower]
    assert (record.state, record.unvalued_assets) == (State.UNVALUED, ("ETH", "USDC"))
    assert [alert.kind for alert in operations.events()] == ["prices_stopped"]

    tick = store_tick(store, price_tick(2, as_of=late, ETH="1600", USDC="1"))
    assert call.push(FUNCTION, topics.MARKET_PRICES, tick).acknowledged
    assert records(store)[borrower].state is State.HEALTHY
    assert [alert.kind for alert in operations.events()] == ["prices_resumed"]
    assert margin.pull() == []


def test_a_single_mark_grows_too_old_between_ticks(
    call: Caller, store: firestore.Client, borrower: str
) -> None:
    tick = store_tick(
        store,
        price_tick(1, observed_at=now() - timedelta(seconds=50), max_age_s=60, ETH="1600", USDC="1"),
    )
    assert call.push(FUNCTION, topics.MARKET_PRICES, tick).acknowledged
    assert records(store)[borrower].state is State.HEALTHY

    late = now() + timedelta(seconds=15)
    assert call.push(FUNCTION, topics.MARGIN_SWEEPS, b'{"event_id": "sweep"}', published_at=late).acknowledged

    assert records(store)[borrower].state is State.UNVALUED


def test_a_sweep_that_a_later_one_overtook_does_nothing(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], borrower: str
) -> None:
    _tick(call, store, 1, ETH="1600", USDC="1")
    samples = tap(topics.MARGIN_SAMPLES)
    later, earlier = now() + timedelta(seconds=60), now()
    for moment in (later, earlier):
        assert call.push(
            FUNCTION, topics.MARGIN_SWEEPS, b'{"event_id": "sweep"}', published_at=moment
        ).acknowledged

    (sampled,) = samples.events()
    assert sampled.as_of == later
    assert [(sample.account_id, sample.state) for sample in sampled.samples] == [(borrower, State.HEALTHY)]
    assert sampled.samples[0].valuation is not None
    assert sampled.samples[0].valuation.health_pct == pytest.approx(60)
