"""Rolling backtest of every VaR method on real daily closes.

    python -m benchmarks.risk.history_backtest CLOSES.csv [--books 10] [--window 500]

CLOSES.csv: a date column, then one column of closes an asset, empty before its first day. Random
long-short books of the assets that have a full window are held at constant USD exposure; each day's P&L is
set against the VaR 99 and ES 97.5 forecast from the window before it. Per method: exceedances against
expected over all books, how many books fail Kupiec and Christoffersen at 5 %, the traffic light of the
worst book, mean Acerbi–Szekely Z2 and the ES test's failures.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from benchmarks.results import Row, report
from shared.risk.backtest import acerbi_szekely, backtest_var, z2_p_value
from shared.risk.measurement_policy import RiskMethod, measurement_policy
from shared.risk.rolling import roll_forecasts
from shared.risk.scenarios import PriceHistory, join_histories

VAR_LEVEL, ES_LEVEL = 0.99, 0.975


def read_closes(path: Path, columns: list[str] | None = None) -> dict[int, PriceHistory]:
    """The histories in the file, in column order; only the named columns if any are named."""
    with path.open(newline="") as file:
        header, *lines = list(csv.reader(file))
    histories: dict[int, PriceHistory] = {}
    for column in [header.index(name) for name in columns or header[1:]]:
        known = [line for line in lines if line[column] not in {"", "NA", "NaN"}]
        dates = np.array([line[0] for line in known], dtype="datetime64[D]")
        histories[len(histories)] = PriceHistory(dates, np.array([float(line[column]) for line in known]))
    return histories


def oldest_assets(histories: dict[int, PriceHistory]) -> dict[int, PriceHistory]:
    """The assets with the longest history, renumbered: a younger one would leave its books unmeasured for
    years."""
    first = min(history.dates[0] for history in histories.values())
    return dict(enumerate(history for history in histories.values() if history.dates[0] == first))


def main() -> None:
    arguments = argparse.ArgumentParser(description="Rolling backtest of every VaR method")
    arguments.add_argument("closes", type=Path)
    arguments.add_argument("--columns", nargs="*", help="columns of closes (default: all but the first)")
    arguments.add_argument("--books", type=int, default=10)
    arguments.add_argument("--window", type=int, default=500)
    arguments.add_argument("--name", default="risk_history_backtest")
    options = arguments.parse_args()
    histories = read_closes(options.closes, options.columns)
    old = oldest_assets(histories)
    n_returns = min(history.dates.size for history in old.values()) - 1
    joined = join_histories(old, len(old), n_returns)
    books = np.random.default_rng(1).normal(0.4, 1.0, (options.books, len(old))) * 1000.0
    pnl = joined.returns[options.window :] @ books.T
    rows: list[Row] = []
    for method in RiskMethod:
        rolled = roll_forecasts(
            joined, books, method, (VAR_LEVEL, ES_LEVEL), measurement_policy(), window=options.window
        )
        rows.append(_summary(method.value, pnl, rolled.var_usd[0], rolled.var_usd[1], rolled.es_usd[1]))
    report(options.name, rows)


def _summary(
    name: str, pnl: np.ndarray, value_at_risk: np.ndarray, tail_var: np.ndarray, tail_es: np.ndarray
) -> Row:
    is_measured = ~np.isnan(value_at_risk + tail_es)
    if not is_measured.all():
        share = is_measured.mean()
        if share < 0.5:
            return Row(
                name,
                float("nan"),
                "exceedances",
                note=f"refused on {1 - share:.0%} of days: outside its domain",
            )
    tests, z2 = [], []
    for book in range(pnl.shape[1]):
        days = is_measured[:, book]
        tests.append(backtest_var(pnl[days, book], value_at_risk[days, book], VAR_LEVEL))
        statistics = acerbi_szekely(pnl[days, book], tail_var[days, book], tail_es[days, book], ES_LEVEL)
        z2.append(
            (
                statistics.z2,
                z2_p_value(
                    statistics.z2, int(days.sum()), ES_LEVEL, seed=1, degrees_of_freedom=4.0, n_samples=2000
                ),
            )
        )
    worst = max(tests, key=lambda test: test.exceedances)
    note = (
        f"Kupiec p median {np.median([t.kupiec.p_value for t in tests]):.3f}, "
        f"fails {sum(t.kupiec.p_value < 0.05 for t in tests)}/{len(tests)}; "
        f"Christoffersen p median {np.median([t.independence.p_value for t in tests]):.3f}, "
        f"fails {sum(t.independence.p_value < 0.05 for t in tests)}; worst book {worst.zone}, "
        f"worst 250 days {max(t.worst_250_days for t in tests)}; "
        f"Z2 mean {np.mean([z for z, _ in z2]):+.2f}, ES fails {sum(p < 0.05 for _, p in z2)}"
    )  # fmt: skip
    if not is_measured.all():
        note += f"; refused on {1 - is_measured.mean():.0%} of days"
    total = sum(test.exceedances for test in tests)
    return Row(name, total, "exceedances", "expected", sum(test.expected for test in tests), note)


if __name__ == "__main__":
    main()
