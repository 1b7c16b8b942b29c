"""The risk core's columnar book from packed accounts, without making an object of any of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.domain.columns import Columns
from shared.domain.margin_pack import PackedAccounts
from shared.risk.book import Book
from shared.risk.positions import BookRow

_Entries = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]
_Side = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]

_COLLATERAL, _DEBT = 0, 1
"""The place of a side among a position's amounts."""


def packed_book(
    packed: PackedAccounts,
    rows: NDArray[np.int64],
    columns: Columns,
) -> Book:
    """A book of some packed rows, each under its row as number.

    The weights are those of :meth:`FactorTable.row`: exact rationals, rounded once.
    """
    source = _Source(packed, columns)
    collateral, debt = _side(source, rows, _COLLATERAL), _side(source, rows, _DEBT)
    return Book.from_arrays(collateral, debt, len(columns.factors), accounts=rows)


@dataclass(frozen=True, slots=True)
class _Source:
    packed: PackedAccounts
    columns: Columns

    @property
    def row_of_position(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.packed)), self.packed.position_counts)

    def column_of_position(self, side: int) -> NDArray[np.int32]:
        """Where a side of each position stands among the columns."""
        packed = self.packed
        if side == _COLLATERAL:
            of_asset = np.array([self.columns.of_collateral(asset) for asset in packed.assets], np.int32)
            return of_asset[packed.position_assets]
        chains, chain_numbers = np.unique(packed.position_chains, return_inverse=True)
        of_market = np.array(
            [[self.columns.of_debt(chain, asset) for asset in packed.assets] for chain in chains.tolist()],
            np.int32,
        ).reshape(chains.size, len(packed.assets))
        found: NDArray[np.int32] = of_market[chain_numbers, packed.position_assets]
        return found

    def unit_weight(self, column: int, decimals: int, side: int) -> tuple[int, int]:
        """Numerator and denominator of the weight of one base unit."""
        factors = self.columns.factors.factors[column]
        if side == _COLLATERAL:
            numerator, denominator = factors.collateral_factor.as_integer_ratio()
        else:
            denominator, numerator = factors.borrow_factor.as_integer_ratio()
        return numerator, denominator * 10**decimals

    def whole_row(self, row: int) -> BookRow:
        """A row's weights by way of its positions: collateral on several chains is one entry."""
        return self.columns.factors.row(
            position for each in self.packed.positions(row) for position in self.columns.positions(*each)
        )


def _side(source: _Source, rows: NDArray[np.int64], side: int) -> _Side:
    """(indptr, assets, weights) of the collateral or the debt of some rows."""
    packed = source.packed
    held = np.flatnonzero(packed.amount_lengths[side::2])
    amounts = packed.amounts
    bounds = packed.amount_offsets
    starts, stops = bounds[2 * held + side].tolist(), bounds[2 * held + side + 1].tolist()
    decimals = packed.decimals[held].tolist()
    assets = source.column_of_position(side)[held]
    fractions = {
        (asset, places): source.unit_weight(asset, places, side)
        for asset, places in set(zip(assets.tolist(), decimals, strict=True))
    }
    # The division of two Python integers is rounded correctly, whatever their size.
    weights = np.fromiter(
        (
            int.from_bytes(amounts[start:stop], "little") * numerator / denominator
            for start, stop, (numerator, denominator) in zip(
                starts,
                stops,
                map(fractions.__getitem__, zip(assets.tolist(), decimals, strict=True)),
                strict=True,
            )
        ),
        np.float64,
        held.size,
    )
    row_of_entry = source.row_of_position[held]
    order = np.lexsort((assets, row_of_entry))
    row_of_entry, assets, weights = row_of_entry[order], assets[order], weights[order]
    twice = (row_of_entry[1:] == row_of_entry[:-1]) & (assets[1:] == assets[:-1])
    if twice.any():
        row_of_entry, assets, weights = _with_sums(source, side, (row_of_entry, assets, weights), twice)
    first = np.searchsorted(row_of_entry, rows)
    counts = np.searchsorted(row_of_entry, rows, side="right") - first
    indptr = np.zeros(rows.size + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    entries = np.arange(indptr[-1]) + np.repeat(first - indptr[:-1], counts)
    return indptr, assets[entries], weights[entries]


def _with_sums(source: _Source, side: int, entries: _Entries, twice: NDArray[np.bool_]) -> _Entries:
    """Entries in order, those of rows that have an asset ``twice`` summed before they are rounded."""
    row_of_entry, assets, weights = entries
    again = np.unique(row_of_entry[1:][twice])
    kept = ~np.isin(row_of_entry, again)
    found = [(row_of_entry[kept], assets[kept], weights[kept])]
    for row in again.tolist():
        whole = source.whole_row(row)
        of_side = (
            (whole.collateral_assets, whole.collateral_weights)
            if side == _COLLATERAL
            else (whole.debt_assets, whole.debt_weights)
        )
        found.append((np.full(of_side[0].size, row, dtype=np.int64), *of_side))
    row_of_entry, assets, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((assets, row_of_entry))
    return row_of_entry[order], assets[order], weights[order]
