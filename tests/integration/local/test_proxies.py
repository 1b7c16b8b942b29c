"""The proxies of chaos runs disturb as much as they are told, and the same for the same seed."""

from __future__ import annotations

import http.client
import json
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.emulators import EmulatorHosts
from local.fault_proxy import FAULTS
from tests.eventually import eventually
from tests.integration.local.conftest import ask, ask_json, recorded

CHAIN_ID = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}


@pytest.fixture
def chain_proxy(start: Callable[..., str], emulators: EmulatorHosts) -> Callable[[str, int], str]:
    """Starts a proxy before the chain node."""

    def begin(name: str, seed: int) -> str:
        words = ("-m", "local.fault_proxy", "--port", "{port}", "--upstream", emulators.rpc, "--seed", seed)
        return start(name, *words, ready="/control")

    return begin


def outcome(url: str) -> str:
    """What became of one call through the proxy."""
    try:
        status, body = ask(url, json.dumps(CHAIN_ID).encode(), headers={"Content-Type": "application/json"})
    except (urllib.error.URLError, ConnectionError, http.client.HTTPException):
        return "broken"
    if status != 200:
        return str(status)
    try:
        return str(json.loads(body)["result"])
    except ValueError:
        return "malformed"


def test_a_still_proxy_passes_everything_on(chain_proxy: Callable[[str, int], str]) -> None:
    url = chain_proxy("proxy", 1)
    assert {outcome(url) for _ in range(20)} == {"0x7a69"}
    assert ask_json(f"{url}/control")["counts"] == {"requests": 20}


def test_the_fraction_that_is_asked_for_fails_in_every_way(chain_proxy: Callable[[str, int], str]) -> None:
    url = chain_proxy("proxy", 1)
    ask_json(f"{url}/control", {"failing_fraction": 0.5, "hold_s": 0.01}, method="PUT")
    outcomes = [outcome(url) for _ in range(200)]
    counts = ask_json(f"{url}/control")["counts"]
    assert set(outcomes) == {"0x7a69", "500", "429", "broken", "malformed"}
    failed = len(outcomes) - outcomes.count("0x7a69")
    # Five standard deviations of a fair coin.
    assert 65 <= failed <= 135
    assert sum(counts[fault] for fault in FAULTS) == failed
    assert counts["reset"] + counts["timeout"] == outcomes.count("broken")


def test_the_same_seed_does_the_same(chain_proxy: Callable[[str, int], str]) -> None:
    seen = []
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        url = chain_proxy(name, seed)
        ask_json(f"{url}/control", {"failing_fraction": 0.5, "hold_s": 0.01}, method="PUT")
        seen.append([outcome(url) for _ in range(40)])
    assert seen[0] == seen[1] != seen[2]


def test_a_node_that_is_down_answers_502(start: Callable[..., str]) -> None:
    words = ("-m", "local.fault_proxy", "--port", "{port}", "--upstream", "http://127.0.0.1:9", "--seed", 1)
    assert outcome(start("proxy", *words, ready="/control")) == "502"


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"failing": 1}, "failing"), ({"hold_s": -1}, "hold_s"), ({"hold_s": "1"}, "hold_s")],
)
def test_settings_that_make_no_sense_are_refused(
    chain_proxy: Callable[[str, int], str], settings: dict[str, Any], named: str
) -> None:
    url = chain_proxy("proxy", 1)
    status, body = ask(f"{url}/control", json.dumps(settings).encode(), method="PUT")
    assert status == 422
    assert named in json.loads(body)["error"]


@pytest.fixture
def disturber(start: Callable[..., str], hosted_functions: Path) -> str:
    """A proxy before the hosted functions."""
    functions = start(
        "functions",
        *(
            "-m",
            "local.functions_host",
            "--port",
            "{port}",
            "--manifest",
            hosted_functions / "functions.yaml",
        ),
        *("--source", hosted_functions / "main.py"),
        ready="/ready",
    )
    words = ("-m", "local.delivery_disturber", "--port", "{port}", "--upstream", functions, "--seed", 3)
    return start("disturber", *words, ready="/control")


def push(url: str, number: int) -> int:
    """Push one message; the status."""
    message = {
        "messageId": str(number),
        "publishTime": "2026-03-01T00:00:00Z",
        "data": "eA==",
        "attributes": {},
    }
    body = json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()
    path = "/functions/record/projects/p/topics/tests.orders.v1"
    return ask(url + path, body, headers={"Content-Type": "application/json"})[0]


def test_messages_are_delivered_twice_and_late(disturber: str, hosted_functions: Path) -> None:
    ask_json(
        f"{disturber}/control",
        {"duplicate_fraction": 0.5, "delay_fraction": 0.5, "max_delay_s": 0.05},
        method="PUT",
    )
    assert [push(disturber, number) for number in range(30)] == [200] * 30
    counts = ask_json(f"{disturber}/control")["counts"]
    assert counts["deliveries"] == 30
    assert 0 < counts["duplicate"] < 30
    assert 0 < counts["delay"] < 30
    eventually(lambda: len(recorded(hosted_functions, "recorded")) == 30 + counts["duplicate"])


def test_a_lost_acknowledgement_looks_like_a_failure(disturber: str, hosted_functions: Path) -> None:
    ask_json(f"{disturber}/control", {"lost_ack_fraction": 1}, method="PUT")
    assert push(disturber, 1) == 503
    # The function has done its work all the same.
    assert len(recorded(hosted_functions, "recorded")) == 1
    ask_json(f"{disturber}/control", {"lost_ack_fraction": 0}, method="PUT")
    assert push(disturber, 1) == 200
