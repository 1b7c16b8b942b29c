"""Topics, subscriptions and tables come from the manifest alone."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from local.emulators import EmulatorHosts
from local.provision import provision_messaging, provision_warehouse
from shared.manifest import Manifest, load_manifest
from tests.conftest import ROOT
from tests.integration.local.conftest import ask_json

BASE_URL = "http://127.0.0.1:9"


@pytest.fixture
def small(hosted_functions: Path) -> Manifest:
    """The hosted functions' manifest."""
    return load_manifest(hosted_functions / "functions.yaml")


@pytest.fixture
def project_id() -> str:
    """A project that nothing is in."""
    return f"test-{uuid.uuid4().hex[:12]}"


def subscriptions(emulators: EmulatorHosts, project: str) -> dict[str, dict[str, Any]]:
    """Every subscription of a project by its id."""
    answer = ask_json(f"http://{emulators.pubsub}/v1/projects/{project}/subscriptions?pageSize=500")
    return {each["name"].rpartition("/")[2]: each for each in answer.get("subscriptions", [])}


def topics(emulators: EmulatorHosts, project: str) -> set[str]:
    """The ids of a project's topics."""
    answer = ask_json(f"http://{emulators.pubsub}/v1/projects/{project}/topics?pageSize=500")
    return {each["name"].rpartition("/")[2] for each in answer["topics"]}


def test_messaging_is_created_as_written(emulators: EmulatorHosts, small: Manifest, project_id: str) -> None:
    provision_messaging(small, project=project_id, pubsub_host=emulators.pubsub, push_base_url=BASE_URL)
    assert topics(emulators, project_id) == {
        "tests.orders.v1",
        "tests.orders.v1.dead",
        "tests.refused.v1",
        "tests.refused.v1.dead",
        "tests.unordered.v1",
        "tests.unordered.v1.dead",
    }
    found = subscriptions(emulators, project_id)
    assert set(found) == {
        "record--tests.orders.v1",
        "record--tests.refused.v1",
        "refuse--tests.refused.v1",
        "refuse--tests.unordered.v1",
        "record_dead_letter--tests.unordered.v1.dead",
        "record_dead_letter--tests.orders.v1.dead",
        "record_dead_letter--tests.refused.v1.dead",
    }
    pushed = found["record--tests.orders.v1"]
    assert pushed["topic"] == f"projects/{project_id}/topics/tests.orders.v1"
    assert pushed["pushConfig"]["pushEndpoint"] == (
        f"{BASE_URL}/functions/record/projects/{project_id}/topics/tests.orders.v1"
    )
    assert pushed["ackDeadlineSeconds"] == 30
    # Without an ordering key nothing waits for what came before it.
    assert not pushed.get("enableMessageOrdering")
    pulled = found["record--tests.refused.v1"]
    assert not pulled.get("pushConfig")
    # Whoever pulls in batches does not ask for order.
    assert not pulled.get("enableMessageOrdering")
    assert found["refuse--tests.refused.v1"]["enableMessageOrdering"] is True
    # The emulator loses messages of subscriptions with either: the functions' host applies the policy.
    assert not any("retryPolicy" in each or "deadLetterPolicy" in each for each in found.values())


def test_everything_may_be_created_again(emulators: EmulatorHosts, small: Manifest, project_id: str) -> None:
    for _ in range(2):
        provision_messaging(small, project=project_id, pubsub_host=emulators.pubsub, push_base_url=BASE_URL)
        provision_warehouse(small, project=project_id, bigquery_url=emulators.bigquery, dataset="tests")
    assert len(subscriptions(emulators, project_id)) == 7


def test_without_a_place_to_push_to_only_pulls_are_created(
    emulators: EmulatorHosts, small: Manifest, project_id: str
) -> None:
    provision_messaging(small, project=project_id, pubsub_host=emulators.pubsub, push_base_url=None)
    assert set(subscriptions(emulators, project_id)) == {"record--tests.refused.v1"}


def test_tables_are_partitioned_and_clustered(
    emulators: EmulatorHosts, small: Manifest, project_id: str
) -> None:
    provision_warehouse(small, project=project_id, bigquery_url=emulators.bigquery, dataset="tests")
    table = ask_json(f"{emulators.bigquery}/bigquery/v2/projects/{project_id}/datasets/tests/tables/orders")
    assert table["description"] == "What was ordered."
    assert table["timePartitioning"]["field"] == "ordered_at"
    assert table["timePartitioning"]["type"] == "DAY"
    assert table["clustering"] == {"fields": ["account"]}
    assert [(each["name"], each["type"], each["mode"]) for each in table["schema"]["fields"]] == [
        ("account", "STRING", "REQUIRED"),
        ("ordered_at", "TIMESTAMP", "REQUIRED"),
        ("amount", "NUMERIC", "NULLABLE"),
    ]


def test_the_deployed_manifest_is_created_whole(emulators: EmulatorHosts, project_id: str) -> None:
    manifest = load_manifest(ROOT / "functions.yaml")
    provision_messaging(manifest, project=project_id, pubsub_host=emulators.pubsub, push_base_url=BASE_URL)
    provision_warehouse(manifest, project=project_id, bigquery_url=emulators.bigquery, dataset="fusion")
    assert topics(emulators, project_id) == {
        name for topic in manifest.topics for name in (topic, f"{topic}.dead")
    }
    # Each pushed or pulled topic of each function, and each dead-letter topic once.
    expected = sum(len(each.topics) + len(each.pulls) for each in manifest.functions.values())
    assert len(subscriptions(emulators, project_id)) == expected + len(manifest.topics)
    listed = ask_json(f"{emulators.bigquery}/bigquery/v2/projects/{project_id}/datasets/fusion/tables")
    assert {each["tableReference"]["tableId"] for each in listed["tables"]} == {
        *manifest.warehouse.tables,
        *manifest.warehouse.views,
    }
