"""VaR and ES of whole books by scenario revaluation, in blocks of accounts, with components from the same
P&L.

P&L of account i in scenario s is Σⱼ x_ij · r_sj, a matrix product. A block of a few hundred accounts at a
time keeps the P&L in cache: a block is multiplied, its worst scenarios selected, and forgotten, so working
memory does not grow with the book.

Components are Euler allocations of the same tail: component ES of position j is −x_j times the mean return
of asset j over the account's tail scenarios (its shares), component VaR the same over the scenario that is
the VaR (Tasche, Risk contributions and performance measurement, 1999). They add up to the account's ES and
VaR.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csr_array

from shared.risk.positions import BoolArray, Float64Array
from shared.risk.scenarios import ScenarioSet
from shared.risk.tail import (
    BY_PARTITION,
    TAIL_DEFINITION,
    TailSelector,
    WorkingArray,
    tail_of,
    tail_shares,
    var_es,
    var_es_of_worst,
    weighted_tail,
)

Exposures = Float64Array | csr_array
_BLOCK_ROWS: Final = {np.dtype(np.float32): 256, np.dtype(np.float64): 128}


@dataclass(frozen=True, slots=True)
class Basis:
    """What a result rests on, carried by every result: the moment it is for, its definition, the scenarios
    and history."""

    as_of: str
    definition: str
    scenario_set_id: str
    scenario_definition: str
    horizon_days: int
    history_first: str | None
    history_last: str | None
    n_observations: int
    missing_assets: tuple[int, ...]


def basis_of(scenarios: ScenarioSet, as_of: str, measure: str) -> Basis:
    """The basis of a measure on a scenario set."""
    return Basis(
        as_of,
        f"{measure}.{TAIL_DEFINITION}",
        scenarios.id,
        scenarios.definition,
        scenarios.horizon_days,
        scenarios.first,
        scenarios.last,
        scenarios.n_observations,
        scenarios.missing,
    )


@dataclass(frozen=True, slots=True)
class BookRisk:
    """`var_usd` and `es_usd` float64[n_levels, n_accounts], losses positive; NaN for `unmeasured` accounts
    (bool[n]), those exposed to an asset without scenarios."""

    levels: tuple[float, ...]
    var_usd: Float64Array
    es_usd: Float64Array
    unmeasured: BoolArray
    basis: Basis


@dataclass(frozen=True, slots=True)
class Components:
    """Float64[n_accounts, n_assets], USD, of one level: each row sums to the account's VaR or ES. NaN if
    unmeasured."""

    level: float
    component_var_usd: Float64Array
    component_es_usd: Float64Array
    basis: Basis


def measure_book(
    exposures: Exposures,
    scenarios: ScenarioSet,
    levels: Sequence[float],
    *,
    as_of: str,
    precision: type[np.float32] | type[np.float64] = np.float64,
    selector: TailSelector = BY_PARTITION,
    workers: int = 1,
) -> BookRisk:
    """VaR and ES of every account at every level, from one pass.

    `exposures` [n_accounts, n_assets]: USD value of each position, debts negative, dense or CSR. float32
    is within about 1e-6 of float64, relative to the gross exposure; float64 is the reference. `workers`
    threads share the blocks (the products release the interpreter lock; keep BLAS at one thread each).
    Raises InsufficientHistoryError for an empty tail.
    """
    _check_shapes(exposures, scenarios)
    n_accounts = exposures.shape[0]
    ordered = tuple(levels)
    if scenarios.weights is not None:
        return _measure_weighted(exposures, scenarios, ordered, as_of)
    tails = [tail_of(level, scenarios.n_scenarios) for level in ordered]
    depth = max(tail.depth for tail in tails)
    value_at_risk = np.empty((len(tails), n_accounts))
    shortfall = np.empty((len(tails), n_accounts))
    returns = np.ascontiguousarray(scenarios.returns.T, dtype=precision)

    def measure(block: slice) -> None:
        worst = selector.worst(_block_pnl(exposures, block, returns), depth)
        for row, tail in enumerate(tails):
            value_at_risk[row, block], shortfall[row, block] = var_es_of_worst(worst, tail)

    _for_blocks(measure, n_accounts, _BLOCK_ROWS[np.dtype(precision)], workers)
    unmeasured = unmeasured_accounts(exposures, scenarios)
    value_at_risk[:, unmeasured] = np.nan
    shortfall[:, unmeasured] = np.nan
    return BookRisk(ordered, value_at_risk, shortfall, unmeasured, basis_of(scenarios, as_of, "var-es"))


def measure_components(
    exposures: Exposures, scenarios: ScenarioSet, level: float, *, as_of: str, workers: int = 1
) -> Components:
    """Component VaR and ES of every position of every account at one level. See the module for the
    definition."""
    _check_shapes(exposures, scenarios)
    n_accounts, n_assets = exposures.shape
    component_var = np.empty((n_accounts, n_assets))
    component_es = np.empty((n_accounts, n_assets))
    returns = np.ascontiguousarray(scenarios.returns.T)

    def measure(block: slice) -> None:
        pnl = _block_pnl(exposures, block, returns)
        shares, at_var = _shares(pnl, scenarios, level)
        held = _dense(exposures, block)
        component_es[block] = -held * (shares @ scenarios.returns)
        component_var[block] = -held * (at_var @ scenarios.returns)

    _for_blocks(measure, n_accounts, _BLOCK_ROWS[np.dtype(np.float64)], workers)
    unmeasured = unmeasured_accounts(exposures, scenarios)
    component_var[unmeasured] = np.nan
    component_es[unmeasured] = np.nan
    return Components(level, component_var, component_es, basis_of(scenarios, as_of, "component-var-es"))


@dataclass(frozen=True, slots=True)
class MarginalRisk:
    """One account at one level, float64[n_assets]: the change of VaR and ES for one more USD of each
    asset, and (`incremental_*`) what VaR and ES would fall by if the whole position were closed."""

    level: float
    var_usd: float
    es_usd: float
    marginal_var: Float64Array
    marginal_es: Float64Array
    incremental_var_usd: Float64Array
    incremental_es_usd: Float64Array
    basis: Basis


def measure_marginal(
    exposure: Float64Array, scenarios: ScenarioSet, level: float, *, as_of: str
) -> MarginalRisk:
    """Marginal and incremental VaR and ES of each position of one account (`exposure` float64[n_assets])."""
    row = exposure[None, :]
    _check_shapes(row, scenarios)
    pnl = row @ scenarios.returns.T
    value_at_risk, shortfall = (float(x[0]) for x in var_es(pnl, level, scenarios.weights))
    shares, at_var = _shares(pnl, scenarios, level)
    without = pnl - exposure[:, None] * scenarios.returns.T
    var_without, es_without = var_es(without, level, scenarios.weights)
    result = MarginalRisk(
        level,
        value_at_risk,
        shortfall,
        -(at_var @ scenarios.returns)[0],
        -(shares @ scenarios.returns)[0],
        value_at_risk - var_without,
        shortfall - es_without,
        basis_of(scenarios, as_of, "marginal-var-es"),
    )
    if unmeasured_accounts(row, scenarios)[0]:
        missing = [asset for asset in scenarios.missing if exposure[asset] != 0.0]
        raise ValueError(f"exposure: the account holds assets {missing}, which have no scenarios")
    return result


def what_if(
    pnl: Float64Array, scenarios: ScenarioSet, asset: int, exposure_change_usd: float, levels: Sequence[float]
) -> tuple[Float64Array, Float64Array]:
    """(VaR, ES) float64[n_levels] of an account after a trade in one asset, from its P&L now (float64[S])."""
    after = pnl + exposure_change_usd * scenarios.returns[:, asset]
    results = [var_es(after, level, scenarios.weights) for level in levels]
    return np.array([v[0] for v, _ in results]), np.array([e[0] for _, e in results])


def unmeasured_accounts(exposures: Exposures, scenarios: ScenarioSet) -> BoolArray:
    """bool[n]: accounts with a position in an asset that has no scenarios."""
    if not scenarios.missing:
        return np.zeros(exposures.shape[0], dtype=bool)
    gross = np.abs(exposures) if isinstance(exposures, np.ndarray) else abs(exposures)
    affected: BoolArray = np.asarray(gross @ scenarios.is_missing.astype(np.float64)) > 0.0
    return affected


def _measure_weighted(
    exposures: Exposures, scenarios: ScenarioSet, levels: tuple[float, ...], as_of: str
) -> BookRisk:
    n_accounts = exposures.shape[0]
    value_at_risk = np.empty((len(levels), n_accounts))
    shortfall = np.empty((len(levels), n_accounts))
    returns = np.ascontiguousarray(scenarios.returns.T)
    for block in _blocks(n_accounts, _BLOCK_ROWS[np.dtype(np.float64)]):
        pnl = _block_pnl(exposures, block, returns)
        for row, level in enumerate(levels):
            value_at_risk[row, block], shortfall[row, block] = var_es(pnl, level, scenarios.weights)
    unmeasured = unmeasured_accounts(exposures, scenarios)
    value_at_risk[:, unmeasured] = np.nan
    shortfall[:, unmeasured] = np.nan
    return BookRisk(levels, value_at_risk, shortfall, unmeasured, basis_of(scenarios, as_of, "var-es"))


def _shares(pnl: Float64Array, scenarios: ScenarioSet, level: float) -> tuple[Float64Array, Float64Array]:
    """(share of each scenario in ES, share in VaR: 1 over the scenarios tied at the boundary), [n, S]."""
    if scenarios.weights is None:
        shares, boundary = tail_shares(pnl, level)
    else:
        shares, boundary = weighted_tail(pnl, level, scenarios.weights)
    tied = (pnl == boundary[:, None]).astype(np.float64)
    return shares, tied / tied.sum(axis=1, keepdims=True)


def _block_pnl(exposures: Exposures, block: slice, returns: WorkingArray) -> WorkingArray:
    """P&L [rows, S] of a block; `returns` is [n_assets, S] in the working precision."""
    if isinstance(exposures, np.ndarray):
        pnl: WorkingArray = exposures[block].astype(returns.dtype, copy=False) @ returns
        return pnl
    sparse_pnl: WorkingArray = exposures[block].astype(returns.dtype) @ returns
    return sparse_pnl


def _dense(exposures: Exposures, block: slice) -> Float64Array:
    if isinstance(exposures, np.ndarray):
        return exposures[block]
    dense: Float64Array = exposures[block].toarray()
    return dense


def _blocks(n_rows: int, size: int) -> Iterator[slice]:
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def _for_blocks(work: Callable[[slice], None], n_rows: int, size: int, workers: int) -> None:
    if workers <= 1:
        for block in _blocks(n_rows, size):
            work(block)
        return
    with ThreadPoolExecutor(workers) as pool:
        # Consumed so that an error in a block is raised here.
        for _ in pool.map(work, _blocks(n_rows, size)):
            pass


def _check_shapes(exposures: Exposures, scenarios: ScenarioSet) -> None:
    if exposures.ndim != 2 or exposures.shape[1] != scenarios.returns.shape[1]:
        raise ValueError(
            f"exposures: shape {exposures.shape}, the scenarios have {scenarios.returns.shape[1]} assets"
        )
    values = exposures if isinstance(exposures, np.ndarray) else exposures.data
    if not np.isfinite(values).all():
        raise ValueError("exposures: a value is NaN or infinite; leave unvalued accounts out")
