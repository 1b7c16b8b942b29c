"""A CSR matrix of weights that rows can be appended to, and its products with prices."""

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
from scipy.sparse import csr_array

from shared.risk.positions import BoolArray, Float64Array, Int32Array, Int64Array

_Array = TypeVar("_Array", Int64Array, Int32Array, Float64Array, BoolArray)

_FIRST_CAPACITY: Final = 64


class RaggedMatrix:
    """A CSR matrix that rows can be appended to. Explicit zero weights are kept, so that a missing mark
    (NaN) reaches exactly the rows that hold the asset (0·NaN is NaN, and an absent entry is never
    multiplied)."""

    def __init__(self, indptr: Int64Array, assets: Int32Array, weights: Float64Array, n_assets: int) -> None:
        self._indptr = np.asarray(indptr, dtype=np.int64)
        self._assets = np.asarray(assets, dtype=np.int32)
        self._weights = np.asarray(weights, dtype=np.float64)
        self.n_rows = self._indptr.size - 1
        self.n_entries = int(self._indptr[-1])
        self.n_assets = n_assets
        self._heads: dict[int, csr_array] = {}

    @classmethod
    def empty(cls, n_assets: int) -> "RaggedMatrix":
        """A matrix of no rows."""
        return cls(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float64), n_assets)

    @classmethod
    def stack(cls, rows: Sequence[tuple[Int32Array, Float64Array]], n_assets: int) -> "RaggedMatrix":
        """A matrix of the given (assets, weights) rows."""
        indptr = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([assets.size for assets, _ in rows], out=indptr[1:])
        return cls(
            indptr,
            np.concatenate([assets for assets, _ in rows]) if rows else np.empty(0, np.int32),
            np.concatenate([weights for _, weights in rows]) if rows else np.empty(0, np.float64),
            n_assets,
        )

    @property
    def indptr(self) -> Int64Array:
        """Where each row's entries begin, and where the last one's end: int64[n_rows + 1]."""
        return self._indptr[: self.n_rows + 1]

    @property
    def assets(self) -> Int32Array:
        """The asset of each entry: int32[n_entries]."""
        return self._assets[: self.n_entries]

    @property
    def weights(self) -> Float64Array:
        """The weight of each entry: float64[n_entries]."""
        return self._weights[: self.n_entries]

    @property
    def lengths(self) -> Int64Array:
        """The number of entries of each row: int64[n_rows]."""
        return np.diff(self.indptr)

    def append(self, assets: Int32Array, weights: Float64Array) -> None:
        """Add a row at the end; amortised O(its entries)."""
        end = self.n_entries + assets.size
        self._indptr = grown(self._indptr, self.n_rows + 2)
        self._assets = grown(self._assets, end)
        self._weights = grown(self._weights, end)
        self._assets[self.n_entries : end] = assets
        self._weights[self.n_entries : end] = weights
        self.n_rows += 1
        self.n_entries = end
        self._indptr[self.n_rows] = end
        self._heads.clear()

    def take(self, rows: Int64Array) -> "RaggedMatrix":
        """The matrix of the given rows, in the given order."""
        starts = self._indptr[rows]
        lengths = self._indptr[rows + 1] - starts
        indptr = np.zeros(rows.size + 1, dtype=np.int64)
        np.cumsum(lengths, out=indptr[1:])
        entries = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        return RaggedMatrix(indptr, self._assets[entries], self._weights[entries], self.n_assets)

    def joined(self, below: "RaggedMatrix") -> "RaggedMatrix":
        """This matrix's rows, then those of `below`."""
        return RaggedMatrix(
            np.concatenate([self.indptr, below.indptr[1:] + self.n_entries]),
            np.concatenate([self.assets, below.assets]),
            np.concatenate([self.weights, below.weights]),
            self.n_assets,
        )

    def scaled(self, factors: Float64Array) -> "RaggedMatrix":
        """Each row times its factor."""
        weights = self.weights * np.repeat(factors, self.lengths)
        return RaggedMatrix(self.indptr, self.assets, weights, self.n_assets)

    def beside(self, right: "RaggedMatrix") -> "RaggedMatrix":
        """This matrix's columns, then those of `right`, which has as many rows."""
        lengths, lengths_right = self.lengths, right.lengths
        indptr = self.indptr + right.indptr
        at = np.arange(self.n_entries) + np.repeat(right.indptr[:-1], lengths)
        at_right = np.arange(right.n_entries) + np.repeat(self.indptr[1:], lengths_right)
        assets = np.empty(int(indptr[-1]), dtype=np.int32)
        weights = np.empty(assets.size)
        assets[at], assets[at_right] = self.assets, right.assets + self.n_assets
        weights[at], weights[at_right] = self.weights, right.weights
        return RaggedMatrix(indptr, assets, weights, self.n_assets + right.n_assets)

    def row(self, row: int) -> tuple[Int32Array, Float64Array]:
        """The assets and weights of one row."""
        start, end = self._indptr[row], self._indptr[row + 1]
        return self._assets[start:end], self._weights[start:end]

    def rows_holding(self, asset: int) -> Int64Array:
        """The rows with an entry of the asset, ascending."""
        return np.searchsorted(self.indptr, np.flatnonzero(self.assets == asset), side="right") - 1

    def dot(self, prices: Float64Array) -> Float64Array:
        """Σ weight · price of each row: float64[n_rows]."""
        product: Float64Array = self._head(self.n_rows) @ prices
        return product

    def dot_rows(self, prices: Float64Array, rows: Int64Array) -> Float64Array:
        """Σ weight · price of some rows, in the given order, without making a matrix of them: for few
        rows."""
        if not rows.size:
            return np.empty(0)
        starts = self._indptr[rows]
        lengths = self._indptr[rows + 1] - starts
        ends = np.cumsum(lengths)
        first = ends - lengths
        entries = np.arange(ends[-1]) + np.repeat(starts - first, lengths)
        products = np.zeros(entries.size + 1)  # the last 0 is what an empty row at the end points to
        np.multiply(self._weights[entries], prices[self._assets[entries]], out=products[:-1])
        sums: Float64Array = np.add.reduceat(products, first)
        sums[lengths == 0] = 0.0  # reduceat gives an empty segment the next one's first term
        return sums

    def weighted_sum_by_asset(self, shares: Float64Array) -> Float64Array:
        """Σ over rows of share · weight, by asset: float64[n_assets]."""
        spread = self.weights * np.repeat(shares, self.lengths)
        sums = np.zeros(self.n_assets)
        np.add.at(sums, self.assets, spread)
        return sums

    def dot_of_first(self, prices: Float64Array, n_rows: int) -> Float64Array:
        """Σ weight · price of the first `n_rows` rows, in time proportional to their entries."""
        # A little more than asked for, so that few matrices, each made once, serve every length.
        step = 1 << max(n_rows.bit_length() - 3, 0)
        rounded_up = min(-(-n_rows // step) * step, self.n_rows)
        product: Float64Array = self._head(rounded_up) @ prices
        return product[:n_rows]

    def _head(self, n_rows: int) -> csr_array:
        """The first rows as a SciPy matrix on the same memory, remembered until a row is appended."""
        if n_rows not in self._heads:
            end = int(self._indptr[n_rows])
            # int32 row pointers halve the index traffic wherever they can address the entries.
            pointer_type = np.int32 if self.n_entries < 2**31 else np.int64
            parts = (self._weights[:end], self._assets[:end], self._indptr[: n_rows + 1].astype(pointer_type))
            self._heads[n_rows] = csr_array(parts, shape=(n_rows, self.n_assets))
        return self._heads[n_rows]


def grown(array: _Array, size: int, *, fill: int = 0) -> _Array:
    """`array` itself if it holds `size` elements, else a copy of at least twice the length padded with
    `fill`."""
    if size <= array.size:
        return array
    grown = np.full(max(size, 2 * array.size, _FIRST_CAPACITY), fill, dtype=array.dtype)
    grown[: array.size] = array
    return grown
