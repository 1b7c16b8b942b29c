"""Every function refuses to start without each setting it needs, and with settings that contradict.

Through the Functions Framework's ``create_app``, as a process starts; once through its command as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import functions_framework
import pytest

import main
from local.emulators import base_environment
from local.ports import free_ports
from shared.config import BASE, EMULATOR_HOSTS, SPECS
from shared.errors import ConfigurationError
from shared.manifest import load_manifest
from tests.conftest import ROOT, network_document

FUNCTIONS = load_manifest(ROOT / "functions.yaml").functions
REQUIRED = [
    (function.name, setting)
    for function in FUNCTIONS.values()
    for setting in (*BASE, *function.settings, *(EMULATOR_HOSTS[service] for service in function.uses))
]
MALFORMED = {
    "FUSION_ENVIRONMENT": "moon",
    "GOOGLE_CLOUD_PROJECT": " ",
    "LOG_LEVEL": "LOUD",
    "FIRESTORE_EMULATOR_HOST": "localhost",
    "PUBSUB_EMULATOR_HOST": "localhost:",
    "BIGQUERY_EMULATOR_HOST": ":9050",
    "BIGQUERY_DATASET": "",
    "NETWORK_FILE": "/nowhere/network.json",
    "RPC_URLS": "31337=ftp://127.0.0.1",
    "NEW_HEADS_URLS": "31337=http://127.0.0.1",
    "HERMES_URLS": "ftp://127.0.0.1",
    "HERMES_API_KEY": "two words",
    "PRICE_INTERVAL_S": "0",
    "WEBHOOK_INTERVAL_S": "never",
    "WEBHOOK_LOCAL_NETWORKS": "localhost",
    "RELAY_INTERVAL_S": "-1",
    "SWEEP_INTERVAL_S": "soon",
    "ARCHIVE_INTERVAL_S": "NaN",
    "MARGIN_SHARDS": "3",
    "RISK_BLOCK_ACCOUNTS": "1e4",
    "WINDOW_S": "Infinity",
    "SIGNER_KEYS": "local:",
    "FEE_CAPS": "31337=5",
    "FOLLOW_INTERVAL_S": "-2",
    "RESEND_AFTER_S": "later",
    "SMTP_URL": "http://127.0.0.1:25",
    "MAIL_FROM": "nobody",
}
DEPLOYED = {"K_SERVICE": "evaluate-margin"}
# What create_app leaves in the environment, and would take for the next function's.
FRAMEWORK_VARIABLES = ("FUNCTION_TARGET", "FUNCTION_SIGNATURE_TYPE", "FUNCTION_SOURCE")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A whole environment: what a process would need to start. Nothing is there that it could talk to."""
    network = tmp_path / "network.json"
    network.write_text(json.dumps(network_document()))
    values = {name: spec.example for name, spec in SPECS.items()} | {"NETWORK_FILE": str(network)}
    for name in (*FRAMEWORK_VARIABLES, "K_SERVICE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def _set(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def _start(function: str) -> None:
    for name in FRAMEWORK_VARIABLES:
        os.environ.pop(name, None)
    functions_framework.create_app(target=function, source=str(ROOT / "main.py"))  # type: ignore[no-untyped-call]


def _refusal(function: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        _start(function)
    return str(refused.value)


def test_a_function_that_is_not_deployed_is_named_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no function is called 'evaluate_everything'.*evaluate_margin"):
        main.evaluate_everything  # noqa: B018


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_with_its_settings(function: str) -> None:
    _start(function)


@pytest.mark.parametrize(("function", "setting"), REQUIRED)
def test_a_function_without_one_of_its_settings_does_not_start_and_names_it(
    monkeypatch: pytest.MonkeyPatch, function: str, setting: str
) -> None:
    monkeypatch.delenv(setting)
    assert f"{setting} is not set" in _refusal(function)


@pytest.mark.parametrize(("function", "setting"), REQUIRED)
def test_a_function_with_one_of_its_settings_malformed_does_not_start_and_names_it(
    monkeypatch: pytest.MonkeyPatch, function: str, setting: str
) -> None:
    monkeypatch.setenv(setting, MALFORMED[setting])
    refusal = _refusal(function)
    assert setting in refusal
    # A connection's password must not reach the log.
    if setting in ("RPC_URLS", "SMTP_URL"):
        assert MALFORMED[setting] not in refusal


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_problem_is_named_at_once(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    needed = [setting for name, setting in REQUIRED if name == function]
    for setting in needed:
        if setting != "FUSION_ENVIRONMENT":
            monkeypatch.delenv(setting)
    refusal = _refusal(function)
    assert all(setting in refusal for setting in needed if setting != "FUSION_ENVIRONMENT")


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", ["local", "test", "staging", "production"])
def test_an_emulator_in_a_deployed_service_is_refused(
    monkeypatch: pytest.MonkeyPatch, function: str, name: str
) -> None:
    _set(monkeypatch, FUSION_ENVIRONMENT=name, **DEPLOYED)
    refusal = _refusal(function)
    assert "set in a deployed service (K_SERVICE=evaluate-margin)" in refusal
    assert any(host in refusal for host in EMULATOR_HOSTS.values())


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", ["staging", "production"])
def test_an_emulator_in_a_deployed_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, function: str, name: str
) -> None:
    _set(monkeypatch, FUSION_ENVIRONMENT=name)
    assert f"set while FUSION_ENVIRONMENT is {name}" in _refusal(function)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", ["local", "test"])
def test_a_deployed_service_in_a_local_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, function: str, name: str
) -> None:
    _set(monkeypatch, FUSION_ENVIRONMENT=name, **DEPLOYED)
    for host in EMULATOR_HOSTS.values():
        monkeypatch.delenv(host)
    refusal = _refusal(function)
    assert f"FUSION_ENVIRONMENT is {name} in a deployed service" in refusal


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_that_is_deployed_starts_without_emulators(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    _set(monkeypatch, FUSION_ENVIRONMENT="production", **DEPLOYED)
    for host in EMULATOR_HOSTS.values():
        monkeypatch.delenv(host)
    _start(function)


NETWORK_FUNCTIONS = [name for name, function in FUNCTIONS.items() if "NETWORK_FILE" in function.settings]


@pytest.mark.parametrize("function", NETWORK_FUNCTIONS)
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "document is not JSON"),
        ("[]", "document must be an object"),
        ("{}", "margin_policy is missing"),
        (json.dumps(network_document() | {"moon": 1}), "moon is not known"),
        (json.dumps(network_document() | {"tick_max_age_s": 0}), "tick_max_age_s must be an integer"),
        (json.dumps(network_document() | {"chains": []}), "chains must be a non-empty list"),
    ],
)
def test_a_network_description_that_is_wrong_is_refused_with_the_field_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, function: str, text: str, complaint: str
) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    _set(monkeypatch, NETWORK_FILE=str(path))
    refusal = _refusal(function)
    assert f"NETWORK_FILE {path}" in refusal
    assert complaint in refusal


@pytest.mark.parametrize(
    "function", [name for name in NETWORK_FUNCTIONS if "RPC_URLS" in FUNCTIONS[name].settings]
)
def test_a_chain_without_a_node_is_refused_and_named(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    _set(monkeypatch, RPC_URLS="1=http://127.0.0.1:8545")
    assert "RPC_URLS has no URL for chain 31337 of NETWORK_FILE" in _refusal(function)


def _command(function: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (port,) = free_ports(1)
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("functions-framework")),
            f"--target={function}",
            f"--source={ROOT / 'main.py'}",
            "--host=127.0.0.1",
            f"--port={port}",
        ],
        env=base_environment() | environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_process_ends_before_it_listens_and_says_why(environment: dict[str, str]) -> None:
    without_relay = {name: value for name, value in environment.items() if name != "SMTP_URL"}
    ended = _command("notify", without_relay)
    assert ended.returncode != 0
    assert "SMTP_URL is not set. The mail relay." in ended.stderr
    assert "Listening" not in ended.stderr

    ended = _command("evaluate_margin", environment | DEPLOYED)
    assert ended.returncode != 0
    assert "unset it, an emulator loses every record" in ended.stderr
