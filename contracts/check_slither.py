"""Runs Slither over every deployed contract and fails on any finding that SLITHER.md does not answer.

Standard library only: it runs in Slither's own environment (``make slither``), which shares nothing with the
project's. The contracts are compiled first by the forge of ``node_modules``, so nothing needs the network.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).parent
FORGE = CONTRACTS / "node_modules" / "@foundry-rs" / "forge-linux-amd64" / "bin"
WORK = CONTRACTS / "cache" / "slither"
# What production never runs: others' libraries, tests, the deployment script, development's contracts.
OUT_OF_SCOPE = "node_modules|test/|script/|src/mocks"
_ANSWER = re.compile(r"^\| `([a-z0-9-]+)` \| `([^`]+)` \|", re.MULTILINE)


def findings() -> set[tuple[str, str]]:
    """(detector, place) of every finding in the contracts that are deployed.

    Raises:
        RuntimeError: forge or Slither failed; says what it said.
    """
    environment = {**os.environ, "PATH": f"{FORGE}{os.pathsep}{os.environ['PATH']}"}
    # make exports the project's own, which is not this environment's.
    environment.pop("PYTHONPATH", None)
    out, report = WORK / "out", WORK / "report.json"
    report.unlink(missing_ok=True)
    places = {"--out": out, "--cache-path": WORK / "cache", "--build-info-path": out / "build-info"}
    options = [str(part) for option in places.items() for part in option]
    _run(["forge", "build", "--skip", "test", "--build-info", "--force", *options], environment)
    slither = str(Path(sys.executable).parent / "slither")
    options = ["--foundry-out-directory", str(out.relative_to(CONTRACTS)), "--json", str(report)]
    _run(
        [slither, ".", "--ignore-compile", "--fail-none", "--filter-paths", OUT_OF_SCOPE, *options],
        environment,
    )
    detectors = json.loads(report.read_text(encoding="utf-8"))["results"].get("detectors", [])
    return {(detector["check"], _place(detector["elements"][0])) for detector in detectors}


def _place(element: dict[str, Any]) -> str:
    """Where a finding is: ``Contract.function(types)``, ``Contract.variable``, ``Interface.Event(types)``."""
    fields = element.get("type_specific_fields", {})
    name = str(fields.get("signature", element["name"]))
    parent = fields.get("parent")
    return name if parent is None else f"{_place(parent)}.{name}"


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 our own tools
        command, cwd=CONTRACTS, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def main() -> int:
    """0 if the findings are exactly those that SLITHER.md answers."""
    found = findings()
    answered = set(_ANSWER.findall((CONTRACTS / "SLITHER.md").read_text(encoding="utf-8")))
    lines = [f"not answered: {check} in {place}" for check, place in sorted(found - answered)]
    lines += [
        f"answered, but no longer found: {check} in {place}" for check, place in sorted(answered - found)
    ]
    lines.append(f"{len(found)} findings, {len(found & answered)} answered in contracts/SLITHER.md")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if found == answered else 1


if __name__ == "__main__":
    sys.exit(main())
