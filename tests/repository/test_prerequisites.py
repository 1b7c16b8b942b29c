"""What is missing on a machine is told in one line each, with the command that installs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from local.prerequisites import FIRESTORE_JAR, missing
from tests.conftest import ROOT


def program(folder: Path, name: str, prints: str) -> None:
    """Put a program into a folder that prints something, as ``--version`` would."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{prints}'\n")
    file.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that has everything but the emulators of this machine's own SDK."""
    programs, sdk = tmp_path / "bin", tmp_path / "sdk"
    program(programs, "node", "v20.1.0")
    program(programs, "npm", "10.2.3")
    program(programs, "java", 'openjdk version "17.0.15" 2025-04-15')
    for jar in (FIRESTORE_JAR, "platform/pubsub-emulator/lib/cloud-pubsub-emulator-0.8.20-all.jar"):
        (sdk / jar).parent.mkdir(parents=True)
        (sdk / jar).touch()
    return {"PATH": str(programs), "HOME": str(tmp_path), "CLOUDSDK_ROOT": str(sdk)}


def test_nothing_is_told_when_nothing_is_missing(machine: dict[str, str]) -> None:
    assert missing(machine) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("node", "Node.js 20 or newer is needed, it is not installed: sudo apt-get install nodejs npm"),
        ("npm", "npm is not installed: sudo apt-get install npm"),
        (
            "java",
            "Java 17 or newer is needed, it is not installed: sudo apt-get install openjdk-17-jre-headless",
        ),
    ],
)
def test_a_program_that_is_missing_is_named(machine: dict[str, str], name: str, line: str) -> None:
    (Path(machine["PATH"]) / name).unlink()
    (told,) = missing(machine)
    assert told.startswith(line)


@pytest.mark.parametrize(
    ("name", "prints", "line"),
    [
        ("node", "v18.19.1", "Node.js 20 or newer is needed, version 18 is too old"),
        ("java", 'openjdk version "11.0.2"', "Java 17 or newer is needed, version 11 is too old"),
    ],
)
def test_a_program_that_is_too_old_is_named(
    machine: dict[str, str], name: str, prints: str, line: str
) -> None:
    program(Path(machine["PATH"]), name, prints)
    (told,) = missing(machine)
    assert told.startswith(line)


def test_the_command_ends_with_1_and_needs_nothing_installed(tmp_path: Path) -> None:
    # -S leaves out site-packages: it must run before there is a virtual environment.
    ended = subprocess.run(
        [sys.executable, "-S", "-m", "local.prerequisites"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert [line.split()[0] for line in lines][:3] == ["Node.js", "npm", "Java"]
    assert all(": sudo apt-get install" in line or "gcloud components install" in line for line in lines)


def test_this_machine_has_everything() -> None:
    ended = subprocess.run(
        [sys.executable, "-S", "-m", "local.prerequisites"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
