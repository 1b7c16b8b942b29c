"""Timing and reporting shared by the risk benchmarks.

CPU time of the process (all threads) is the figure to compare: it repeats on a machine that others use
too. Every row has the reference it is held against, measured in the same run, and the ratio to it.
"""

import json
import os
import platform
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import scipy

RESULTS = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True)
class Row:
    """One figure: `ratio` is value / reference_value, so below 1 is better than the reference for a time."""

    metric: str
    value: float
    unit: str
    reference: str = ""
    reference_value: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if not self.reference_value else self.value / self.reference_value


@dataclass(frozen=True)
class Timing:
    """Best of several runs."""

    cpu_s: float
    wall_s: float


def best_of(work: Callable[[], object], *, repeats: int = 5, at_least_s: float = 0.02) -> Timing:
    """Shortest CPU and wall time of one call, each sample of enough calls to last `at_least_s`."""
    start = time.perf_counter()
    work()
    first = time.perf_counter() - start
    calls = max(1, int(at_least_s / max(first, 1e-9)))
    cpu = wall = float("inf")
    for _ in range(repeats):
        cpu_start, wall_start = time.process_time(), time.perf_counter()
        for _ in range(calls):
            work()
        cpu = min(cpu, (time.process_time() - cpu_start) / calls)
        wall = min(wall, (time.perf_counter() - wall_start) / calls)
    return Timing(cpu, wall)


def peak_mib(work: Callable[[], object]) -> float:
    """Memory allocated at the peak of one call, above what was held before."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    work()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak / 2**20


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "load_average": os.getloadavg()[0],
    }


def report(name: str, rows: list[Row]) -> None:
    """Print the rows as a table and write them to benchmarks/results/<name>.json."""
    widths = max(len(row.metric) for row in rows), max(len(row.reference) for row in rows)
    for row in rows:
        against = "" if row.ratio is None else f"{row.ratio:9.3g} × {row.reference:<{widths[1]}}"
        print(f"{row.metric:<{widths[0]}} {row.value:12.4g} {row.unit:<12} {against}  {row.note}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "rows": [asdict(row) | {"ratio": row.ratio} for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
