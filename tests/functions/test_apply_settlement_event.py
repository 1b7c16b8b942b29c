"""apply_settlement_event: contract events become accounts and escrows, whatever order they come in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.cloud import firestore

from shared.domain.positions import Account
from shared.events import topics
from shared.stores import accounts, escrows
from tests.functions.conftest import Caller, Outage, Outbox, Tap
from tests.messages import (
    PAYEE,
    escrow_approved,
    escrow_created,
    escrow_refunded,
    escrow_released,
    escrow_withdrawn,
    new_address,
    position_changed,
    retraction,
)

FUNCTION = "apply_settlement_event"


def _account(store: firestore.Client, account_id: str) -> Account:
    return accounts.find_many(store, [account_id])[account_id]


def _escrow(store: firestore.Client, address: str) -> escrows.StoredEscrow:
    identifier = escrows.escrow_id(31337, address)
    return escrows.find_many(store, [identifier])[identifier]


def test_a_position_is_recorded_and_announced(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    account_id = new_address()
    announced = tap(topics.POSITIONS_CHANGED)
    exact = 2**255 + 1

    assert call.push(
        FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1, collateral_base=exact)
    ).acknowledged
    assert call.push(
        FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 2, asset="USDC", debt_base=5)
    ).acknowledged

    account = _account(store, account_id)
    assert account.version == 2
    assert account.positions["31337:ETH"].collateral_base == exact
    assert account.positions["31337:USDC"].debt_base == 5
    first, second = announced.events()
    assert [first.version, second.version] == [1, 2]
    assert [(p.asset, p.collateral_base, p.debt_base) for p in second.positions] == [
        ("ETH", exact, 0),
        ("USDC", 10**18, 5),
    ]
    assert outbox_left.ids() == []


def test_a_duplicate_changes_and_announces_nothing(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    account_id = new_address()
    announced = tap(topics.POSITIONS_CHANGED)
    for _ in range(3):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1)).acknowledged

    assert _account(store, account_id).version == 1
    assert len(announced.pull()) == 1


def test_every_order_of_arrival_ends_in_the_same_positions(call: Caller, store: firestore.Client) -> None:
    def story(account_id: str) -> list[object]:
        return [
            position_changed(account_id, 1, collateral_base=10),
            position_changed(account_id, 2, asset="USDC", collateral_base=0, debt_base=5),
            position_changed(account_id, 3, collateral_base=7),
        ]

    for order in itertools.permutations(range(3)):
        account_id = new_address()
        events = story(account_id)
        for index in order:
            assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, events[index]).acknowledged  # type: ignore[arg-type]
        positions = _account(store, account_id).positions
        assert {key: (p.collateral_base, p.debt_base) for key, p in positions.items()} == {
            "31337:ETH": (7, 0),
            "31337:USDC": (0, 5),
        }, order


def test_every_order_of_an_escrows_steps_ends_in_the_same_escrow(
    call: Caller, store: firestore.Client
) -> None:
    for order in itertools.permutations(range(4)):
        address = new_address()
        steps = (
            escrow_created(address),
            escrow_approved(address),
            escrow_released(address),
            escrow_withdrawn(address),
        )
        for index in order:
            assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, steps[index]).acknowledged
            assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, steps[index]).acknowledged
        escrow = _escrow(store, address).escrow
        assert (escrow.status, escrow.withdrawn, escrow.step) == ("released", True, 4), order


def test_what_a_reorganisation_took_back_is_undone_whenever_one_hears_of_it(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    for order in itertools.permutations(range(3)):
        account_id, address = new_address(), new_address()
        events = (
            position_changed(account_id, 1, collateral_base=10, amount_base=10),
            position_changed(account_id, 2, collateral_base=17, amount_base=7),
            retraction(position_changed(account_id, 2, collateral_base=17, amount_base=7), 1),
        )
        steps = (escrow_created(address), escrow_approved(address), retraction(escrow_approved(address), 1))
        for index in order:
            for event in (events[index], steps[index]):
                assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event).acknowledged
                assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event).acknowledged
        assert _account(store, account_id).positions["31337:ETH"].collateral_base == 10, order
        escrow = _escrow(store, address).escrow
        assert (escrow.step, escrow.approvals) == (1, frozenset()), order
        refunded = escrow_refunded(address, step=2).model_copy(update={"revision": 1, "payer": PAYEE})
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, refunded).acknowledged
        assert _escrow(store, address).escrow.status == "refunded", order


def test_races_for_one_account_lose_nothing(call: Caller, store: firestore.Client) -> None:
    account_id = new_address()
    events = [
        position_changed(account_id, number, asset=asset)
        for number, asset in enumerate(("ETH", "USDC", "WBTC", "LINK"), 1)
    ]
    call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(new_address(), 1))
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda event: call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event), events))

    assert all(outcome.acknowledged for outcome in outcomes)
    account = _account(store, account_id)
    assert account.version == 4
    assert sorted(position.asset for position in account.positions.values()) == [
        "ETH",
        "LINK",
        "USDC",
        "WBTC",
    ]


def test_it_is_delivered_again_while_firestore_fails(
    call: Caller, store: firestore.Client, without: Outage
) -> None:
    account_id = new_address()
    with without("firestore"):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1)).status == 500
    assert accounts.find_many(store, [account_id]) == {}

    assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1)).acknowledged
    assert _account(store, account_id).version == 1


@pytest.mark.parametrize("contradiction", ["another step of the same number", "a step that cannot follow"])
def test_a_contradicting_escrow_step_is_kept_as_a_dead_letter(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], contradiction: str
) -> None:
    address = new_address()
    for step in (escrow_created(address), escrow_approved(address), escrow_released(address)):
        call.push(FUNCTION, topics.SETTLEMENT_EVENTS, step)
    wrong = (
        escrow_created(address, amount_base=1)
        if contradiction == "another step of the same number"
        else escrow_refunded(address, step=4)
    )
    dead = tap(topics.dead_letter_topic(topics.SETTLEMENT_EVENTS))

    assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, wrong).acknowledged

    assert dead.pull() == [wrong.encode()]
    assert _escrow(store, address).escrow.status == "released"
    behind = escrow_withdrawn(address)
    assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, behind).acknowledged
    assert _escrow(store, address).escrow.withdrawn


def test_a_crash_between_commit_and_publish_is_made_good_by_the_sweep(
    call: Caller,
    store: firestore.Client,
    without: Outage,
    tap: Callable[[str], Tap],
    outbox_left: Outbox,
) -> None:
    account_id = new_address()
    announced = tap(topics.POSITIONS_CHANGED)
    with without("pubsub"):
        call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1))
        # Pub/Sub delivers again what the crashed process did not acknowledge.
        call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1))
    assert _account(store, account_id).version == 1
    assert announced.pull() == []
    assert outbox_left.ids() == [f"positions.changed.v1~positions:{account_id}:1"]

    outbox_left.age()
    assert call.request("relay_outbox").status == 200

    (event,) = announced.events()
    assert (event.account_id, event.version) == (account_id, 1)
    assert outbox_left.ids() == []
