"""Timing shared by the benchmarks.

CPU time of the process (all threads) is the figure to compare: it repeats on a machine that others use
too.
"""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Of one call: CPU time of this process, and elapsed."""

    cpu_s: float
    wall_s: float


def timed(work: Callable[[], object]) -> Timing:
    """One call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Timing(time.process_time() - cpu, time.perf_counter() - wall)


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
