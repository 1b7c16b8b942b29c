"""replay_dead_letters: kept messages go back on their topic as they were, and are marked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from google.cloud import firestore

from shared.events import topics
from shared.stores import database, dead_letters
from shared.stores.dead_letters import DeadLetter, DeadLetterStatus
from tests.functions.conftest import Caller, Outage, Tap
from tests.messages import margin_transition, new_address, now

FUNCTION = "replay_dead_letters"


def _keep(
    store: firestore.Client, number: int, *, topic: str = topics.MARGIN_ALERTS, reason: str = "wrong"
) -> DeadLetter:
    event = margin_transition(new_address(), number)
    letter = DeadLetter(
        dead_letter_id=f"notify:{topic}:{number}",
        topic=topic,
        function="notify",
        reason=reason,
        field=None,
        message_id=str(number),
        ordering_key=event.account_id,
        attributes={"event_id": event.event_id},
        data=event.encode(),
        recorded_at=now() + timedelta(seconds=number),
        status=DeadLetterStatus.OPEN,
    )
    commit = database.Commit(store)
    commit.create(dead_letters.path(letter.dead_letter_id), dead_letters.encode(letter))
    commit.apply()
    return letter


def _status(store: firestore.Client, letter: DeadLetter) -> DeadLetterStatus:
    return dead_letters.find_many(store, [letter.dead_letter_id])[letter.dead_letter_id][0].status


def test_named_letters_go_back_as_they_were_and_are_marked(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    letters = [_keep(store, number) for number in (1, 2, 3)]

    outcome = call.request(FUNCTION, {"dead_letter_ids": [letter.dead_letter_id for letter in letters[:2]]})

    assert outcome.status == 200
    assert outcome.body == {
        "replayed": [letter.dead_letter_id for letter in letters[:2]],
        "not_whole": [],
    }
    assert sorted(announced.pull()) == sorted(letter.data for letter in letters[:2])
    assert [_status(store, letter) for letter in letters] == ["replayed", "replayed", "open"]
    assert dead_letters.count_open(store) == 1


def test_a_topics_letters_go_back_up_to_the_limit(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    for number in range(1, 6):
        _keep(store, number)
    other = _keep(store, 9, topic=topics.DELIVERIES)

    outcome = call.request(FUNCTION, {"topic": topics.MARGIN_ALERTS, "limit": 3})
    assert len(outcome.body["replayed"]) == 3
    assert len(announced.pull()) == 3

    assert len(call.request(FUNCTION, {"topic": topics.MARGIN_ALERTS}).body["replayed"]) == 2
    assert _status(store, other) is DeadLetterStatus.OPEN


def test_a_repeated_order_by_topic_puts_nothing_back_twice(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    _keep(store, 1)
    for expected in (1, 0, 0):
        outcome = call.request(FUNCTION, {"topic": topics.MARGIN_ALERTS})
        assert len(outcome.body["replayed"]) == expected
    assert len(announced.pull()) == 1


def test_letters_named_in_any_order_go_back_in_that_order(call: Caller, store: firestore.Client) -> None:
    letters = [_keep(store, number) for number in (1, 2, 3)]
    wanted = [letters[index].dead_letter_id for index in (2, 0, 1)]
    assert call.request(FUNCTION, {"dead_letter_ids": wanted}).body["replayed"] == wanted


def test_a_letter_that_was_cut_is_named_and_stays(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    cut = _keep(store, 1, reason="too large (data of 2000000 bytes, SHA-256 ab, cut)")
    whole = _keep(store, 2)
    outcome = call.request(FUNCTION, {"topic": topics.MARGIN_ALERTS})
    assert outcome.body == {"replayed": [whole.dead_letter_id], "not_whole": [cut.dead_letter_id]}
    assert announced.pull() == [whole.data]
    assert _status(store, cut) is DeadLetterStatus.OPEN


@pytest.mark.parametrize("service", ["firestore", "pubsub"])
def test_while_a_service_fails_the_operator_is_told_to_try_again_and_nothing_is_marked(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], without: Outage, service: str
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    letter = _keep(store, 1)
    with without(service):
        outcome = call.request(FUNCTION, {"dead_letter_ids": [letter.dead_letter_id]})
    assert outcome.status == 503
    assert outcome.body["error"]
    assert _status(store, letter) is DeadLetterStatus.OPEN

    assert call.request(FUNCTION, {"dead_letter_ids": [letter.dead_letter_id]}).status == 200
    assert announced.pull() == [letter.data]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (None, "dead_letter_ids"),
        ({}, "dead_letter_ids"),
        ({"dead_letter_ids": "one"}, "dead_letter_ids"),
        ({"dead_letter_ids": [1]}, "dead_letter_ids.0"),
        ({"dead_letter_ids": ["notify:never:1"]}, "dead_letter_ids"),
        ({"dead_letter_ids": ["a/b"]}, "dead_letter_ids"),
        ({"dead_letter_ids": [""]}, "dead_letter_ids"),
        ({"dead_letter_ids": ["x"] * 501}, "dead_letter_ids"),
        ({"topic": 3}, "topic"),
        ({"topic": topics.MARGIN_ALERTS, "limit": 0}, "limit"),
        ({"topic": topics.MARGIN_ALERTS, "limit": 501}, "limit"),
        ({"topic": topics.MARGIN_ALERTS, "all": True}, "all"),
        ([], "body"),
        (b"{", "body"),
    ],
)
def test_an_order_that_is_wrong_is_refused_with_the_field_named(call: Caller, body: Any, field: str) -> None:
    outcome = call.request(FUNCTION, body)
    assert (outcome.status, outcome.body["field"].partition(".0")[0]) == (400, field.partition(".0")[0])
    assert outcome.body["error"]


def test_a_crash_between_publishing_and_marking_repeats_the_same_message(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    """What a process leaves that dies in between is a letter that is still open."""
    announced = tap(topics.MARGIN_ALERTS)
    letter = _keep(store, 1)
    order = {"dead_letter_ids": [letter.dead_letter_id]}
    assert call.request(FUNCTION, order).status == 200
    store.document(dead_letters.path(letter.dead_letter_id)).update({"status": "open"})

    assert call.request(FUNCTION, order).status == 200

    assert announced.pull() == [letter.data, letter.data]
    assert _status(store, letter) is DeadLetterStatus.REPLAYED
