"""The process refuses to listen with a setting missing or contradictory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gateway.settings import MANIFEST
from shared.config import BASE, EMULATOR_HOSTS
from shared.manifest import load_manifest
from tests.conftest import ROOT, Project

DECLARED = load_manifest(MANIFEST).gateway
REQUIRED = [*BASE, *DECLARED.settings, *(EMULATOR_HOSTS[service] for service in DECLARED.uses)]


def start(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start the gateway as a process; it must end by itself."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "graphql")))
    return subprocess.run(
        [sys.executable, "-m", "gateway", "--port", "0"],
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_setting_is_named(project: Project, name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != name}
    ended = start(environment)
    assert ended.returncode == 1
    assert f"{name} is not set" in ended.stderr


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"K_SERVICE": "gateway"}, "K_SERVICE"),
        ({"FUSION_ENVIRONMENT": "production"}, "FIRESTORE_EMULATOR_HOST"),
        ({"NETWORK_FILE": str(MANIFEST)}, "NETWORK_FILE"),
    ],
)
def test_a_contradictory_setting_is_named(project: Project, changes: dict[str, str], named: str) -> None:
    ended = start({**os.environ, **changes})
    assert ended.returncode == 1
    assert named in ended.stderr
