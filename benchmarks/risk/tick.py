"""Margin on a tick: the full pass and the safe-radius index for 10,000 to 1,000,000 accounts of about 7
positions.

    python -m benchmarks.risk.tick [--quick | --huge]

The reference of a full pass is one plain read of the book's memory in the same run; that of the index is the
full pass. A tick of the index is one after those that changed states: nothing changes, and the accounts that
had changed are followed by their new bounds.
"""

import argparse
import sys
import time

import numpy as np

from benchmarks.measure import best_of
from benchmarks.results import Row, report
from shared.risk.book import Book
from shared.risk.evaluator import BookEvaluator
from shared.risk.policy import MarginPolicy
from shared.risk.positions import FactorTable, Float64Array, Int32Array, Int64Array, Position

N_ASSETS = 100
MOVES = (0.001, 0.01)


def _side(
    rng: np.random.Generator, lengths: Int64Array, marks: Float64Array
) -> tuple[Int64Array, Int32Array, Float64Array]:
    """CSR of positions in Zipf-popular assets whose values in each row sum to 1."""
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    popularity = 1.0 / np.arange(1, N_ASSETS + 1)
    assets = rng.choice(N_ASSETS, size=indptr[-1], p=popularity / popularity.sum()).astype(np.int32)
    values = rng.lognormal(0.0, 1.0, indptr[-1])
    sums = np.add.reduceat(values, indptr[:-1])
    return indptr, assets, values / np.repeat(sums, lengths) / marks[assets]


def build(n: int) -> tuple[BookEvaluator, Float64Array]:
    """A book of n accounts, 5 collateral and 2 debt positions on average, health spread widely above zero."""
    rng = np.random.default_rng(1)
    marks = rng.lognormal(3.0, 2.0, N_ASSETS)
    collateral = _side(rng, 1 + rng.poisson(4.0, n), marks)
    indptr, assets, weights = _side(rng, 1 + rng.poisson(1.0, n), marks)
    health = rng.gamma(2.0, 1.2, n)
    weights = weights / np.repeat(1.0 + health, np.diff(indptr))
    book = Book.from_arrays(collateral, (indptr, assets, weights), N_ASSETS)

    def no_exact_positions(account: int) -> list[Position]:
        raise LookupError(f"account {account} is on a boundary, which random weights do not hit")

    factors = FactorTable.without_haircuts(N_ASSETS)
    return BookEvaluator.from_book(book, factors, MarginPolicy(), exact_positions=no_exact_positions), marks


def rows_of(n: int) -> list[Row]:
    evaluator, marks = build(n)
    book = evaluator.book
    rng = np.random.default_rng(2)
    memory = np.ones((12 * book.n_entries + 32 * n) // 8)
    read = best_of(memory.sum, repeats=5).cpu_s * 1e3
    full = best_of(lambda: book.revalue(marks), repeats=5).cpu_s * 1e3
    per_position = f"{full * 1e6 / book.n_entries:.2f} ns a position, {book.n_entries / n:.1f} positions"
    rows = [Row(f"full pass, {n} accounts", full, "CPU ms", "memory read", read, per_position)]
    first = evaluator.tick(marks)
    states = ", ".join(str(count) for count in np.bincount(first.current, minlength=6))
    rows.append(
        Row(
            f"rebase: full tick, {n} accounts",
            _full_tick(evaluator, marks),
            "CPU ms",
            "full pass",
            full,
            states,
        )
    )
    for move in MOVES:
        away = rng.uniform(-move, move, N_ASSETS)
        for sides, moved in (
            ("", marks * (1.0 + away)),
            (", two-sided marks", np.array([marks * (1.0 + away), marks * (1.0 + np.abs(away))])),
        ):
            label = f"index, {move:.1%} from the base{sides}, {n} accounts"
            _rebase(evaluator, marks)
            found = evaluator.tick(moved)
            if found.was_full_pass:
                rows.append(Row(label, float("nan"), "CPU ms", note="beyond the list"))
                continue
            cost, looked_at = _quiet_tick(evaluator, marks, moved)
            note = f"{looked_at} bounds looked at, {found.accounts.size} accounts had changed"
            rows.append(Row(label, cost, "CPU ms", "full pass", full, note))
    return rows


def _full_tick(evaluator: BookEvaluator, marks: Float64Array) -> float:
    return best_of(lambda: _rebase(evaluator, marks), repeats=3).cpu_s * 1e3


def _rebase(evaluator: BookEvaluator, marks: Float64Array) -> None:
    evaluator.rebase()
    evaluator.tick(marks)


def _quiet_tick(evaluator: BookEvaluator, marks: Float64Array, moved: Float64Array) -> tuple[float, int]:
    """(CPU ms, bounds looked at) of a tick at some distance from the base, once those that it changes have
    changed."""
    best, looked_at = float("inf"), 0
    for _ in range(3):
        _rebase(evaluator, marks)
        evaluator.tick(moved)
        evaluator.tick(moved)
        for _ in range(8):
            start = time.process_time()
            looked_at = evaluator.tick(moved).looked_at
            best = min(best, time.process_time() - start)
    return best * 1e3, looked_at


def main() -> None:
    arguments = argparse.ArgumentParser(description="Margin on a tick")
    arguments.add_argument("--quick", action="store_true", help="up to 100,000 accounts")
    arguments.add_argument("--huge", action="store_true", help="10,000,000 accounts too (2 GiB)")
    options = arguments.parse_args()
    sizes = (
        [10_000, 100_000] + ([] if options.quick else [1_000_000]) + ([10_000_000] if options.huge else [])
    )
    rows: list[Row] = []
    for n in sizes:
        print(f"risk_tick: {n} accounts", file=sys.stderr, flush=True)
        rows += rows_of(n)
    report("risk_tick", rows)


if __name__ == "__main__":
    main()
