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
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.results import Row, report
from shared.risk.backtest import acerbi_szekely, backtest_var, z2_p_value
from shared.risk.covariance import ewma_covariance, ewma_model, ledoit_wolf_covariance
from shared.risk.monte_carlo import t_scenarios
from shared.risk.parametric import cornish_fisher, delta_normal, moments_of
from shared.risk.scenarios import (
    JoinedHistory,
    PriceHistory,
    age_weighted_scenarios,
    filtered_scenarios,
    historical_scenarios,
    join_histories,
)
from shared.risk.tail import var_es

VAR_LEVEL, ES_LEVEL = 0.99, 0.975
Forecast = tuple[np.ndarray, np.ndarray, np.ndarray]
Method = Callable[[JoinedHistory, np.ndarray], Forecast]


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


def _from_scenarios(pnl: np.ndarray, weights: np.ndarray | None) -> Forecast:
    tail_var, tail_es = var_es(pnl, ES_LEVEL, weights)
    return var_es(pnl, VAR_LEVEL, weights)[0], tail_var, tail_es


def historical(history: JoinedHistory, books: np.ndarray) -> Forecast:
    return _from_scenarios(books @ historical_scenarios(history).by_asset, None)


def age_weighted(history: JoinedHistory, books: np.ndarray) -> Forecast:
    scenarios = age_weighted_scenarios(history)
    return _from_scenarios(books @ scenarios.by_asset, scenarios.weights)


def filtered(history: JoinedHistory, books: np.ndarray) -> Forecast:
    return _from_scenarios(books @ filtered_scenarios(history).by_asset, None)


def _normal(covariance: np.ndarray, books: np.ndarray) -> Forecast:
    tail = delta_normal(books, covariance, ES_LEVEL)
    return delta_normal(books, covariance, VAR_LEVEL).var_usd, tail.var_usd, tail.es_usd


def normal_ewma(history: JoinedHistory, books: np.ndarray) -> Forecast:
    return _normal(ewma_covariance(history.returns), books)


def normal_ledoit_wolf(history: JoinedHistory, books: np.ndarray) -> Forecast:
    return _normal(ledoit_wolf_covariance(history.returns).matrix, books)


def modified(history: JoinedHistory, books: np.ndarray) -> Forecast:
    moments = moments_of(books @ historical_scenarios(history).by_asset)
    tail = cornish_fisher(moments, ES_LEVEL)
    return cornish_fisher(moments, VAR_LEVEL).var_usd, tail.var_usd, tail.es_usd


def monte_carlo_t(history: JoinedHistory, books: np.ndarray) -> Forecast:
    scenarios = t_scenarios(ewma_model(history), 5000, seed=1)
    return _from_scenarios(books @ scenarios.by_asset, None)


METHODS: dict[str, Method] = {
    "historical": historical,
    "age-weighted 0.995": age_weighted,
    "filtered, EWMA 0.94": filtered,
    "delta-normal, EWMA 0.94": normal_ewma,
    "delta-normal, Ledoit-Wolf": normal_ledoit_wolf,
    "Cornish-Fisher": modified,
    "Monte Carlo t(4), EWMA 0.94": monte_carlo_t,
}


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
    for name, method in METHODS.items():
        forecasts = []
        for day in range(options.window, n_returns):
            window = slice(day - options.window, day)
            past = JoinedHistory(joined.dates[window], joined.returns[window], (), {})
            forecasts.append(method(past, books))
        value_at_risk, tail_var, tail_es = (np.array([f[i] for f in forecasts]) for i in range(3))
        rows.append(_summary(name, pnl, value_at_risk, tail_var, tail_es))
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
