"""Two pictures from a file of daily closes: a book's loss distribution with VaR and ES, and its exceedances
over time.

    python -m benchmarks.risk.plots CLOSES.csv [--out FOLDER] [--window 500]

The book is 1,000 USD of each asset that has the whole history; scenarios are filtered historical
simulation.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.results import RESULTS
from benchmarks.risk.history_backtest import oldest_assets, read_closes
from shared.risk.backtest import backtest_var
from shared.risk.scenarios import JoinedHistory, filtered_scenarios, join_histories
from shared.risk.tail import var_es

LEVEL = 0.99


def forecast(past: JoinedHistory, book: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(P&L of each scenario, VaR, ES)."""
    pnl = book @ filtered_scenarios(past).by_asset
    value_at_risk, shortfall = var_es(pnl, LEVEL)
    return pnl, float(value_at_risk[0]), float(shortfall[0])


def main() -> None:
    arguments = argparse.ArgumentParser(description="Loss distribution and exceedances")
    arguments.add_argument("closes", type=Path)
    arguments.add_argument("--out", type=Path, default=RESULTS)
    arguments.add_argument("--window", type=int, default=500)
    options = arguments.parse_args()
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    histories = oldest_assets(read_closes(options.closes))
    n_returns = min(history.dates.size for history in histories.values()) - 1
    joined = join_histories(histories, len(histories), n_returns)
    book = np.full(len(histories), 1000.0)
    realised = joined.returns[options.window :] @ book
    dates = joined.dates[options.window :]
    forecasts = []
    for day in range(options.window, n_returns):
        past = slice(day - options.window, day)
        forecasts.append(forecast(JoinedHistory(joined.dates[past], joined.returns[past], (), {}), book))
    value_at_risk = np.array([var for _, var, _ in forecasts])
    options.out.mkdir(parents=True, exist_ok=True)

    pnl, last_var, last_es = forecasts[-1]
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    axes.hist(-pnl, bins=60, color="#9bb5cf")
    axes.axvline(last_var, color="#b5651d", label=f"VaR {LEVEL:.0%}: {last_var:,.0f} USD")
    axes.axvline(last_es, color="#8b0000", linestyle="--", label=f"ES {LEVEL:.0%}: {last_es:,.0f} USD")
    axes.set(xlabel="one-day loss, USD", ylabel="scenarios", title=f"Filtered scenarios for {dates[-1]}")
    axes.legend()
    figure.savefig(options.out / "risk_loss_distribution.png", dpi=120)

    tests = backtest_var(realised, value_at_risk, LEVEL)
    exceeding = -realised > value_at_risk
    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    axes.bar(dates, realised, width=1.0, color="#9bb5cf", label="P&L")
    axes.plot(dates, -value_at_risk, color="#b5651d", linewidth=1.0, label=f"−VaR {LEVEL:.0%}")
    axes.plot(dates[exceeding], realised[exceeding], "v", color="#8b0000", label="exceedance")
    axes.set(
        ylabel="USD",
        title=f"{tests.exceedances} exceedances, {tests.expected:.1f} expected; "
        f"Kupiec p {tests.kupiec.p_value:.2f}, "
        f"Christoffersen p {tests.independence.p_value:.2f}, {tests.zone}",
    )
    axes.legend()
    figure.savefig(options.out / "risk_exceedances.png", dpi=120)
    print(f"{options.out / 'risk_loss_distribution.png'}\n{options.out / 'risk_exceedances.png'}")


if __name__ == "__main__":
    main()
