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

from local.emulators import EmulatorHosts
from local.environment import ROOT, process_environment
from local.ports import free_ports
from local.provision import provision_messaging
from shared.manifest import load_manifest
from tests.integration.local.conftest import ask, ask_json, eventually, recorded


@pytest.fixture
def functions_url(start: Callable[..., str], hosted_functions: Path) -> str:
    """The hosted functions, served."""
    return start(
        "functions",
        *("-m", "local.functions_host", "--port", "{port}"),
        *("--manifest", hosted_functions / "functions.yaml"),
        *("--source", hosted_functions / "main.py"),
        ready="/ready",
    )


def publish(emulators: EmulatorHosts, project: str, topic: str, text: str) -> None:
    """Publish one message."""
    message = {"data": base64.b64encode(text.encode()).decode(), "attributes": {"by": "test"}}
    url = f"http://{emulators.pubsub}/v1/projects/{project}/topics/{topic}:publish"
    ask_json(url, {"messages": [message]})


def test_pushes_reach_functions_and_what_fails_becomes_a_dead_letter(
    emulators: EmulatorHosts, functions_url: str, hosted_functions: Path
) -> None:
    project = f"test-{uuid.uuid4().hex[:12]}"
    manifest = load_manifest(hosted_functions / "functions.yaml")
    provision_messaging(manifest, project=project, pubsub_host=emulators.pubsub, push_base_url=functions_url)

    publish(emulators, project, "tests.orders.v1", "buy 1")
    publish(emulators, project, "tests.refused.v1", "sell 1")

    eventually(lambda: recorded(hosted_functions, "recorded"))
    assert recorded(hosted_functions, "recorded") == [
        {"source": f"//pubsub.googleapis.com/projects/{project}/topics/tests.orders.v1", "data": "buy 1"}
    ]
    (dead,) = eventually(lambda: recorded(hosted_functions, "dead_letters"))
    assert dead["data"] == "sell 1"
    assert dead["path"] == f"/projects/{project}/topics/tests.refused.v1.dead"
    assert dead["subscription"].endswith("/record_dead_letter--tests.refused.v1.dead")
    # It was tried as often as the manifest says, and no more.
    assert len(recorded(hosted_functions, "refused")) == 5


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
