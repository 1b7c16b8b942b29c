"""What each function imports before it can answer: its time against the framework's, and the libraries.

    python -m benchmarks.cold_start.imports [--repeats 4] [--write]

Each start is a fresh interpreter that does what ``functions-framework --target <name>`` does before it
listens: import the framework, then the function by way of ``main.py``, and check its settings. CPU time is
compared, because it repeats on a machine that others use too; the starts take turns. Of functions that load
the same libraries the first is measured: what tells them apart is some modules of ours.

``--write`` writes the libraries to ``tests/repository/imported_modules.json``, to which a test holds them.
They need no fresh interpreter each: one loads what every start does, the framework and the triggers by which
``main.py`` checks a function's settings, and forks for each function.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.progress import say
from benchmarks.results import Row, report
from local.price_data import single_feed_prices
from shared.config import SPECS
from shared.manifest import load_manifest

ROOT = Path(__file__).resolve().parents[2]
MODULES_FILE = ROOT / "tests" / "repository" / "imported_modules.json"

_START = """
import json, sys, time
wall, cpu = time.perf_counter(), time.process_time()
import functions_framework
if sys.argv[2]:
    functions_framework.create_app(target=sys.argv[2], source=sys.argv[1])
print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}))
"""

_LOAD = """
import json, os, sys
import functions_framework

def tell(name):
    paths = {
        module: getattr(loaded, "__file__", None) or next(iter(getattr(loaded, "__path__", [])), "")
        for module, loaded in list(sys.modules.items())
    }
    installed = [module for module, path in paths.items() if "site-packages" in str(path)]
    print(json.dumps([name, [module for module in installed if not module.startswith("_")]]), flush=True)

tell("functions_framework")
import shared.runtime.triggers

for function in sys.argv[2:]:
    child = os.fork()
    if child == 0:
        functions_framework.create_app(target=function, source=sys.argv[1])
        tell(function)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"{function} did not start")
"""


def library(module: str) -> str:
    """The library that a module belongs to: its first name; of Google's, as many as tell them apart."""
    parts = module.split(".")
    if parts[0] != "google":
        return parts[0]
    return ".".join(parts[:3] if parts[1:2] == ["cloud"] else parts[:2])


def _network() -> dict[str, object]:
    sources, prices = single_feed_prices(1, {"ETH": "0x" + "e1" * 20})
    policy = {"warning_pct": "50", "margin_call_pct": "30", "liquidation_pct": "15", "hysteresis_pct": "2"}
    return {
        "margin_policy": policy,
        "tick_max_age_s": 120,
        "price_sources": sources,
        "assets": {"ETH": {"collateral_factor": "1", "borrow_factor": "1", "prices": prices["ETH"]}},
        "chains": [
            {
                "chain_id": 1,
                "name": "ethereum",
                "confirmations": 12,
                "finality": 64,
                "start_block": 0,
                "block_range": 2000,
                "vault": "0x" + "aa" * 20,
                "escrow_factory": "0x" + "bb" * 20,
                "multicall": "0x" + "ca" * 20,
                "tokens": {"0x" + "00" * 20: {"asset": "ETH", "decimals": 18}},
            }
        ],
    }


class Starts:
    """Fresh interpreters with the settings of every function."""

    def __init__(self, folder: Path) -> None:
        network = folder / "network.json"
        network.write_text(json.dumps(_network()))
        settings = {name: spec.example for name, spec in SPECS.items()}
        settings |= {"NETWORK_FILE": str(network), "RPC_URLS": "1=http://127.0.0.1:8545"}
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._environment = inherited | settings | {"PYTHONPATH": str(ROOT)}
        self._folder = folder

    def _run(self, program: str, *functions: str) -> list[Any]:
        ended = subprocess.run(
            [sys.executable, "-c", program, str(ROOT / "main.py"), *functions],
            env=self._environment,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return [json.loads(line) for line in ended.stdout.splitlines()]

    def start(self, function: str = "") -> tuple[float, float]:
        """CPU and wall seconds until a function could listen; the framework alone where none is named."""
        (answer,) = self._run(_START, function)
        return answer["cpu_s"], answer["wall_s"]

    def loaded(self, functions: Sequence[str]) -> dict[str, set[str]]:
        """The libraries loaded once each of these functions could listen, and by the framework alone."""
        answers = self._run(_LOAD, *functions)
        return {name: {library(module) for module in modules} for name, modules in answers}


def functions() -> list[str]:
    """Every deployed function."""
    return list(load_manifest(ROOT / "functions.yaml").functions)


def imported_libraries() -> dict[str, list[str]]:
    """The libraries that each function loads beyond those of the framework, and the framework's, in order."""
    with tempfile.TemporaryDirectory(prefix="fusion-prime-") as folder:
        loaded = Starts(Path(folder)).loaded(functions())
    framework = loaded.pop("functions_framework")
    beyond = {function: sorted(libraries - framework) for function, libraries in loaded.items()}
    return {"functions_framework": sorted(framework), **beyond}


def alike() -> dict[str, list[str]]:
    """The first function of each set of libraries, and the others that load the same."""
    committed = json.loads(MODULES_FILE.read_bytes())
    by_libraries: dict[tuple[str, ...], list[str]] = {}
    for function in functions():
        by_libraries.setdefault(tuple(committed[function]), []).append(function)
    return {first: others for first, *others in by_libraries.values()}


def measure(repeats: int) -> list[Row]:
    """The median start of one function of each set of libraries, and of the framework alone, in turns."""
    measured = alike()
    cpu: dict[str, list[float]] = {name: [] for name in ("", *measured)}
    wall: dict[str, list[float]] = {name: [] for name in cpu}
    with tempfile.TemporaryDirectory(prefix="fusion-prime-") as folder:
        starts = Starts(Path(folder))
        # The first start of each compiles what it imports.
        for name in cpu:
            starts.start(name)
        for repeat in range(1, repeats + 1):
            say(f"start {repeat} of {repeats} of {len(cpu)} each")
            for name, times in cpu.items():
                cpu_s, wall_s = starts.start(name)
                times.append(cpu_s * 1e3)
                wall[name].append(wall_s * 1e3)
    alone = statistics.median(cpu[""])

    def note(name: str) -> str:
        same = measured.get(name, [])
        listed = f"; {', '.join(same)} load the same libraries" if same else ""
        return f"wall {statistics.median(wall[name]):.0f} ms{listed}"

    rows = [Row("framework alone", alone, "CPU ms", note=note(""))]
    rows += [
        Row(
            f"cold start of {name}",
            statistics.median(cpu[name]),
            "CPU ms",
            "the framework alone",
            alone,
            note(name),
        )
        for name in measured
    ]
    return rows


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--write", action="store_true", help="write the libraries, do not measure")
    options = parser.parse_args()
    if options.write:
        MODULES_FILE.write_text(json.dumps(imported_libraries(), indent=1) + "\n")
        return
    report("cold_start_imports", measure(options.repeats))


if __name__ == "__main__":
    main()
