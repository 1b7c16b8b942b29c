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

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isfinite
from typing import Final, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from shared.risk.basis import Basis, basis_of
from shared.risk.positions import BoolArray, Float64Array, Int64Array
from shared.risk.scenarios import ScenarioSet
from shared.risk.tail import (
    BY_PARTITION,
    TailSelector,
    WorkingArray,
    tail_of,
    tail_reading,
    tail_shares,
    var_es,
    weighted_tail,
)

Exposures = WorkingArray | csr_array
"""USD value of each position [n_accounts, n_assets], debts negative; float64, or float32 for a float32
pass."""
Precision = type[np.float32] | type[np.float64]
_BLOCK_BYTES: Final = 2**19
"""P&L of a block: half of a second-level cache of 1 MiB."""


class BookRisk(NamedTuple):
    """`var_usd` and `es_usd` float64[n_levels, n_accounts], losses positive; NaN for accounts that cannot be
    measured, such as those exposed to an asset without scenarios."""

    levels: tuple[float, ...]
    var_usd: Float64Array
    es_usd: Float64Array
    basis: Basis

    @property
    def unmeasured(self) -> BoolArray:
        """bool[n]: accounts without a result."""
        is_unmeasured: BoolArray = np.isnan(self.var_usd[0])
        return is_unmeasured


@dataclass(frozen=True, slots=True)
class Components:
    """VaR and ES float64[n_accounts] at one level, and their components [n_accounts, n_assets] in the working
    precision, USD: each row sums to the account's figure. NaN if unmeasured."""

    level: float
    var_usd: Float64Array
    es_usd: Float64Array
    component_var_usd: WorkingArray
    component_es_usd: WorkingArray
    basis: Basis


def measure_book(
    exposures: Exposures,
    scenarios: ScenarioSet,
    levels: Sequence[float],
    *,
    as_of: str,
    precision: Precision = np.float64,
    selector: TailSelector = BY_PARTITION,
    workers: int = 1,
) -> BookRisk:
    """VaR and ES of every account at every level, from one pass.

    `exposures` [n_accounts, n_assets]: USD value of each position, debts negative, dense or CSR. float32
    is within about 1e-6 of float64, relative to the gross exposure; float64 is the reference. `workers`
    threads share the blocks (the products release the interpreter lock; keep BLAS at one thread each).
    Raises InsufficientHistoryError for an empty tail.
    """
    _check_shape(exposures, scenarios)
    ordered = tuple(levels)
    if not ordered:
        raise ValueError("levels: none given")
    weights = scenarios.weights
    if weights is None:
        depth, of_worst = tail_reading(ordered, scenarios.n_scenarios)
        worst = selector.worst

        def measure(pnl: WorkingArray) -> Float64Array:
            measured: Float64Array = worst(pnl, depth).dot(of_worst)
            return measured

    else:

        def measure(pnl: WorkingArray) -> Float64Array:
            by_level = [var_es(pnl, level, weights) for level in ordered]
            return np.column_stack([v for v, _ in by_level] + [es for _, es in by_level])

    measured = _in_blocks(
        measure, exposures, _working_returns(scenarios, precision), 2 * len(ordered), workers
    )
    # One product instead of a test of each value: it is finite if all are, and far from overflowing.
    if not isfinite(np.vdot(measured, measured)):
        _refuse_unknown(measured)
    if scenarios.missing:
        measured[unmeasured_accounts(exposures, scenarios)] = np.nan
    by_level, n_levels = measured.T, len(ordered)
    basis = basis_of(scenarios, as_of, "var-es")
    return BookRisk(ordered, by_level[:n_levels], by_level[n_levels:], basis)


