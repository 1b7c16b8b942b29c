"""record_dead_letter: every message that could not be processed is kept once, with the reason."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from google.cloud import firestore

from shared.events import dead_letters as names
from shared.events import topics
from shared.stores import dead_letters
from shared.stores.dead_letters import DeadLetter
from tests.conftest import Project
from tests.functions.conftest import Caller, Outage
from tests.functions.instances import Instances

FUNCTION = "record_dead_letter"


def _push(
    *,
    data: bytes | None = b"{}",
    message_id: str = "17",
    attributes: dict[str, str] | None = None,
    subscription: str = f"projects/p/subscriptions/{FUNCTION}--{topics.MARKET_PRICES}.dead",
) -> dict[str, Any]:
    """The body of a push subscription's request."""
    message: dict[str, Any] = {"messageId": message_id, "publishTime": "2026-01-01T00:00:00Z"}
    if data is not None:
        message["data"] = base64.b64encode(data).decode()
    if attributes is not None:
        message["attributes"] = attributes
    return {"subscription": subscription, "message": message}


def _described(function: str = "evaluate_margin", message_id: str = "4711") -> dict[str, str]:
    return {
        "event_id": "tick:1",
        "event_ordering_key": "key",
        **names.describe(
            reason="price must be greater than zero",
            field="marks.0.price",
            function=function,
            topic=topics.MARKET_PRICES,
            message_id=message_id,
        ),
    }


def _letters(store: firestore.Client) -> list[DeadLetter]:
    return [letter for letter, _ in dead_letters.list_open(store, limit=100)]


def test_a_letter_is_kept_with_the_reason_and_what_is_needed_to_put_it_back(
    call: Caller, store: firestore.Client
) -> None:
    outcome = call.request(FUNCTION, _push(data=b'{"x": 1}', attributes=_described()))

    assert (outcome.status, outcome.body) == (
        200,
        {"dead_letter": "evaluate_margin:market.prices.v1:4711", "known": False},
    )
    (letter,) = _letters(store)
    assert (letter.topic, letter.function) == (topics.MARKET_PRICES, "evaluate_margin")
    assert (letter.reason, letter.field) == ("price must be greater than zero", "marks.0.price")
    assert (letter.data, letter.message_id, letter.ordering_key) == (b'{"x": 1}', "4711", "key")
    assert letter.attributes == {"event_id": "tick:1", "event_ordering_key": "key"}
    assert dead_letters.count_open(store) == 1


def test_the_same_letter_twice_is_kept_once(call: Caller, store: firestore.Client) -> None:
    for known in (False, True, True):
        outcome = call.request(FUNCTION, _push(attributes=_described()))
        assert (outcome.status, outcome.body["known"]) == (200, known)
    assert len(_letters(store)) == 1


def test_letters_come_in_any_order_and_from_several_functions(call: Caller, store: firestore.Client) -> None:
    for function, message_id in (("notify", "3"), ("evaluate_margin", "1"), ("evaluate_margin", "3")):
        body = _push(attributes=_described(function, message_id))
        assert call.request(FUNCTION, body).status == 200
    assert sorted(letter.dead_letter_id for letter in _letters(store)) == [
        "evaluate_margin:market.prices.v1:1",
        "evaluate_margin:market.prices.v1:3",
        "notify:market.prices.v1:3",
    ]


def test_a_letter_that_pubsub_gave_up_names_the_subscription_that_never_took_it(
    call: Caller, store: firestore.Client
) -> None:
    attributes = {
        "CloudPubSubDeadLetterSourceSubscription": "notify--alerts.margin.v1",
        "CloudPubSubDeadLetterSourceDeliveryCount": "10",
    }
    assert call.request(FUNCTION, _push(attributes=attributes)).status == 200
    (letter,) = _letters(store)
    assert (letter.function, letter.topic) == ("notify", topics.MARGIN_ALERTS)
    assert letter.reason == "delivered as often as the subscription allows, and never taken"


@pytest.mark.parametrize("data", [None, b""])
def test_a_letter_without_data_or_attributes_is_kept(
    call: Caller, store: firestore.Client, data: bytes | None
) -> None:
    assert call.request(FUNCTION, _push(data=data)).status == 200
    (letter,) = _letters(store)
    assert (letter.data, letter.topic, letter.function) == (b"", topics.MARKET_PRICES, None)


def test_a_letter_larger_than_a_document_is_cut_and_says_so(call: Caller, store: firestore.Client) -> None:
    assert call.request(FUNCTION, _push(data=b"x" * 2_000_000, attributes=_described())).status == 200
    (letter,) = _letters(store)
    assert len(letter.data) == 900_000
    assert "data of 2000000 bytes, SHA-256" in letter.reason


def test_it_is_delivered_again_while_firestore_fails(
    call: Caller, store: firestore.Client, without: Outage
) -> None:
    body = _push(attributes=_described())
    with without("firestore"):
        assert call.request(FUNCTION, body).status == 503
    assert call.request(FUNCTION, body).status == 200
    assert len(_letters(store)) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([1], "message"),
        ({"message": "text"}, "message"),
        ({"message": {"data": "e30="}}, "message"),
        (_push() | {"message": {"messageId": "1", "data": "***"}}, "message.data"),
        (_push() | {"message": {"messageId": "1", "attributes": ["a"]}}, "message.attributes"),
        (_push(subscription="projects/p/subscriptions/other"), "subscription"),
    ],
)
def test_what_is_no_push_of_a_dead_letter_is_acknowledged_with_the_field_named(
    call: Caller, store: firestore.Client, body: Any, field: str
) -> None:
    """Acknowledged, for Pub/Sub would only bring it back."""
    outcome = call.request(FUNCTION, body)
    assert (outcome.status, outcome.body["dead_letter"], outcome.body["field"]) == (200, None, field)
    assert outcome.body["error"]
    assert _letters(store) == []


def test_a_process_killed_before_it_answered_has_kept_the_letter_and_keeps_it_once(
    call: Caller, store: firestore.Client, project: Project
) -> None:
    """It publishes nothing: the crash that remains is between its commit and its answer."""
    body = _push(attributes=_described())
    with Instances(project, FUNCTION) as instances:
        url = instances.start()
        instances.request_and_kill(url, body, once=lambda: bool(_letters(store)))
    outcome = call.request(FUNCTION, body)
    assert (outcome.status, outcome.body["known"]) == (200, True)
    assert len(_letters(store)) == 1
