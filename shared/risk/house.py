"""The house's own risk: what the broker loses from accounts that end insolvent.

In scenario s account i owes more than it holds by max(0, D_i(s) − A_i(s)), its assets and debts at the
scenario's marks without haircuts. The house loses the sum over accounts; its VaR and ES are those of that
loss, by the definitions of `tail`. (Gauntlet's market risk reports call the same tail of net insolvent debt
VaR.)

The loss of a scenario is attributed to assets and chains by what the insolvent accounts owe: their
shortfall, split in proportion to their debts. Attributions of ES add up to it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import coo_array, csr_array, vstack

from shared.risk.basis import Basis, basis_of
from shared.risk.positions import Float64Array, Int64Array
from shared.risk.scenarios import ScenarioSet
from shared.risk.tail import tail_shares, var_es, weighted_tail

_BLOCK_ROWS: Final = 512


@dataclass(frozen=True, slots=True)
class HouseRisk:
    """`loss_usd` float64[S] in each scenario; VaR and ES of it; ES split by account [n], asset [n_assets]
    and chain [n_chains]; `n_insolvent` int64[S] accounts ending insolvent."""

    level: float
    loss_usd: Float64Array
    n_insolvent: Int64Array
    var_usd: float
    es_usd: float
    es_by_account_usd: Float64Array
    es_by_asset_usd: Float64Array
    es_by_chain_usd: Float64Array
    basis: Basis


def measure_house(
    assets_usd: csr_array,
    debts_usd: csr_array,
    scenarios: ScenarioSet,
    level: float,
    *,
    as_of: str,
    chain_of_column: Int64Array | None = None,
    asset_of_column: Int64Array | None = None,
) -> HouseRisk:
    """Shortfall of a book: `assets_usd`, `debts_usd` CSR [n_accounts, n_columns], USD at present marks, both
    positive.

    A column is an asset, or an (asset, chain) pair: then `asset_of_column` (int64[n_columns]) gives the
    scenario asset of each column and `chain_of_column` its chain. Without chains `es_by_chain_usd` is
    empty.
    """
    n_accounts, n_columns = assets_usd.shape
    if debts_usd.shape != assets_usd.shape:
        raise ValueError(f"debts_usd: shape {debts_usd.shape}, assets_usd {assets_usd.shape}")
    columns = np.arange(n_columns) if asset_of_column is None else asset_of_column
    if columns.shape != (n_columns,) or columns.max(initial=-1) >= scenarios.returns.shape[1]:
        raise ValueError("asset_of_column: must name a scenario asset for each column")
    exposed = np.asarray(assets_usd.sum(axis=0) + debts_usd.sum(axis=0)).ravel()
    missing = np.flatnonzero((exposed > 0.0) & scenarios.is_missing[columns])
    if missing.size:
        raise ValueError(f"scenarios: none for columns {missing.tolist()}, which the book is exposed to")
    factors = np.ascontiguousarray(1.0 + scenarios.returns.T[columns])
    loss = np.zeros(scenarios.n_scenarios)
    n_insolvent = np.zeros(scenarios.n_scenarios, dtype=np.int64)
    for block in _blocks(n_accounts):
        shortfall = _shortfall(assets_usd[block], debts_usd[block], factors)
        loss += shortfall.sum(axis=0)
        n_insolvent += np.count_nonzero(shortfall, axis=0)
    value_at_risk, expected = (float(x[0]) for x in var_es(-loss, level, scenarios.weights))
    shares = _tail_shares(-loss, scenarios, level)
    by_account, by_column = _attribute(assets_usd, debts_usd, factors, shares)
    by_asset = np.zeros(scenarios.returns.shape[1])
    np.add.at(by_asset, columns, by_column)
    by_chain = np.zeros(0 if chain_of_column is None else int(chain_of_column.max(initial=-1)) + 1)
    if chain_of_column is not None:
        np.add.at(by_chain, chain_of_column, by_column)
    return HouseRisk(
        level,
        loss,
        n_insolvent,
        value_at_risk,
        expected,
        by_account,
        by_asset,
        by_chain,
        basis_of(scenarios, as_of, "house-shortfall"),
    )


def exposure_matrix(
    rows: Sequence[int], columns: Sequence[int], usd: Sequence[float], *, n_rows: int, n_columns: int
) -> csr_array:
    """A side of a book as `measure_house` and `tally_house` take it, from one entry a position."""
    entries = np.asarray(usd, dtype=np.float64)
    places = (np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64))
    matrix: csr_array = coo_array((entries, places), shape=(n_rows, n_columns)).tocsr()
    return matrix


@dataclass(frozen=True, slots=True)
class HouseTally:
    """The house's loss of the blocks of a book that have been looked at; tallies of blocks add up.

    `loss_usd` float64[S]; `n_insolvent` int64[S]; `loss_by_asset_usd` float64[S, n_assets] and
    `loss_by_chain_usd` float64[S, n_chains], each scenario's loss split by what the insolvent accounts owe.
    """

    loss_usd: Float64Array
    n_insolvent: Int64Array
    loss_by_asset_usd: Float64Array
    loss_by_chain_usd: Float64Array

    @classmethod
    def nothing(cls, n_scenarios: int, n_assets: int, n_chains: int) -> "HouseTally":
        """The tally of no account."""
        return cls(
            np.zeros(n_scenarios),
            np.zeros(n_scenarios, dtype=np.int64),
            np.zeros((n_scenarios, n_assets)),
            np.zeros((n_scenarios, n_chains)),
        )

    def __add__(self, other: "HouseTally") -> "HouseTally":
        return HouseTally(
            self.loss_usd + other.loss_usd,
            self.n_insolvent + other.n_insolvent,
            self.loss_by_asset_usd + other.loss_by_asset_usd,
            self.loss_by_chain_usd + other.loss_by_chain_usd,
        )


def tally_house(
    assets_usd: csr_array,
    debts_usd: csr_array,
    scenarios: ScenarioSet,
    *,
    asset_of_column: Int64Array,
    chain_of_column: Int64Array,
    n_chains: int,
) -> tuple[HouseTally, csr_array]:
    """What a block of accounts costs the house in each scenario, and each account's part of it: its
    shortfall, CSR [n_accounts, S]. Columns as in `measure_house`. Leave out accounts exposed to an asset
    without scenarios."""
    factors = np.ascontiguousarray(1.0 + scenarios.returns.T[asset_of_column])
    loss = np.zeros(scenarios.n_scenarios)
    n_insolvent = np.zeros(scenarios.n_scenarios, dtype=np.int64)
    by_column = np.zeros(factors.shape)
    by_account = [csr_array((0, scenarios.n_scenarios))]
    for block in _blocks(assets_usd.shape[0]):
        debts = debts_usd[block]
        owed = debts @ factors
        shortfall = np.maximum(0.0, owed - assets_usd[block] @ factors)
        rate = np.divide(shortfall, owed, out=np.zeros_like(shortfall), where=owed > 0.0)
        loss += shortfall.sum(axis=0)
        n_insolvent += np.count_nonzero(shortfall, axis=0)
        by_column += factors * (debts.T @ rate)
        by_account.append(csr_array(shortfall))
    by_asset = np.zeros((scenarios.returns.shape[1], scenarios.n_scenarios))
    by_chain = np.zeros((n_chains, scenarios.n_scenarios))
    np.add.at(by_asset, asset_of_column, by_column)
    np.add.at(by_chain, chain_of_column, by_column)
    return HouseTally(loss, n_insolvent, by_asset.T, by_chain.T), vstack(by_account, format="csr")


@dataclass(frozen=True, slots=True)
class TalliedRisk:
    """VaR and ES of a whole tally; ES by asset [n_assets] and by chain [n_chains], each summing to it;
    `max_insolvent` the most accounts that end insolvent in one scenario.

    `tail_shares` float64[S] is the weight of each scenario in ES: an account's part of ES is its shortfall in
    each scenario times these, summed.
    """

    level: float
    var_usd: float
    es_usd: float
    es_by_asset_usd: Float64Array
    es_by_chain_usd: Float64Array
    max_insolvent: int
    tail_shares: Float64Array
    basis: Basis


def measure_tally(tally: HouseTally, scenarios: ScenarioSet, level: float, *, as_of: str) -> TalliedRisk:
    """The risk of `measure_house` from a book's tally; its split by account follows from `tail_shares`."""
    value_at_risk, expected = (float(x[0]) for x in var_es(-tally.loss_usd, level, scenarios.weights))
    shares = _tail_shares(-tally.loss_usd, scenarios, level)
    return TalliedRisk(
        level,
        value_at_risk,
        expected,
        shares @ tally.loss_by_asset_usd,
        shares @ tally.loss_by_chain_usd,
        int(tally.n_insolvent.max(initial=0)),
        shares,
        basis_of(scenarios, as_of, "house-shortfall"),
    )


