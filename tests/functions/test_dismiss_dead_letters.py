"""dismiss_dead_letters: kept messages are closed with a name and a reason, and are still there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.cloud import firestore

from shared.events import topics
from shared.stores import database, dead_letters
from shared.stores.dead_letters import DeadLetter, DeadLetterStatus
from tests.functions.conftest import Caller, Outage, Tap
from tests.messages import margin_transition, new_address, now

FUNCTION = "dismiss_dead_letters"


def _keep(store: firestore.Client, number: int) -> DeadLetter:
    event = margin_transition(new_address(), number)
    letter = DeadLetter(
        dead_letter_id=f"notify:{topics.MARGIN_ALERTS}:{number}",
        topic=topics.MARGIN_ALERTS,
        function="notify",
        reason="wrong",
        field=None,
        message_id=str(number),
        ordering_key="",
        attributes={"event_id": event.event_id},
        data=event.encode(),
        recorded_at=now(),
        status=DeadLetterStatus.OPEN,
    )
    commit = database.Commit(store)
    commit.create(dead_letters.path(letter.dead_letter_id), dead_letters.encode(letter))
    commit.apply()
    return letter


def _order(*letters: DeadLetter) -> dict[str, Any]:
    return {
        "dead_letter_ids": [letter.dead_letter_id for letter in letters],
        "dismissed_by": "ana",
        "reason": "sent by a test",
    }


def _read(store: firestore.Client, letter: DeadLetter) -> DeadLetter:
    return dead_letters.find_many(store, [letter.dead_letter_id])[letter.dead_letter_id][0]


def test_named_letters_are_closed_and_kept(call: Caller, store: firestore.Client) -> None:
    first, second, other = (_keep(store, number) for number in (1, 2, 3))

    outcome = call.request(FUNCTION, _order(first, second))

    assert outcome.status == 200
    assert outcome.body == {"dismissed": [first.dead_letter_id, second.dead_letter_id], "not_open": []}
    closed = _read(store, first)
    assert closed.status is DeadLetterStatus.DISMISSED
    assert closed.data == first.data
    assert closed.dismissal is not None
    assert (closed.dismissal.dismissed_by, closed.dismissal.reason) == ("ana", "sent by a test")
    assert dead_letters.count_open(store) == 1
    assert _read(store, other).dismissal is None


def test_the_same_order_again_changes_nothing(call: Caller, store: firestore.Client) -> None:
    letter = _keep(store, 1)
    call.request(FUNCTION, _order(letter))
    before = _read(store, letter)

    outcome = call.request(FUNCTION, {**_order(letter), "dismissed_by": "ben"})

    assert outcome.body == {"dismissed": [], "not_open": [letter.dead_letter_id]}
    assert _read(store, letter) == before


def test_a_letter_that_was_put_back_stays_so(call: Caller, store: firestore.Client) -> None:
    letter = _keep(store, 1)
    call.request("replay_dead_letters", {"dead_letter_ids": [letter.dead_letter_id]})
    assert call.request(FUNCTION, _order(letter)).body["not_open"] == [letter.dead_letter_id]
    assert _read(store, letter).status is DeadLetterStatus.REPLAYED


def test_a_closed_letter_is_not_put_back_with_its_topic(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    call.request(FUNCTION, _order(_keep(store, 1)))
    assert call.request("replay_dead_letters", {"topic": topics.MARGIN_ALERTS}).body["replayed"] == []
    assert announced.pull() == []


def test_while_firestore_fails_the_operator_is_told_to_try_again(
    call: Caller, store: firestore.Client, without: Outage
) -> None:
    letter = _keep(store, 1)
    with without("firestore"):
        outcome = call.request(FUNCTION, _order(letter))
    assert outcome.status == 503
    assert _read(store, letter).status is DeadLetterStatus.OPEN
    assert call.request(FUNCTION, _order(letter)).body["dismissed"] == [letter.dead_letter_id]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dead_letter_ids": []}, "dead_letter_ids"),
        ({"dead_letter_ids": ["a/b"]}, "dead_letter_ids.0"),
        ({"dead_letter_ids": ["x"] * 501}, "dead_letter_ids"),
        ({"dead_letter_ids": ["notify:never:1"]}, "dead_letter_ids"),
        ({"dismissed_by": " "}, "dismissed_by"),
        ({"reason": ""}, "reason"),
        ({"reason": 3}, "reason"),
        ({"topic": topics.MARGIN_ALERTS}, "topic"),
    ],
)
def test_an_order_that_is_wrong_is_refused_with_the_field_named(
    call: Caller, change: dict[str, Any], field: str
) -> None:
    order = {"dead_letter_ids": ["x"], "dismissed_by": "ana", "reason": "none"}
    outcome = call.request(FUNCTION, {**order, **change})
    assert (outcome.status, outcome.body["field"]) == (400, field)
    assert outcome.body["error"]


@pytest.mark.parametrize("body", [None, [], b"{"])
def test_a_body_that_is_no_order_is_refused(call: Caller, body: Any) -> None:
    outcome = call.request(FUNCTION, body)
    assert outcome.status == 400
    assert outcome.body["field"] in {"body", "dead_letter_ids"}
