"""archive_events: every message a row, whatever it is; acknowledged only once it is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.cloud.pubsub_v1 import PublisherClient

from functions.reporting.archive_events import ARCHIVED
from shared.events import topics
from shared.events.base import Event
from shared.manifest import load_manifest
from shared.warehouse import client as warehouse_client
from tests.conftest import DATASET, ROOT, Project
from tests.eventually import eventually
from tests.every_message import VALID
from tests.functions.conftest import Caller, Outage, Tap
from tests.functions.instances import Instances
from tests.messages import margin_samples, margin_transition, new_address, price_tick

FUNCTION = "archive_events"


class Archive:
    """The warehouse and the topics before it."""

    def __init__(self, project: Project) -> None:
        project.provision_warehouse("events", "margin_history", "marks")
        project.provision_pulls()
        settings = project.settings("BIGQUERY_DATASET", uses=("bigquery", "pubsub"))
        self._client = warehouse_client.connect(settings).client
        self._publisher = PublisherClient()
        self._project = project

    def rows(self, table: str, order_by: str = "1") -> list[dict[str, Any]]:
        """A table's rows, each as often as it is there."""
        statement = f"SELECT * FROM `{self._project.project_id}.{DATASET}.{table}` ORDER BY {order_by}"
        return [dict(row) for row in self._client.query(statement).result()]

    def publish(self, topic: str, message: Event | bytes) -> None:
        """Publish, and wait until Pub/Sub has it."""
        data = message if isinstance(message, bytes) else message.encode()
        self._publisher.publish(f"projects/{self._project.project_id}/topics/{topic}", data).result()

    def close(self) -> None:
        """Close the connections."""
        self._publisher.stop()


@pytest.fixture
def archive(project: Project) -> Iterator[Archive]:
    """The test's warehouse."""
    opened = Archive(project)
    yield opened
    opened.close()


def test_every_topics_messages_become_rows_with_their_exact_payload(call: Caller, archive: Archive) -> None:
    messages = {topic: VALID[topic]() for topic in ARCHIVED}
    for topic, message in messages.items():
        archive.publish(topic, message)

    outcome = call.request(FUNCTION)

    assert (outcome.status, outcome.body) == (200, {"archived": len(ARCHIVED)})
    rows = archive.rows("events", "topic")
    assert {row["topic"]: row["event_id"] for row in rows} == {
        topic: message.event_id for topic, message in messages.items()
    }
    assert {row["topic"]: row["payload"].encode() for row in rows} == {
        topic: message.encode() for topic, message in messages.items()
    }


def test_transitions_samples_and_marks_also_become_rows_made_for_queries(
    call: Caller, archive: Archive
) -> None:
    account_id = new_address()
    archive.publish(topics.MARGIN_ALERTS, margin_transition(account_id, 3))
    archive.publish(topics.MARGIN_SAMPLES, margin_samples())
    archive.publish(topics.MARKET_PRICES, price_tick(5, ETH="1234.000000000000000001", USDC="1"))

    assert call.request(FUNCTION).status == 200

    transition, valued, unvalued = archive.rows("margin_history", "kind DESC, state")
    assert (transition["row_id"], transition["kind"], transition["state"]) == (
        f"{account_id}:000003",
        "transition",
        "MARGIN_CALL",
    )
    assert (transition["previous_state"], transition["transition_sequence"]) == ("HEALTHY", 3)
    assert (str(transition["collateral_usd"]), transition["health_pct"]) == ("1200.5", 20.05)
    assert (valued["kind"], valued["state"], float(valued["health_pct"])) == ("sample", "HEALTHY", 50.0)
    assert (unvalued["state"], unvalued["collateral_usd"]) == ("UNVALUED", None)
    eth, usdc = archive.rows("marks", "asset")
    # Nine digits behind the point are kept here; the payload has them all.
    assert (eth["asset"], str(eth["price"]), eth["tick_sequence"]) == ("ETH", "1234", 5)
    assert usdc["row_id"] == "tick:000000000005:USDC"