def measure_components(
    exposures: Exposures,
    scenarios: ScenarioSet,
    level: float,
    *,
    as_of: str,
    precision: Precision = np.float64,
    selector: TailSelector = BY_PARTITION,
    workers: int = 1,
) -> Components:
    """VaR, ES and their components for every position of every account at one level, from one pass."""
    _check_shape(exposures, scenarios)
    _check_finite(exposures if isinstance(exposures, np.ndarray) else exposures.data)
    n_accounts, n_assets = exposures.shape
    value_at_risk, shortfall = np.empty(n_accounts), np.empty(n_accounts)
    component_var: WorkingArray = np.empty((n_accounts, n_assets), dtype=precision)
    component_es: WorkingArray = np.empty((n_accounts, n_assets), dtype=precision)
    by_scenario = scenarios.returns.astype(precision, copy=False)

    def measure(block: slice, pnl: WorkingArray) -> None:
        shares, tied_at_var, scenario = _block_shares(pnl, scenarios, level, selector)
        held: WorkingArray = np.negative(_dense(exposures, block), dtype=precision, casting="same_kind")
        np.multiply(held, shares @ by_scenario, out=component_es[block])
        np.multiply(held, by_scenario[scenario], out=component_var[block])
        if tied_at_var is not None:
            tied = np.flatnonzero(tied_at_var.any(axis=1))
            component_var[block][tied] = held[tied] * (tied_at_var[tied] @ by_scenario)
        value_at_risk[block] = component_var[block].sum(axis=1, dtype=np.float64)
        shortfall[block] = component_es[block].sum(axis=1, dtype=np.float64)

    _for_blocks(measure, exposures, _working_returns(scenarios, precision), workers)
    unmeasured = unmeasured_accounts(exposures, scenarios)
    if unmeasured.any():
        for result in (value_at_risk, shortfall, component_var, component_es):
            result[unmeasured] = np.nan
    basis = basis_of(scenarios, as_of, "component-var-es")
    return Components(level, value_at_risk, shortfall, component_var, component_es, basis)


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
    _check_shape(row, scenarios)
    pnl = row @ scenarios.by_asset
    value_at_risk, shortfall = (float(x[0]) for x in var_es(pnl, level, scenarios.weights))
    shares, at_var = _shares(pnl, scenarios, level)
    without = pnl - exposure[:, None] * scenarios.by_asset
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


def _shares(pnl: Float64Array, scenarios: ScenarioSet, level: float) -> tuple[Float64Array, Float64Array]:
    """(share of each scenario in ES, share in VaR: 1 over the scenarios tied at the boundary), [n, S]."""
    if scenarios.weights is None:
        shares, boundary = tail_shares(pnl, level)
    else:
        shares, boundary = weighted_tail(pnl, level, scenarios.weights)
    tied = (pnl == boundary[:, None]).astype(np.float64)
    return shares, tied / tied.sum(axis=1, keepdims=True)


def _block_shares(
    pnl: WorkingArray, scenarios: ScenarioSet, level: float, selector: TailSelector
) -> tuple[WorkingArray, WorkingArray | None, Int64Array]:
    """(share of each scenario in ES [n, S], share in VaR [n, S] for rows whose VaR is tied, a scenario that
    is VaR [n]).

    Nearly all rows have one scenario at the boundary; those that have more go the general way.
    """
    if scenarios.weights is not None:
        shares, at_var = _shares(pnl.astype(np.float64, copy=False), scenarios, level)
        return shares.astype(pnl.dtype, copy=False), at_var.astype(pnl.dtype), at_var.argmax(axis=1)
    tail = tail_of(level, pnl.shape[1])
    boundary = selector.worst(pnl.copy(), tail.order)[:, tail.order - 1]
    is_tail = pnl <= boundary[:, None]
    scenario = (pnl == boundary[:, None]).argmax(axis=1)
    is_tied = is_tail.sum(axis=1) != tail.order
    weights = is_tail.astype(pnl.dtype)
    weights[np.arange(len(pnl)), scenario] = tail.mass - (tail.order - 1)
    weights *= 1.0 / tail.mass
    if not is_tied.any():
        return weights, None, scenario
    tied_at_var = np.zeros_like(pnl)
    shares, at_var = _shares(pnl[is_tied].astype(np.float64, copy=False), scenarios, level)
    weights[is_tied], tied_at_var[is_tied] = shares, at_var
    return weights, tied_at_var, scenario


