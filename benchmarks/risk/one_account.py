"""One account of 100 positions: VaR and ES beside the bare operations they need, and everything at once.

    python -m benchmarks.risk.one_account

The reference of VaR 99 and ES 97.5 is the matrix product and the selection of the worst scenarios alone, of
the same arrays by the same method. "Everything" is what the gateway can be asked about an account: VaR and ES
by every method at every level and horizon of the measurement policy, their components, marginal and
incremental risk, requirements, call and liquidation prices of every asset, distance to call
and every named stress.
"""

import os

# Before NumPy is imported, as in the benchmark whose workload this is.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from collections.abc import Callable
from decimal import Decimal

import numpy as np

from benchmarks.measure import best_of, timed
from benchmarks.results import Row, report
from benchmarks.risk.var_es import AS_OF, LEVELS, N_ASSETS, N_SCENARIOS, PRECISIONS, Workload
from shared.risk.addons import distance_to_call_sigma
from shared.risk.book import Book
from shared.risk.book_risk import measure_book, measure_marginal
from shared.risk.evaluator import BookEvaluator, Marks
from shared.risk.measurement_policy import RiskMethod, measurement_policy
from shared.risk.models import RiskModels
from shared.risk.policy import MarginPolicy
from shared.risk.positions import FactorTable, Position
from shared.risk.prices import call_prices, liquidation_prices
from shared.risk.requirements import requirements
from shared.risk.scenarios import JoinedHistory
from shared.risk.stress import historical_stress_scenarios, stress_book
from shared.risk.tail import tail_reading

MICROSECONDS = "CPU µs"
MILLISECONDS = "CPU ms"
TARGET_MS = 5_000.0
"""What the first specification allowed for the VaR of 100 positions."""


def measure() -> list[Row]:
    """VaR and ES, then everything."""
    workload = Workload()
    held = workload.rng.normal(0, 1e4, (1, N_ASSETS))
    rows = []
    for precision in PRECISIONS:
        account = held.astype(precision)
        selector = workload.selectors[precision]
        returns = (
            workload.scenarios.by_asset if precision is np.float64 else workload.scenarios.by_asset_float32
        )
        depth, weights = tail_reading(LEVELS, N_SCENARIOS)

        def bare() -> object:
            return selector.worst(account.dot(returns), depth).dot(weights)  # noqa: B023 - called in this turn

        def whole() -> object:
            return measure_book(
                account,  # noqa: B023
                workload.scenarios,
                LEVELS,
                as_of=AS_OF,
                precision=precision,  # noqa: B023
                selector=selector,  # noqa: B023
            )

        # In turn, so that a change of the processor's speed reaches both.
        pairs = [(best_of(bare).cpu_s * 1e6, best_of(whole).cpu_s * 1e6) for _ in range(5)]
        floor, cost = (min(side) for side in zip(*pairs, strict=True))
        label = f"VaR99 + ES97.5 of one account, {np.dtype(precision).name}"
        note = f"tail by {selector.name}"
        rows.append(Row(label, cost, MICROSECONDS, "product and selection alone", floor, note))
    return rows + everything_rows()


def everything_rows() -> list[Row]:
    """The first account of a process, which makes the scenario sets, and every one after it."""
    everything = everything_of_an_account()
    first = timed(everything)
    later = best_of(everything, repeats=3)
    target = ("target of one VaR", TARGET_MS)
    note = f"{len(RiskMethod)} methods, wall {later.wall_s * 1e3:.3g} ms"
    return [
        Row("everything of one account, 100 positions", later.cpu_s * 1e3, MILLISECONDS, *target, note),
        Row(
            "the first, which makes the scenarios of every method",
            first.cpu_s * 1e3,
            MILLISECONDS,
            *target,
            f"wall {first.wall_s * 1e3:.3g} ms",
        ),
    ]


def everything_of_an_account() -> Callable[[], object]:
    """What computes every measure of an account that holds or owes each of 100 assets."""
    rng = np.random.default_rng(1)
    policy, margin_policy = measurement_policy(), MarginPolicy()
    dates = np.datetime64("2026-01-01") + np.arange(policy.n_returns)
    common = rng.normal(0.0, 0.02, (policy.n_returns, 1))
    returns = np.maximum(-0.9, common + rng.normal(0.0, 0.03, (policy.n_returns, N_ASSETS)))
    models = RiskModels(JoinedHistory(dates, returns, (), {}), policy)
    factors = FactorTable.without_haircuts(N_ASSETS)
    prices = [Decimal(str(price)) for price in np.round(rng.lognormal(3.0, 2.0, N_ASSETS) + 0.01, 8)]
    marks = Marks.from_decimals(prices)
    positions = [
        Position(asset, 18, collateral_base=int(Decimal(10**22) / price))
        if asset % 4
        else Position(asset, 18, debt_base=int(Decimal(10**22) / price))
        for asset, price in enumerate(prices)
    ]
    evaluator = BookEvaluator(factors, margin_policy, [(0, positions)])
    row = factors.row(positions)
    book = Book.from_rows([row], N_ASSETS)
    collateral, debt = np.zeros((1, N_ASSETS)), np.zeros((1, N_ASSETS))
    collateral[0, row.collateral_assets] = row.collateral_weights * marks.values[row.collateral_assets]
    debt[0, row.debt_assets] = row.debt_weights * marks.values[row.debt_assets]
    exposure = collateral - debt
    named = [
        scenario.scenario_set([f"asset{n}" for n in range(N_ASSETS)], {f"asset{n}": -0.3 for n in range(100)})
        for scenario in historical_stress_scenarios()
    ]

    def everything() -> object:
        found: list[object] = []
        for method in RiskMethod:
            for horizon in policy.horizons_days:
                found.append(
                    models.measure(method, exposure, policy.levels, horizon_days=horizon, as_of=AS_OF)
                )
                found.append(models.components(method, exposure, 0.975, horizon_days=horizon, as_of=AS_OF))
        filtered = models.scenarios(RiskMethod.FILTERED)
        found.append(measure_marginal(exposure[0], filtered, 0.975, as_of=AS_OF))
        account = evaluator.evaluate(0, marks)
        found.append(requirements(account.collateral_usd, account.debt_usd, margin_policy))
        found.append(call_prices([row], marks.values, margin_policy))
        found.append(liquidation_prices([row], marks.values, margin_policy))
        covariance = models.covariance(RiskMethod.DELTA_NORMAL_EWMA).matrix
        found.append(distance_to_call_sigma(collateral, debt, covariance, margin_policy.margin_call_t))
        found += [stress_book(book, marks.values, each, margin_policy, as_of=AS_OF) for each in named]
        return found

    return everything


if __name__ == "__main__":
    report("risk_one_account", measure())
