"""relay_outbox: what a crash left behind is published under its own ids, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from google.cloud import firestore

from shared.events import topics
from shared.stores import database, leases
from tests.conftest import Project
from tests.contract_messages import position_changed
from tests.eventually import eventually
from tests.functions.conftest import Caller, Outage, Outbox, Tap
from tests.functions.instances import Instances
from tests.messages import margin_transition, new_address, operations_alert

FUNCTION = "relay_outbox"


def _leave(store: firestore.Client, count: int = 1) -> list[str]:
    """Commit announcements, as a process does that dies before it publishes; their event ids."""
    account_id = new_address()
    events = [margin_transition(account_id, number) for number in range(1, count + 1)]
    for start in range(0, count, 400):
        commit = database.Commit(store, traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
        for event in events[start : start + 400]:
            commit.announce(topics.MARGIN_ALERTS, event, ordering_key=account_id)
        commit.apply()
    return [event.event_id for event in events]


def test_what_was_left_is_published_and_cleared(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced, operations = tap(topics.MARGIN_ALERTS), tap(topics.OPERATIONS_ALERTS)
    left = _leave(store, 3)
    alert = operations_alert()
    commit = database.Commit(store)
    commit.announce(topics.OPERATIONS_ALERTS, alert)
    commit.apply()
    outbox_left.age()

    outcome = call.request(FUNCTION)

    assert (outcome.status, outcome.body) == (200, {"sweeps": 1})
    assert sorted(event.event_id for event in announced.events()) == left
    assert operations.events() == [alert]
    assert outbox_left.ids() == []


def test_a_large_backlog_is_published_in_one_window(
    call: Caller,
    store: firestore.Client,
    project: Project,
    tap: Callable[[str], Tap],
    outbox_left: Outbox,
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    left = _leave(store, 1_000)
    outbox_left.age()
    project.setenv(WINDOW_S="20", SWEEP_INTERVAL_S="19.9")
    assert call.request(FUNCTION).status == 200
    assert sorted(event.event_id for event in announced.events()) == left


def test_a_second_sweep_publishes_nothing_again(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    _leave(store)
    outbox_left.age()
    for _ in range(3):
        assert call.request(FUNCTION).status == 200
    assert len(announced.pull()) == 1


def test_what_is_young_is_left_to_the_one_who_wrote_it(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    _leave(store)
    assert call.request(FUNCTION).status == 200
    assert announced.pull() == []
    assert len(outbox_left.ids()) == 1


def test_older_announcements_of_a_key_come_before_newer_ones(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    """Their ids sort the other way round."""
    announced = tap(topics.MARGIN_ALERTS)
    account_id = new_address()
    for sequence in (9, 5, 1):
        commit = database.Commit(store)
        commit.announce(
            topics.MARGIN_ALERTS, margin_transition(account_id, sequence), ordering_key=account_id
        )
        commit.apply()
    outbox_left.age()
    assert call.request(FUNCTION).status == 200
    assert [event.sequence for event in announced.events()] == [9, 5, 1]


def test_it_is_called_again_while_firestore_fails(call: Caller, without: Outage) -> None:
    with without("firestore"):
        assert call.request(FUNCTION).status == 503
    assert call.request(FUNCTION).status == 200


def test_what_pubsub_does_not_take_stays(
    call: Caller, store: firestore.Client, without: Outage, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    left = _leave(store, 2)
    outbox_left.age()
    with without("pubsub"):
        assert call.request(FUNCTION).status == 200
    assert len(outbox_left.ids()) == 2
    assert call.request(FUNCTION).status == 200
    assert sorted(event.event_id for event in announced.events()) == left


def test_an_announcement_for_a_topic_that_does_not_exist_stops_no_other(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    commit = database.Commit(store)
    commit.announce("topics.never.made.v1", position_changed(new_address(), 1))
    commit.apply()
    left = _leave(store)
    outbox_left.age()

    assert call.request(FUNCTION).status == 200

    assert [event.event_id for event in announced.events()] == left
    assert [outbox_id.partition("~")[0] for outbox_id in outbox_left.ids()] == ["topics.never.made.v1"]


def test_of_announcements_made_together_only_those_stay_that_could_not_be_published(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    account_id = new_address()
    commit = database.Commit(store)
    for number in (1, 2):
        commit.announce(topics.MARGIN_ALERTS, margin_transition(account_id, number))
        commit.announce("topics.never.made.v1", position_changed(account_id, number))
    commit.apply()
    outbox_left.age()

    for _ in range(2):
        assert call.request(FUNCTION).status == 200
        assert [outbox_id.partition("~")[0] for outbox_id in outbox_left.ids()] == [
            "topics.never.made.v1"
        ] * 2

    assert sorted(event.sequence for event in announced.events()) == [1, 2]


def test_while_another_copy_holds_the_lease_nothing_is_swept(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    _leave(store)
    outbox_left.age()
    lease = leases.acquire(
        store, FUNCTION, owner="another", now=datetime.now(UTC), duration=timedelta(seconds=30)
    )
    assert lease is not None
    outcome = call.request(FUNCTION)
    assert (outcome.status, outcome.body) == (200, {"sweeps": 0})
    assert announced.pull() == []

    leases.release(store, lease)
    assert call.request(FUNCTION).body == {"sweeps": 1}
    assert len(announced.pull()) == 1


def test_a_process_killed_after_it_published_publishes_again_under_the_same_ids(
    call: Caller, store: firestore.Client, project: Project, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced = tap(topics.MARGIN_ALERTS)
    left = _leave(store, 700)
    outbox_left.age()
    project.setenv(WINDOW_S="50")
    seen: list[str] = []

    def pull() -> list[str]:
        seen.extend(event.event_id for event in announced.events())
        return seen

    with Instances(project, FUNCTION) as instances:
        url = instances.start()
        instances.post(url)
        eventually(pull, within_s=20)
        instances.kill(url)
    project.setenv(WINDOW_S="0.1")
    eventually(lambda: call.request(FUNCTION).status == 200 and outbox_left.ids() == [], within_s=20)

    assert sorted(set(pull())) == left
