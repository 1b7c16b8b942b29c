"""Stress tests: shocked marks for whole books, correlated shocks, reverse stress, and liquidation cascades.

A shock vector is a simple return per asset. Named historical ones are in data/historical_scenarios.json with
their dates and source.

Reverse stress asks for the smallest common fall q of a set of assets that brings an account to a threshold. f
falls linearly, f(q) = f − q · Σⱼ dⱼ wⱼ pⱼ with direction d, so q* = f / Σⱼ dⱼ wⱼ pⱼ. (With all marks falling
together, stablecoins too, health does not move at all: the direction must say what falls.)

A cascade closes out every account below the liquidation threshold, moves marks by what the close-outs sell
and buy, and looks again until nobody else falls. Impact is linear and permanent (Kyle): a trade of the
depth moves the mark by 1 %.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import Final

import numpy as np

from shared.risk.basis import Basis, basis_of
from shared.risk.book import Book
from shared.risk.margin import decide_states
from shared.risk.policy import MarginPolicy
from shared.risk.positions import BoolArray, Float64Array, Int8Array, Int64Array, two_sided, valid_marks
from shared.risk.scenarios import ScenarioSet
from shared.risk.states import NEVER_EVALUATED, MarginState

REVERSE_STRESS_DEFINITION: Final = "reverse-stress.v1"
"""The id of the definition above, which every result carries."""


@dataclass(frozen=True, slots=True)
class HistoricalScenario:
    """A day or period of the past: simple returns by asset symbol between the closes of `first` and
    `last`."""

    name: str
    title: str
    first: str
    last: str
    shocks: dict[str, float]
    source: str

    @property
    def horizon_days(self) -> int:
        """Days between the two closes."""
        return (date.fromisoformat(self.last) - date.fromisoformat(self.first)).days

    def scenario_set(
        self, symbols: Sequence[str], declared: Mapping[str, float] | None = None
    ) -> ScenarioSet:
        """One scenario for assets in the order of `symbols`. A symbol the scenario lacks takes its return
        from `declared` (0 for a stablecoin, a proxy's for a younger coin), or is missing."""
        known = self.shocks | {s: r for s, r in (declared or {}).items() if s not in self.shocks}
        missing = tuple(index for index, symbol in enumerate(symbols) if symbol not in known)
        returns = np.array([[known.get(symbol, 0.0) for symbol in symbols]])
        return ScenarioSet(
            returns, f"named.{self.name}", self.horizon_days, None, missing, self.first, self.last, 1
        )


def historical_stress_scenarios() -> tuple[HistoricalScenario, ...]:
    """The named scenarios of the data file, in its order."""
    text = (
        resources.files("shared.risk").joinpath("data/historical_scenarios.json").read_text(encoding="utf-8")
    )
    document = json.loads(text)
    return tuple(HistoricalScenario(source=document["source"], **entry) for entry in document["scenarios"])


def correlated_shock(covariance: Float64Array, shocked: dict[int, float]) -> Float64Array:
    """float64[n]: the given shocks, and for every other asset its expected return given them, Σ_os Σ_ss⁻¹
    s, not below −1."""
    n_assets = covariance.shape[0]
    given = np.array(sorted(shocked), dtype=np.int64)
    if given.size == 0 or given[0] < 0 or given[-1] >= n_assets:
        raise ValueError(f"shocked: assets {given.tolist()} of {n_assets}")
    shocks = np.array([shocked[asset] for asset in given.tolist()])
    conditional = covariance[:, given] @ np.linalg.solve(covariance[np.ix_(given, given)], shocks)
    conditional[given] = shocks
    floored: Float64Array = np.maximum(-1.0, conditional)
    return floored


@dataclass(frozen=True, slots=True)
class StressResult:
    """A book under S shocks, in row order: `collateral_usd`, `debt_usd` float64[S, n_rows], `states`
    int8[S, n_rows] (from scratch, without hysteresis), `shortfall_usd` float64[S] (debts above collateral,
    haircuts included), NaN-free unless unvalued."""

    collateral_usd: Float64Array
    debt_usd: Float64Array
    states: Int8Array
    shortfall_usd: Float64Array
    basis: Basis

    def count(self, state: MarginState) -> Int64Array:
        """int64[S]: accounts in a state under each shock."""
        counts: Int64Array = (self.states == state).sum(axis=1)
        return counts


def stress_book(
    book: Book, marks: Float64Array, scenarios: ScenarioSet, policy: MarginPolicy, *, as_of: str
) -> StressResult:
    """Revalue a book at marks · (1 + return) in each scenario; of marks with two sides, both alike.

    A return of −1 takes a mark to zero, which is a value here, not a missing mark. Holders of an asset
    whose mark or scenario is missing are unvalued.
    """
    if scenarios.returns.shape[1] != book.n_assets:
        raise ValueError(f"scenarios: {scenarios.returns.shape[1]} assets, the book has {book.n_assets}")
    prices = np.where(scenarios.is_missing, np.nan, two_sided(marks))
    valued = [book.dot(prices * (1.0 + shock)) for shock in scenarios.returns]
    collateral = np.array([c for c, _ in valued])
    debt = np.array([d for _, d in valued])
    states = decide_states(collateral, debt, policy, NEVER_EVALUATED)
    shortfall = np.nansum(np.maximum(0.0, debt - collateral), axis=1)
    return StressResult(collateral, debt, states, shortfall, basis_of(scenarios, as_of, "stress-margin"))


_NO_DEBT_LEFT: Final = 1e-12
"""Share of the debt that is rounding, not debt."""


def reverse_stress(
    book: Book, marks: Float64Array, direction: Float64Array, threshold: float
) -> Float64Array:
    """float64[n_rows]: the smallest fall q in 0..1 of marks·(1 − q·direction) at which health = `threshold`
    (a fraction of debt). 0 if already below it, NaN if no fall reaches it, the account has no debt, or it is
    unvalued.

    `direction` float64[n_assets]: 1 for assets that fall, 0 for those that stand still, other values in
    proportion.
    """
    if direction.shape != (book.n_assets,) or not np.isfinite(direction).all():
        raise ValueError(f"direction: needs {book.n_assets} finite values")
    prices = two_sided(marks)
    collateral, debt = book.dot(prices)
    # A missing mark reaches its holders through the first product already.
    falling_collateral, falling_debt = book.dot(np.nan_to_num(prices) * direction)
    excess = collateral - (1.0 + threshold) * debt
    slope = falling_collateral - (1.0 + threshold) * falling_debt
    fall = np.divide(excess, slope, out=np.full(excess.shape, np.nan), where=slope > 0.0)
    fall = np.where(excess < 0.0, 0.0, np.where(fall <= 1.0, fall, np.nan))
    # Where everything falls alike, health stays as it is until there is no debt left to have a health.
    gone = debt - fall * falling_debt <= _NO_DEBT_LEFT * debt
    fall = np.where(gone, np.nan, fall)
    smallest: Float64Array = np.where((debt > 0.0) & ~np.isnan(excess), fall, np.nan)
    return smallest


@dataclass(frozen=True, slots=True)
class Cascade:
    """`marks` float64[rounds + 1, n_assets] from the shocked ones on; `round_of_row` int64[n_rows], the
    round an account was closed out in, −1 if it was not; `sold_usd`, `bought_usd` float64[rounds,
    n_assets]; `shortfall_usd` the debt that close-outs left unpaid; `is_settled` whether the last round
    closed nobody out."""

    marks: Float64Array
    round_of_row: Int64Array
    sold_usd: Float64Array
    bought_usd: Float64Array
    shortfall_usd: float
    is_settled: bool

    @property
    def is_closed_out(self) -> BoolArray:
        """bool[n_rows]."""
        return self.round_of_row >= 0


def simulate_cascade(
    book: Book,
    marks: Float64Array,
    shock: Float64Array,
    depth_usd: Float64Array,
    policy: MarginPolicy,
    *,
    max_rounds: int = 100,
) -> Cascade:
    """Liquidation cascade after a shock. `depth_usd` float64[n_assets]: the USD trade that moves a mark by 1
    %; inf for none.

    An account below the liquidation threshold sells collateral, each asset in proportion, until its debt
    is bought back, or all of it; the trades of a round move the marks before the next is looked at.
    Collateral is sold at the marks of its round, with weights that include the haircuts.
    """
    if depth_usd.shape != (book.n_assets,) or not np.all(depth_usd > 0.0):
        raise ValueError(f"depth_usd: needs {book.n_assets} positive values (inf for no impact)")
    current = valid_marks(marks) * (1.0 + shock)
    path, sold_path, bought_path = [current], [], []
    round_of_row = np.full(book.n_rows, -1, dtype=np.int64)
    unpaid = 0.0
    is_settled = False
    for number in range(max_rounds):
        collateral, debt = book.dot(current)
        states = decide_states(collateral, debt, policy, NEVER_EVALUATED)
        failing = np.isin(states, (MarginState.LIQUIDATION, MarginState.INSOLVENT)) & (round_of_row < 0)
        rows = np.flatnonzero(failing)
        if rows.size == 0:
            is_settled = True
            break
        round_of_row[rows] = number
        owed, held = debt[rows], collateral[rows]
        unpaid += float(np.maximum(0.0, owed - held).sum())
        sold_share = np.divide(np.minimum(owed, held), held, out=np.zeros_like(held), where=held > 0.0)
        paid_share = np.minimum(owed, held) / owed
        collateral_side, debt_side = book.take(rows)
        sold = collateral_side.weighted_sum_by_asset(sold_share) * current
        bought = debt_side.weighted_sum_by_asset(paid_share) * current
        sold_path.append(sold)
        bought_path.append(bought)
        impact = 0.01 * (bought - sold) / depth_usd
        current = current * np.maximum(0.0, 1.0 + np.nan_to_num(impact))
        path.append(current)
    empty = np.empty((0, book.n_assets))
    return Cascade(
        np.array(path),
        round_of_row,
        np.array(sold_path) if sold_path else empty,
        np.array(bought_path) if bought_path else empty,
        unpaid,
        is_settled,
    )
