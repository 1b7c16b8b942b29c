"""VaR 99 and ES 97.5 as other libraries compute them, on the same arrays, and how far they are from ours.

    python -m benchmarks.risk.peer_ratios [--accounts 200]

They are asked one account at a time, as their interfaces want, in an environment of their own
(:mod:`benchmarks.risk.peers`); ours are asked for the book, and for one account. `note` has a peer's largest
deviation from the definitions of shared.risk.tail (VaR / ES): they define the order statistic, and what of
the boundary scenario belongs to the tail, each in their own way.
"""

import os

# Before NumPy is imported, as in the benchmark whose workload this is.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse

import numpy as np

from benchmarks.measure import best_of
from benchmarks.results import Row, report
from benchmarks.risk.peers import measure_peers
from benchmarks.risk.var_es import AS_OF, LEVELS, N_ASSETS, UNIT, Workload
from shared.risk.book_risk import measure_book


def measure(workload: Workload, n: int) -> list[Row]:
    """Every peer against ours."""
    dense = workload.rng.normal(0, 1e4, (n, N_ASSETS))
    exact = measure_book(dense, workload.scenarios, LEVELS, as_of=AS_OF)
    expected = np.array([exact.var_usd[0], exact.es_usd[1]]).T
    ours = best_of(lambda: workload.book(dense, np.float64, 1), repeats=3).cpu_s / n * 1e6
    single = best_of(lambda: workload.book(dense[:1], np.float64, 1), repeats=3).cpu_s * 1e6
    rows = [
        Row(f"ours, float64, {n} accounts in one call", ours, UNIT),
        Row("ours, float64, one account a call", single, UNIT, "ours in one call", ours),
    ]
    for peer in measure_peers(workload.scenarios.returns, dense):
        deviation = np.abs(np.array(peer.found) / expected - 1.0).max(axis=0)
        note = f"deviates by up to {deviation[0]:.2g} / {deviation[1]:.2g}"
        rows.append(Row(f"{peer.name}, {n} accounts", peer.cpu_us, UNIT, "ours in one call", ours, note))
    return rows


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=200)
    report("risk_peers", measure(Workload(), parser.parse_args().accounts))


if __name__ == "__main__":
    main()
