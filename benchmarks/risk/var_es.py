"""VaR 99 and ES 97.5 of books of 1 to 100,000 accounts × 100 assets × 500 scenarios, against sgemm.

python -m benchmarks.risk.var_es [--quick]
"""

import os

# Before NumPy is imported: two Python threads share the blocks, so BLAS must not add its own.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import sys
import time

import numpy as np
from scipy.sparse import csr_array, random_array

from benchmarks.measure import best_of, peak_mib
from benchmarks.results import Row, report
from shared.risk.book_risk import Exposures, Precision, measure_book, measure_components
from shared.risk.covariance import ewma_covariance
from shared.risk.parametric import delta_normal
from shared.risk.scenarios import ScenarioSet
from shared.risk.tail import TailSelector, tail_of

N_ASSETS, N_SCENARIOS = 100, 500
LEVELS = (0.99, 0.975)
AS_OF = "benchmark"
UNIT = "CPU µs/account"
PRECISIONS: tuple[Precision, ...] = (np.float32, np.float64)


class Workload:
    """Scenarios, and the tail method measured for each precision."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        returns = np.maximum(-1.0, self.rng.standard_t(4, (N_SCENARIOS, N_ASSETS)) * 0.03)
        self.scenarios = ScenarioSet(returns, "benchmark", 1)
        depth = max(tail_of(level, N_SCENARIOS).depth for level in LEVELS)
        self.selectors = {
            precision: TailSelector.measure(N_SCENARIOS, depth, precision, time.perf_counter_ns)
            for precision in PRECISIONS
        }

    def book(self, exposures: Exposures, precision: Precision, workers: int) -> object:
        return measure_book(
            exposures,
            self.scenarios,
            LEVELS,
            as_of=AS_OF,
            precision=precision,
            selector=self.selectors[precision],
            workers=workers,
        )

    def components(self, exposures: Exposures, precision: Precision) -> object:
        return measure_components(
            exposures,
            self.scenarios,
            0.975,
            as_of=AS_OF,
            precision=precision,
            selector=self.selectors[precision],
        )


def sgemm_floor(exposures: np.ndarray, workload: Workload) -> float:
    """CPU µs an account of the bare float32 product, in blocks that stay in cache."""
    left, right = exposures.astype(np.float32), workload.scenarios.by_asset_float32
    out = np.empty((256, N_SCENARIOS), dtype=np.float32)

    def multiply() -> None:
        for start in range(0, len(left), 256):
            part = left[start : start + 256]
            np.matmul(part, right, out=out[: len(part)])

    return best_of(multiply).cpu_s / len(left) * 1e6


def selection_rows(workload: Workload) -> list[Row]:
    """What the measurement at the start of a process found for each way to select the tail."""
    rows = []
    for precision, selector in workload.selectors.items():
        best = selector.nanoseconds_per_row[selector.name]
        for name, cost in selector.nanoseconds_per_row.items():
            label = f"tail of {N_SCENARIOS} {np.dtype(precision).name} scenarios by {name}"
            note = "taken" if name == selector.name else ""
            rows.append(Row(label, cost, "ns/account", f"by {selector.name}", best, note))
    return rows


def rows_of(n: int, workload: Workload) -> list[Row]:
    dense = workload.rng.normal(0, 1e4, (n, N_ASSETS))
    sparse = csr_array(random_array((n, N_ASSETS), density=0.1, rng=workload.rng) * 1e4)
    floor = sgemm_floor(dense, workload)
    rows = [Row(f"sgemm alone in blocks, {n} accounts", floor, UNIT)]
    for name, held in (("dense", dense), ("10 % sparse", sparse)):
        for precision in PRECISIONS:
            inputs: Exposures = held.astype(precision)
            for workers in (1, 2) if n >= 10_000 else (1,):
                timing = best_of(lambda: workload.book(inputs, precision, workers), repeats=3)  # noqa: B023
                label = f"VaR99 + ES97.5, {name} {np.dtype(precision).name}, {n} accounts, {workers} threads"
                note = f"wall {timing.wall_s * 1e3:.3g} ms, tail by {workload.selectors[precision].name}"
                rows.append(Row(label, timing.cpu_s / n * 1e6, UNIT, "sgemm", floor, note))
    if n > 10_000:
        return rows
    for precision in PRECISIONS:
        cost = best_of(lambda: workload.components(dense, precision), repeats=3).cpu_s / n * 1e6  # noqa: B023
        label = f"VaR, ES and their components, {np.dtype(precision).name}, {n} accounts"
        rows.append(Row(label, cost, UNIT, "sgemm", floor))
    covariance = ewma_covariance(workload.scenarios.returns)
    cost = best_of(lambda: delta_normal(dense, covariance, 0.99), repeats=3).cpu_s / n * 1e6
    rows.append(Row(f"delta-normal VaR, ES and components, {n} accounts", cost, UNIT, "sgemm", floor))
    if n == 1000:
        single = dense.astype(np.float32)
        results = 2 * len(LEVELS) * n * 8 / 2**20
        memory = peak_mib(lambda: workload.book(single, np.float32, 1)) - results
        rows.append(Row("working memory beside the results, 1000 dense float32", memory, "MiB", "1 MiB", 1.0))
    return rows


def main() -> None:
    arguments = argparse.ArgumentParser(description="VaR and ES of whole books")
    arguments.add_argument("--quick", action="store_true", help="up to 1,000 accounts")
    quick = arguments.parse_args().quick
    workload = Workload()
    rows = selection_rows(workload)
    for n in (1, 1000) if quick else (1, 1000, 10_000, 100_000):
        print(f"risk_var_es: {n} accounts", file=sys.stderr, flush=True)
        rows += rows_of(n, workload)
    report("risk_var_es", rows)


if __name__ == "__main__":
    main()