def _working_returns(scenarios: ScenarioSet, precision: Precision) -> WorkingArray:
    return scenarios.by_asset_float32 if precision is np.float32 else scenarios.by_asset


def _dense(exposures: Exposures, block: slice) -> Float64Array:
    if isinstance(exposures, np.ndarray):
        return exposures[block]
    dense: Float64Array = exposures[block].toarray()
    return dense


def _in_blocks(
    measure: Callable[[WorkingArray], Float64Array],
    exposures: Exposures,
    returns: WorkingArray,
    n_columns: int,
    workers: int,
) -> Float64Array:
    """What `measure` makes of each block's P&L: [rows, S] -> float64[rows, n_columns]."""
    n_rows = exposures.shape[0]
    if n_rows <= _rows_per_block(returns):
        return measure(_pnl(exposures, slice(0, n_rows), returns))
    measured = np.empty((n_rows, n_columns))

    def work(block: slice, pnl: WorkingArray) -> None:
        measured[block] = measure(pnl)

    _for_blocks(work, exposures, returns, workers)
    return measured


def _rows_per_block(returns: WorkingArray) -> int:
    return _BLOCK_BYTES // returns.strides[0] or 1


def _for_blocks(
    work: Callable[[slice, WorkingArray], None], exposures: Exposures, returns: WorkingArray, workers: int
) -> None:
    """Call `work(block, P&L [rows, S] of the block)` for all blocks; `returns` is [n_assets, S] in the
    working precision."""
    n_rows, size = exposures.shape[0], _rows_per_block(returns)

    def run(first: int, step: int) -> None:
        for start in range(first, n_rows, step):
            block = slice(start, start + size)
            work(block, _pnl(exposures, block, returns))

    if workers <= 1:
        run(0, size)
        return
    with ThreadPoolExecutor(workers) as pool:
        runs = [pool.submit(run, worker * size, workers * size) for worker in range(workers)]
        for each in runs:
            each.result()


def _pnl(exposures: Exposures, block: slice, returns: WorkingArray) -> WorkingArray:
    """P&L [rows, S] of a block."""
    pnl: WorkingArray
    if isinstance(exposures, np.ndarray):
        pnl = exposures[block].astype(returns.dtype, copy=False).dot(returns)
        return pnl
    pointers = exposures.indptr[block.start : block.stop + 1]
    start, end = pointers[0], pointers[-1]
    values = exposures.data[start:end].astype(returns.dtype, copy=False)
    shape = (pointers.size - 1, exposures.shape[1])
    rows = csr_array((values, exposures.indices[start:end], pointers - start), shape=shape)
    pnl = rows @ returns
    return pnl


def _check_shape(exposures: Exposures, scenarios: ScenarioSet) -> None:
    if exposures.shape[1:] != (scenarios.n_assets,):
        raise ValueError(
            f"exposures: shape {exposures.shape}, the scenarios have {scenarios.n_assets} assets"
        )


def _refuse_unknown(measured: Float64Array) -> None:
    """A value of an account that is NaN or infinite makes all its P&L so, and with it every result."""
    unknown = np.flatnonzero(~np.isfinite(measured).all(axis=1))
    if unknown.size:
        raise ValueError(
            f"exposures: account {unknown[0]} has a value that is NaN or infinite; leave unvalued accounts "
            "out"
        )


def _check_finite(values: WorkingArray) -> None:
    # One sum instead of a test of each value: it is finite if all are.
    if not isfinite(np.add.reduce(values, axis=None, dtype=np.float64)):
        raise ValueError("exposures: a value is NaN or infinite; leave unvalued accounts out")
