"""create_webhook_deliveries: one delivery per event and endpoint that may and wants to know of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from google.cloud import firestore

from shared.domain.dvp import DvpRole
from shared.domain.webhook_deliveries import WebhookDeliveryStatus
from shared.domain.webhooks import HELD_FOR, EndpointState, WebhookEventType
from shared.events import topics
from shared.events.settlement import AnyContractEvent, EventRetracted
from tests.contract_messages import (
    dvp_created,
    dvp_deposited,
    escrow_approved,
    escrow_created,
    market_changed,
    position_changed,
    retraction,
)
from tests.functions.conftest import Caller, Outage, Tap
from tests.functions.webhook_clients import all_deliveries, put_endpoint
from tests.messages import ARBITER, PAYEE, PAYER, new_address

FUNCTION = "create_webhook_deliveries"
URL = "https://hooks.client.example/settlement"


def _push(call: Caller, *events: AnyContractEvent | EventRetracted) -> None:
    for event in events:
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event).acknowledged


def test_an_event_becomes_a_delivery_to_each_endpoint_of_its_account(
    call: Caller, store: firestore.Client
) -> None:
    account = new_address()
    ours = put_endpoint(store, URL, accounts=[account, new_address()])
    every = put_endpoint(store, URL)
    put_endpoint(store, URL, accounts=[new_address()])
    event = position_changed(account, 1)

    _push(call, event)

    deliveries = all_deliveries(store)
    assert {each.endpoint_id for each in deliveries} == {ours.endpoint_id, every.endpoint_id}
    assert len({each.webhook_id for each in deliveries}) == 2
    for delivery in deliveries:
        assert delivery.status is WebhookDeliveryStatus.PENDING
        assert (delivery.event_id, delivery.event_type) == (event.event_id, "position_changed")
        body = json.loads(delivery.body)
        assert body["type"] == "position_changed"
        assert datetime.fromisoformat(body["timestamp"]) == event.block_time
        assert body["data"] == json.loads(event.encode())


def test_a_duplicate_creates_nothing_and_leaves_what_became_of_the_first(
    call: Caller, store: firestore.Client
) -> None:
    account = new_address()
    put_endpoint(store, URL, accounts=[account])
    event = position_changed(account, 1)
    _push(call, event)
    (first,) = all_deliveries(store)
    store.document(f"webhook_deliveries/{first.delivery_id}").update({"status": "delivered"})
    # A second endpoint came in between: only its delivery is missing.
    late = put_endpoint(store, URL, accounts=[account])
    _push(call, event, event)
    kept, added = all_deliveries(store)
    assert (kept.delivery_id, kept.status) == (first.delivery_id, WebhookDeliveryStatus.DELIVERED)
    assert added.endpoint_id == late.endpoint_id


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_events_in_any_order_become_the_same_deliveries(
    call: Caller, store: firestore.Client, order: tuple[int, ...]
) -> None:
    account = new_address()
    put_endpoint(store, URL, accounts=[account])
    event = position_changed(account, 7)
    events = (position_changed(account, 6), event, retraction(event, 1))
    _push(call, *(events[number] for number in order))
    assert {each.event_id for each in all_deliveries(store)} == {each.event_id for each in events}


def test_a_retraction_is_a_delivery_of_its_own_for_whoever_is_told_of_the_event(
    call: Caller, store: firestore.Client
) -> None:
    account = new_address()
    told = put_endpoint(store, URL, accounts=[account], event_types=(WebhookEventType.POSITION_CHANGED,))
    put_endpoint(store, URL, accounts=[account], event_types=(WebhookEventType.ESCROW_CREATED,))
    event = position_changed(account, 1)
    _push(call, event, retraction(event, 1))
    first, second = all_deliveries(store)
    assert first.endpoint_id == second.endpoint_id == told.endpoint_id
    assert second.event_type == "event_retracted"
    body = json.loads(second.body)
    assert body["type"] == "event_retracted"
    assert (body["data"]["retracted"]["event_id"], body["data"]["revision"]) == (event.event_id, 1)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_an_endpoint_may_be_told_of_final_events_only_and_hears_of_no_retraction(
    call: Caller, store: firestore.Client, order: tuple[int, ...]
) -> None:
    account = new_address()
    at_once = put_endpoint(store, URL, accounts=[account])
    once_final = put_endpoint(store, URL, accounts=[account], final_only=True)
    gone, final = position_changed(account, 1), position_changed(account, 2)
    messages = (
        (topics.SETTLEMENT_EVENTS, gone),
        (topics.SETTLEMENT_EVENTS, retraction(gone, 1)),
        (topics.SETTLEMENT_EVENTS, final),
        (topics.FINALIZED_EVENTS, final),
    )
    for number in (*order, *order):
        topic, message = messages[number]
        assert call.push(FUNCTION, topic, message).acknowledged
    told = {(each.endpoint_id, each.event_id) for each in all_deliveries(store)}
    assert told == {
        (at_once.endpoint_id, gone.event_id),
        (at_once.endpoint_id, retraction(gone, 1).event_id),
        (at_once.endpoint_id, final.event_id),
        (once_final.endpoint_id, final.event_id),
    }


def test_the_parties_of_an_escrow_are_told_of_its_later_steps_and_of_what_was_taken_back(
    call: Caller, store: firestore.Client
) -> None:
    escrow, dvp = new_address(), new_address()
    parties = {role: put_endpoint(store, URL, accounts=[role]) for role in (PAYER, PAYEE, ARBITER)}
    put_endpoint(store, URL, accounts=[new_address()])
    created, approved = escrow_created(escrow), escrow_approved(escrow)
    deposited = dvp_deposited(dvp, 3, DvpRole.SELLER)
    for event in (created, approved, dvp_created(dvp), deposited):
        assert call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, event).acknowledged
    gone = retraction(created, 1)
    assert call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, gone).acknowledged

    _push(call, approved, retraction(approved, 1), gone, deposited)

    told = {(each.endpoint_id, each.event_type) for each in all_deliveries(store)}
    of_escrow = ["escrow_approved", "event_retracted"]
    expected = {(each.endpoint_id, kind) for each in parties.values() for kind in of_escrow}
    expected |= {(parties[role].endpoint_id, "dvp_deposited") for role in (PAYER, PAYEE)}
    assert told == expected
    assert len(all_deliveries(store)) == 3 * 3 + 2


def test_nobody_is_told_of_what_is_not_theirs_or_not_wanted_or_came_before(
    call: Caller, store: firestore.Client
) -> None:
    account = new_address()
    moment = datetime.now(UTC)
    put_endpoint(store, URL, accounts=[account], state=EndpointState.DISABLED)
    put_endpoint(store, URL, accounts=[account], state=EndpointState.GONE)
    put_endpoint(store, URL, accounts=[account], event_types=(WebhookEventType.DVP_CREATED,))
    put_endpoint(store, URL, accounts=[account], created_at=moment + timedelta(minutes=1))
    _push(call, position_changed(account, 1))
    assert all_deliveries(store) == []
    # A market is nobody's: who follows every account hears of it.
    every = put_endpoint(store, URL)
    _push(call, market_changed(1))
    assert [each.endpoint_id for each in all_deliveries(store)] == [every.endpoint_id]


def test_what_happens_while_an_endpoint_is_off_is_kept_for_a_week_and_not_sent(
    call: Caller, store: firestore.Client
) -> None:
    account, now = new_address(), datetime.now(UTC)
    off = {"accounts": [account], "state": EndpointState.DISABLED, "reason": "disabled by its owner"}
    kept = put_endpoint(store, URL, **off, off_since=now - HELD_FOR + timedelta(hours=1))  # type: ignore[arg-type]
    put_endpoint(store, URL, **off, off_since=now - HELD_FOR - timedelta(hours=1))  # type: ignore[arg-type]
    for _ in range(2):
        _push(call, position_changed(account, 1))
    (delivery,) = all_deliveries(store)
    assert (delivery.endpoint_id, delivery.status) == (kept.endpoint_id, WebhookDeliveryStatus.FAILED)
    assert delivery.next_attempt_at is None
    assert delivery.error == "the endpoint is disabled: disabled by its owner"


def test_a_step_whose_escrow_is_not_known_yet_comes_again(call: Caller, store: firestore.Client) -> None:
    escrow = new_address()
    approved = escrow_approved(escrow)
    # Nobody has registered: it may as well be unknown.
    _push(call, approved)
    put_endpoint(store, URL, accounts=[PAYEE])
    assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, approved).status == 500
    assert all_deliveries(store) == []
    created = escrow_created(escrow)
    assert call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, created).acknowledged
    _push(call, approved)
    assert [each.event_type for each in all_deliveries(store)] == ["escrow_approved"]


def test_it_is_delivered_again_while_firestore_fails(
    call: Caller, store: firestore.Client, without: Outage
) -> None:
    account = new_address()
    put_endpoint(store, URL, accounts=[account])
    event = position_changed(account, 1)
    with without("firestore"):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event).status == 500
    _push(call, event)
    assert len(all_deliveries(store)) == 1


def test_a_message_that_is_none_is_kept_as_a_dead_letter(call: Caller, tap: Callable[[str], Tap]) -> None:
    dead = tap(topics.dead_letter_topic(topics.SETTLEMENT_EVENTS))
    assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, b'{"kind": "airdrop"}').acknowledged
    assert dead.pull() == [b'{"kind": "airdrop"}']
