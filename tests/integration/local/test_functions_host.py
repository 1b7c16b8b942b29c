"""Functions are served as the framework serves them, and reached by pushes of the real emulator."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from local.dead_lettering import allowed_time_s
from local.emulators import EmulatorHosts
from local.environment import ROOT, process_environment
from local.ports import free_ports
from local.provision import provision_messaging
from shared.manifest import MessageRetry, load_manifest
from tests.eventually import eventually
from tests.integration.local.conftest import ask, ask_json, recorded


@pytest.fixture
def functions_url(start: Callable[..., str], emulators: EmulatorHosts, hosted_functions: Path) -> str:
    """The hosted functions, served."""
    return start(
        "functions",
        *("-m", "local.functions_host", "--port", "{port}"),
        *("--manifest", hosted_functions / "functions.yaml"),
        *("--source", hosted_functions / "main.py"),
        ready="/ready",
        environment={"PUBSUB_EMULATOR_HOST": emulators.pubsub},
    )


@pytest.fixture
def project_id(emulators: EmulatorHosts, functions_url: str, hosted_functions: Path) -> str:
    """A project whose messages are pushed to the hosted functions."""
    project = f"test-{uuid.uuid4().hex[:12]}"
    manifest = load_manifest(hosted_functions / "functions.yaml")
    provision_messaging(manifest, project=project, pubsub_host=emulators.pubsub, push_base_url=functions_url)
    return project


def publish(emulators: EmulatorHosts, project: str, topic: str, text: str, *, ordering_key: str = "") -> None:
    """Publish one message."""
    message = {"data": base64.b64encode(text.encode()).decode(), "orderingKey": ordering_key}
    url = f"http://{emulators.pubsub}/v1/projects/{project}/topics/{topic}:publish"
    ask_json(url, {"messages": [message]})


def test_pushes_reach_functions(emulators: EmulatorHosts, project_id: str, hosted_functions: Path) -> None:
    publish(emulators, project_id, "tests.orders.v1", "buy 1")
    assert eventually(lambda: recorded(hosted_functions, "recorded")) == [
        {"source": f"//pubsub.googleapis.com/projects/{project_id}/topics/tests.orders.v1", "data": "buy 1"}
    ]


@pytest.mark.parametrize("topic", ["tests.refused.v1", "tests.unordered.v1"])
def test_what_fails_becomes_a_dead_letter_and_stops_nothing_behind_it(
    emulators: EmulatorHosts, project_id: str, hosted_functions: Path, topic: str
) -> None:
    publish(emulators, project_id, topic, "refuse 1", ordering_key="0x51")
    publish(emulators, project_id, topic, "take 2", ordering_key="0x51")
    (dead,) = eventually(lambda: recorded(hosted_functions, "dead_letters"), within_s=40)
    assert dead["data"] == "refuse 1"
    assert dead["path"] == f"/projects/{project_id}/topics/{topic}.dead"
    assert dead["subscription"].endswith(f"/record_dead_letter--{topic}.dead")
    assert dead["attributes"]["CloudPubSubDeadLetterSourceSubscription"] == f"refuse--{topic}"
    # It was tried as often as the manifest says, and no more.
    assert dead["attributes"]["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    assert recorded(hosted_functions, "refused") == ["refuse 1"] * 5
    assert eventually(lambda: recorded(hosted_functions, "taken")) == ["take 2"]


def test_production_tries_for_longer_than_the_emulators_attempts_last() -> None:
    # 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60 + 60
    assert allowed_time_s(MessageRetry(1, 60, 10)) == 243
    assert allowed_time_s(MessageRetry(1, 60, 1)) == 0


def test_a_function_is_called_at_its_path_without_a_redirect(
    functions_url: str, hosted_functions: Path
) -> None:
    for path in ("/functions/tick", "/functions/tick/", "/functions/tick/projects/p/topics/t"):
        ask(functions_url + path, b"body")
    assert len(recorded(hosted_functions, "ticked")) == 3
    status, body = ask(f"{functions_url}/functions/tock/", b"")
    assert (status, body) == (404, b"no function is called 'tock'\n")
    assert ask(functions_url)[0] == 404


def test_a_function_with_all_its_instances_in_hand_answers_429(
    functions_url: str, hosted_functions: Path
) -> None:
    answers: list[tuple[int, bytes]] = []
    first = threading.Thread(target=lambda: answers.append(ask(f"{functions_url}/functions/hold/")))
    first.start()
    eventually((hosted_functions / "held").exists)
    assert ask(f"{functions_url}/functions/hold/") == (429, b"Rate exceeded.\n")
    # The others are not held up by it.
    ask(f"{functions_url}/functions/tick/")
    assert ask(f"{functions_url}/functions/tick/")[0] == 200
    (hosted_functions / "let_go").touch()
    first.join(10)
    assert answers == [(200, b"let go")]
    assert ask(f"{functions_url}/functions/hold/")[0] == 200


def test_the_deployed_functions_refuse_to_start_without_their_settings() -> None:
    (port,) = free_ports(1)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "local.functions_host", "--port", str(port)),
            *("--manifest", str(ROOT / "functions.yaml"), "--source", str(ROOT / "main.py")),
        ],
        env=process_environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "FUSION_ENVIRONMENT is not set" in ended.stderr
