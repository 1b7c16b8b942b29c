"""The whole platform through its public doors: a story is played, asserted, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.eventually import eventually


def start_smoke(*options: str) -> subprocess.Popen[str]:
    """The smoke test as `make smoke` starts it, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "local.smoke", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'graphql'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def state_folder_of(smoke: subprocess.Popen[str]) -> Path:
    """Where a smoke test keeps its logs."""
    return ROOT / ".state" / f"smoke-{smoke.pid}"


def processes_of(folder: Path) -> list[str]:
    """Processes that were started with something in a state folder, or in it."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            if str(folder) in words or process.cwd() == str(folder):
                found.append(words)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


@pytest.mark.parametrize(("scenario", "shards"), [("crash", "4"), ("outage", "1")])
def test_story_holds_and_leaves_nothing_behind(scenario: str, shards: str) -> None:
    """Prices fall on a book in shards, or a feed breaks: what must come of it comes of it, and every process
    is gone."""
    smoke = start_smoke("--accounts", "25", "--scenario", scenario, "--shards", shards, "--no-latency-limit")
    output, errors = smoke.communicate(timeout=480)
    summary = json.loads(output.splitlines()[-1])
    assert summary["violations"] == [], errors
    assert smoke.returncode == 0
    assert processes_of(state_folder_of(smoke)) == []


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_story_leaves_no_process(interruption: signal.Signals) -> None:
    """An interruption while everything runs ends every process, even where nothing could clean up."""
    smoke = start_smoke("--accounts", "10", "--scenario", "calm")
    folder = state_folder_of(smoke)
    eventually((folder / "gateway.log").exists, within_s=60)
    assert processes_of(folder) != []
    smoke.send_signal(interruption)
    smoke.communicate(timeout=60)
    assert smoke.returncode != 0
    eventually(lambda: processes_of(folder) == [], within_s=15)


def test_unknown_story_is_refused_by_name() -> None:
    """A typo ends at once, and says which stories there are."""
    smoke = start_smoke("--scenario", "crsh")
    _, errors = smoke.communicate(timeout=60)
    assert smoke.returncode == 1
    assert "'crsh'" in errors
    assert "crash" in errors