def test_a_message_is_archived_once_and_a_published_repeat_has_the_same_row_id(
    call: Caller, archive: Archive
) -> None:
    event = margin_transition(new_address())
    archive.publish(topics.MARGIN_ALERTS, event)
    for _ in range(3):
        assert call.request(FUNCTION).status == 200
    assert len(archive.rows("margin_history")) == 1

    archive.publish(topics.MARGIN_ALERTS, event)
    assert call.request(FUNCTION).status == 200
    assert {row["row_id"] for row in archive.rows("margin_history")} == {event.event_id}


def test_messages_out_of_order_are_archived_as_they_come(call: Caller, archive: Archive) -> None:
    account_id = new_address()
    for sequence in (3, 1, 2):
        archive.publish(topics.MARGIN_ALERTS, margin_transition(account_id, sequence))
        assert call.request(FUNCTION).status == 200
    assert [row["transition_sequence"] for row in archive.rows("margin_history", "row_id")] == [1, 2, 3]


@pytest.mark.parametrize("service", ["bigquery", "pubsub"])
def test_it_is_called_again_while_a_service_is_away_and_nothing_is_lost(
    call: Caller, archive: Archive, without: Outage, service: str
) -> None:
    archive.publish(topics.MARGIN_ALERTS, margin_transition(new_address()))
    with without(service):
        assert call.request(FUNCTION).status == 503
    eventually(lambda: call.request(FUNCTION).status == 200 and len(archive.rows("events")) == 1)


def test_a_message_that_is_wrong_is_kept_as_a_dead_letter_and_the_rest_is_written(
    call: Caller, archive: Archive, tap: Callable[[str], Tap]
) -> None:
    dead = tap(topics.dead_letter_topic(topics.MARGIN_ALERTS))
    wrong = margin_transition(new_address()).model_dump(mode="json") | {"state": "FINE"}
    archive.publish(topics.MARGIN_ALERTS, json.dumps(wrong).encode())
    good = margin_transition(new_address())
    archive.publish(topics.MARGIN_ALERTS, good)

    for _ in range(2):
        assert call.request(FUNCTION).status == 200

    assert [json.loads(data)["state"] for data in dead.pull()] == ["FINE"]
    assert [row["event_id"] for row in archive.rows("events")] == [good.event_id]


def test_a_row_that_bigquery_refuses_is_kept_as_a_dead_letter_and_the_rest_is_written(
    call: Caller, archive: Archive, tap: Callable[[str], Tap]
) -> None:
    """A valid message whose figure no NUMERIC holds."""
    dead = tap(topics.dead_letter_topic(topics.MARKET_PRICES))
    huge = price_tick(1, ETH="1" + "0" * 40, USDC="1")
    archive.publish(topics.MARKET_PRICES, huge)
    archive.publish(topics.MARKET_PRICES, price_tick(2, ETH="1600", USDC="1"))

    for _ in range(2):
        assert call.request(FUNCTION).status == 200

    assert dead.pull() == [huge.encode()]
    assert {row["row_id"] for row in archive.rows("marks")} >= {
        "tick:000000000002:ETH",
        "tick:000000000002:USDC",
    }


def test_a_process_killed_before_it_acknowledges_leaves_nothing_out(
    call: Caller, archive: Archive, project: Project
) -> None:
    """SIGKILL once rows are there; what was not acknowledged comes again with the same row ids."""
    account_id = new_address()
    events = [margin_transition(account_id, sequence) for sequence in range(1, 301)]
    for event in events:
        archive.publish(topics.MARGIN_ALERTS, event)
    project.setenv(WINDOW_S="50")
    with Instances(project, FUNCTION) as instances:
        url = instances.start()
        instances.post(url)
        eventually(lambda: archive.rows("events"), within_s=20)
        instances.kill(url)
    project.setenv(WINDOW_S="0.1")
    eventually(
        lambda: call.request(FUNCTION).status == 200 and _archived(archive) == set(events_ids(events)),
        within_s=75,
    )


def _archived(archive: Archive) -> set[str]:
    return {row["event_id"] for row in archive.rows("events")}


def events_ids(events: list[Any]) -> list[str]:
    """Ids in order."""
    return [event.event_id for event in events]


def test_the_subscriptions_it_pulls_are_those_of_the_manifest() -> None:

    assert load_manifest(ROOT / "functions.yaml").functions[FUNCTION].pulls == ARCHIVED
