"""Atomic writes, their preconditions and their announcements; reads; and a Firestore that is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.cloud import firestore

from shared.errors import ConflictError, RetryableError
from shared.events import topics
from shared.events.margin import MarginTransition
from shared.messaging.attributes import EVENT_ID, ORDERING_KEY, TRACEPARENT
from shared.stores import database, outbox
from tests.conftest import Project
from tests.messages import margin_transition, new_address, now
from tests.servers import closed_port


@pytest.fixture
def client(project: Project) -> firestore.Client:
    """The client of a function in this project."""
    return database.connect(project.settings())


def _fields(client: firestore.Client, path: str) -> dict[str, object]:
    document = database.find(client, path)
    assert document is not None
    return {name: value for name, value in document.fields.items() if name != "updated_at"}


def test_writes_of_a_commit_take_effect_together_and_are_stamped(client: firestore.Client) -> None:
    before = now()
    commit = database.Commit(client)
    commit.create("things/a", {"x": 1})
    commit.put("things/b", {"x": 2})
    assert len(commit) == 2
    commit.apply()

    assert (_fields(client, "things/a"), _fields(client, "things/b")) == ({"x": 1}, {"x": 2})
    document = database.find(client, "things/a")
    assert document is not None
    assert abs((document.fields["updated_at"] - before).total_seconds()) < 30
    assert database.find(client, "things/c") is None


def test_an_empty_commit_does_nothing(client: firestore.Client) -> None:
    database.Commit(client).apply()


def test_a_document_that_exists_cannot_be_created_and_nothing_of_the_commit_is_written(
    client: firestore.Client,
) -> None:
    first = database.Commit(client)
    first.create("things/a", {"x": 1})
    first.apply()
    second = database.Commit(client)
    second.put("things/b", {"x": 2})
    second.create("things/a", {"x": 3})
    with pytest.raises(ConflictError):
        second.apply()
    assert _fields(client, "things/a") == {"x": 1}
    assert database.find(client, "things/b") is None


def test_a_replacement_needs_the_document_as_it_was_read(client: firestore.Client) -> None:
    commit = database.Commit(client)
    index = commit.replace("things/a", {"x": 1, "y": 1}, read_at=None)
    commit.apply()
    read_at = commit.update_time(index)

    second = database.Commit(client)
    index = second.replace("things/a", {"x": 2, "y": 2}, read_at=read_at)
    second.apply()
    assert _fields(client, "things/a") == {"x": 2, "y": 2}

    stale = database.Commit(client)
    stale.replace("things/a", {"x": 3}, read_at=read_at)
    with pytest.raises(ConflictError):
        stale.apply()

    again = database.Commit(client)
    again.replace("things/a", {"x": 4, "y": 4}, read_at=second.update_time(index))
    again.apply()
    assert _fields(client, "things/a") == {"x": 4, "y": 4}


def test_a_replacement_of_a_document_that_is_gone_is_a_conflict(client: firestore.Client) -> None:
    commit = database.Commit(client)
    index = commit.replace("things/a", {"x": 1}, read_at=None)
    commit.apply()
    database.delete_all(client, ["things/a"])
    late = database.Commit(client)
    late.replace("things/a", {"x": 2}, read_at=commit.update_time(index))
    with pytest.raises(ConflictError):
        late.apply()


def test_one_of_many_that_race_for_a_document_wins(client: firestore.Client) -> None:
    def race(number: int) -> bool:
        commit = database.Commit(client)
        commit.create("things/a", {"winner": number})
        commit.create(f"losers/{number}", {})
        try:
            commit.apply()
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))

    assert won.count(True) == 1
    assert _fields(client, "things/a") == {"winner": won.index(True)}
    assert len(database.query(client.collection("losers"))) == 1


def test_many_documents_are_read_in_one_call_each_once(client: firestore.Client) -> None:
    commit = database.Commit(client)
    for number in range(120):
        commit.put(f"things/{number:03}", {"number": number})
    commit.apply()
    paths = [f"things/{number:03}" for number in (*range(120), 5, 7)] + ["things/none"]

    found = database.find_all(client, paths)

    assert sorted(found) == [f"things/{number:03}" for number in range(120)]
    assert found["things/005"].fields["number"] == 5
    assert database.find_all(client, []) == {}


def test_queries_among_more_values_than_one_takes_return_each_document_once(client: firestore.Client) -> None:
    commit = database.Commit(client)
    for number in range(70):
        commit.put(f"things/{number:03}", {"owner": f"o{number % 50}"})
    commit.apply()
    statement = client.collection("things")
    wanted = [f"o{number}" for number in (*range(45), 3, 4)]

    among = database.query_among(statement, "owner", wanted)

    assert len({document.id for document in among}) == len(among) == 65
    assert len(database.query_among(statement, "owner", None)) == 70
    assert database.query_among(statement, "owner", []) == []
    assert database.count(statement) == 70


def test_announcements_are_written_with_the_change_and_only_with_it(client: firestore.Client) -> None:
    account_id = new_address()
    event = margin_transition(account_id)
    traceparent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    commit = database.Commit(client, traceparent=traceparent)
    commit.create("things/a", {})
    commit.announce(topics.MARGIN_ALERTS, event, ordering_key=account_id)
    commit.apply()

    left, _ = outbox.list_before(client, now().replace(year=2100), limit=10)
    assert left == commit.announced
    ((message,),) = left.values()
    assert (message.topic, message.data, message.ordering_key) == (
        topics.MARGIN_ALERTS,
        event.encode(),
        account_id,
    )
    assert message.attributes == {
        EVENT_ID: event.event_id,
        ORDERING_KEY: account_id,
        TRACEPARENT: traceparent,
    }

    refused = database.Commit(client)
    refused.create("things/a", {})
    refused.announce(topics.MARGIN_ALERTS, margin_transition(account_id, 2))
    with pytest.raises(ConflictError):
        refused.apply()
    assert len(outbox.list_before(client, now().replace(year=2100), limit=10)[0]) == 1


def test_the_same_event_announced_twice_is_one_announcement(client: firestore.Client) -> None:
    event = margin_transition(new_address())
    for _ in range(2):
        commit = database.Commit(client)
        commit.announce(topics.MARGIN_ALERTS, event)
        commit.apply()
    assert len(outbox.list_before(client, now().replace(year=2100), limit=10)[0]) == 1


def _announced(client: firestore.Client, events: Sequence[MarginTransition]) -> None:
    commit = database.Commit(client)
    for event in events:
        commit.announce(topics.MARGIN_ALERTS, event, ordering_key=event.account_id)
    commit.apply()


def test_what_is_announced_together_lies_together_and_nothing_else_replaces_it(
    client: firestore.Client,
) -> None:
    first, second, third = (margin_transition(new_address()) for _ in range(3))
    for events in ((first, second), (first, second), (first, third), (first,)):
        _announced(client, events)

    left, _ = outbox.list_before(client, now().replace(year=2100), limit=10)

    assert [[message.data for message in messages] for messages in left.values()] == [
        [first.encode(), second.encode()],
        [first.encode(), third.encode()],
        [first.encode()],
    ]


def test_what_is_larger_than_a_document_lies_in_several_in_order(client: firestore.Client) -> None:
    account_id = new_address()
    events = [margin_transition(account_id, number) for number in range(1, 1_501)]
    _announced(client, events)

    left, last = outbox.list_before(client, now().replace(year=2100), limit=1)
    rest, _ = outbox.list_before(client, now().replace(year=2100), after=last, limit=10)

    assert len(left) == 1
    assert len(rest) > 0
    found = [message.data for messages in (*left.values(), *rest.values()) for message in messages]
    assert found == [event.encode() for event in events]


def test_deleting_what_does_not_exist_is_no_error(client: firestore.Client) -> None:
    database.delete_all(client, ["things/never"])


def _put(client: firestore.Client) -> None:
    commit = database.Commit(client)
    commit.put("things/a", {})
    commit.apply()


CALLS: dict[str, Callable[[firestore.Client], object]] = {
    "a read": lambda client: database.find(client, "things/a"),
    "a read of several": lambda client: database.find_all(client, ["things/a"]),
    "a query": lambda client: database.query(client.collection("things")),
    "a count": lambda client: database.count(client.collection("things")),
    "a commit": _put,
}


def test_a_firestore_that_is_away_fails_every_call_as_retryable_within_seconds(project: Project) -> None:
    """A function has a minute; the client's own retries take five."""
    project.setenv(FIRESTORE_EMULATOR_HOST=f"127.0.0.1:{closed_port()}")
    away = database.connect(project.settings())
    started = time.monotonic()

    def failure(call: Callable[[firestore.Client], object]) -> BaseException | None:
        try:
            call(away)
        except RetryableError as error:
            return error
        return None

    with ThreadPoolExecutor(len(CALLS)) as pool:
        failures = dict(zip(CALLS, pool.map(failure, CALLS.values()), strict=True))

    assert all("Firestore did not" in str(error) for error in failures.values()), failures
    assert time.monotonic() - started < 15