def _attribute(
    assets_usd: csr_array, debts_usd: csr_array, factors: Float64Array, shares: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """(ES by account, ES by column) over the tail's scenarios only."""
    tail = np.flatnonzero(shares)
    tail_factors = np.ascontiguousarray(factors[:, tail])
    by_account = np.zeros(assets_usd.shape[0])
    by_column = np.zeros(assets_usd.shape[1])
    for block in _blocks(assets_usd.shape[0]):
        debts = debts_usd[block]
        owed = debts @ tail_factors
        shortfall = np.maximum(0.0, owed - assets_usd[block] @ tail_factors) * shares[tail]
        by_account[block] = shortfall.sum(axis=1)
        rate = np.divide(shortfall, owed, out=np.zeros_like(shortfall), where=owed > 0.0)
        # Σ_i Σ_s rate_is · debt_ij · factor_js
        by_column += (tail_factors * (debts.T @ rate)).sum(axis=1)
    return by_account, by_column


def _shortfall(assets_usd: csr_array, debts_usd: csr_array, factors: Float64Array) -> Float64Array:
    shortfall: Float64Array = np.maximum(0.0, debts_usd @ factors - assets_usd @ factors)
    return shortfall


def _tail_shares(pnl: Float64Array, scenarios: ScenarioSet, level: float) -> Float64Array:
    block = pnl[None, :]
    shares, _ = (
        tail_shares(block, level)
        if scenarios.weights is None
        else weighted_tail(block, level, scenarios.weights)
    )
    first: Float64Array = shares[0]
    return first


def _blocks(n_rows: int) -> Iterator[slice]:
    for start in range(0, n_rows, _BLOCK_ROWS):
        yield slice(start, min(start + _BLOCK_ROWS, n_rows))
