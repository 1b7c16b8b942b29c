"""What must be on the machine before anything can be installed, checked with the standard library alone.

``python3 -m local.prerequisites`` prints one line for each thing that is missing, what and the command that
installs it, and ends with 1; with 0 and no output when nothing is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PYTHON = (3, 11)
NODE = 20
JAVA = 17

FIRESTORE_JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
PUBSUB_JARS = "platform/pubsub-emulator/lib/*-all.jar"


class PrerequisiteError(Exception):
    """Something that must be on the machine is not; the message says what and how to install it."""


@dataclass(frozen=True)
class EmulatorJars:
    """The Java archives of Google's emulators."""

    firestore: Path
    pubsub: Path


def sdk_roots(environ: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Where the Google Cloud CLI may be, most specific first: environment, ``gcloud`` on PATH, usual places.

    Sources: the installers of the archive, of Debian's and of Fedora's package, of snap and of Homebrew.
    """
    source = os.environ if environ is None else environ
    for variable in ("CLOUDSDK_ROOT", "CLOUDSDK_ROOT_DIR", "CLOUDSDK_HOME"):
        if source.get(variable):
            yield Path(source[variable])
    gcloud = shutil.which("gcloud", path=source.get("PATH"))
    if gcloud:
        yield Path(gcloud).resolve().parent.parent
    home = Path(source.get("HOME", "/"))
    yield home / "google-cloud-sdk"
    yield Path("/usr/lib/google-cloud-sdk")
    yield Path("/usr/lib64/google-cloud-sdk")
    yield Path("/usr/share/google-cloud-sdk")
    yield Path("/opt/google-cloud-sdk")
    yield Path("/snap/google-cloud-cli/current")
    yield Path("/opt/homebrew/share/google-cloud-sdk")
    yield Path("/usr/local/share/google-cloud-sdk")


def find_jar(pattern: str, environ: Mapping[str, str] | None = None) -> Path | None:
    """The newest file of this pattern below an installed Google Cloud CLI, or None."""
    for root in sdk_roots(environ):
        found = sorted(root.glob(pattern))
        if found:
            return found[-1]
    return None


def emulator_jars() -> EmulatorJars:
    """Google's emulators.

    Raises:
        PrerequisiteError: one of them is not installed.
    """
    firestore, pubsub = find_jar(FIRESTORE_JAR), find_jar(PUBSUB_JARS)
    if firestore is None:
        raise PrerequisiteError(_emulator_line("Firestore", "firestore"))
    if pubsub is None:
        raise PrerequisiteError(_emulator_line("Pub/Sub", "pubsub"))
    return EmulatorJars(firestore, pubsub)


def missing(environ: Mapping[str, str] | None = None) -> list[str]:
    """One line for each thing that is missing or too old."""
    source = os.environ if environ is None else environ
    path = source.get("PATH")
    lines = [
        _python_line(sys.version_info[:2]),
        _version_line(
            "Node.js", NODE, _version("node", "--version", path), "nodejs npm", "https://nodejs.org"
        ),
        None if shutil.which("npm", path=path) else "npm is not installed: sudo apt-get install npm",
        _version_line(
            "Java",
            JAVA,
            _version("java", "-version", path),
            "openjdk-17-jre-headless",
            "https://adoptium.net",
        ),
        None if find_jar(FIRESTORE_JAR, source) else _emulator_line("Firestore", "firestore"),
        None if find_jar(PUBSUB_JARS, source) else _emulator_line("Pub/Sub", "pubsub"),
    ]
    return [line for line in lines if line]


def _python_line(version: tuple[int, ...]) -> str | None:
    if version >= PYTHON:
        return None
    return (
        f"Python {'.'.join(map(str, PYTHON))} or newer is needed, {sys.executable} is "
        f"{'.'.join(map(str, version))}: sudo apt-get install python3.11 python3.11-venv, "
        "then make PYTHON=python3.11"
    )


def _version(command: str, option: str, path: str | None) -> int | None:
    """A program's major version, or None where it is not installed."""
    program = shutil.which(command, path=path)
    if program is None:
        return None
    printed = subprocess.run([program, option], capture_output=True, text=True, check=False)
    number = re.search(r"\d+", printed.stdout + printed.stderr)
    return int(number.group()) if number else 0


def _version_line(name: str, needed: int, found: int | None, package: str, site: str) -> str | None:
    if found is not None and found >= needed:
        return None
    state = "it is not installed" if found is None else f"version {found} is too old"
    return f"{name} {needed} or newer is needed, {state}: sudo apt-get install {package} (or see {site})"


def _emulator_line(name: str, component: str) -> str:
    package = f"google-cloud-cli-{component}-emulator"
    gcloud = "cloud-firestore-emulator" if component == "firestore" else "pubsub-emulator"
    return (
        f"Google's {name} emulator is not installed: gcloud components install {gcloud} "
        f"(or, with Google's Debian packages, sudo apt-get install {package})"
    )


def main() -> int:
    """Print what is missing; 1 if anything is."""
    lines = missing()
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
