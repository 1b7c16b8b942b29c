"""A columnar book: every account's weights in two CSR matrices, revalued against marks in one pass.

Rows are ordered by their numbers of entries (collateral, then debt): the product's inner loop then ends after
the same number of steps for long runs of rows, which saves a mispredicted branch per row (2.7× at a million
accounts).

Accounts are addressed by small integers that the caller maps to its ids. A *row* is a place in the arrays
that a valuation returns; `accounts` names the account in each row, −1 for a row that an account has left.
Replacing an account appends its new row to an overlay and leaves the old row behind; `compact` rebuilds
the matrices and `is_compaction_due` says when the overlay has grown past a stated share of the book.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

import numpy as np
from scipy.sparse import csr_array

from shared.risk.positions import BookRow, BoolArray, Float64Array, Int32Array, Int64Array, valid_marks

_Array = TypeVar("_Array", Int64Array, Int32Array, Float64Array)

ABSENT: Final = -1
"""The row of an account that is not in the book, and the account of a row nobody occupies."""
_FIRST_CAPACITY: Final = 64
_EMPTY_ROW: Final = BookRow(
    np.empty(0, np.int32), np.empty(0, np.float64), np.empty(0, np.int32), np.empty(0, np.float64)
)


class Valuation(NamedTuple):
    """A book's value in row order: collateral_usd, debt_usd (float64[n_rows], NaN on a side that misses a
    mark) and unvalued (bool[n_rows]). Rows that no account occupies are 0 and valued."""

    collateral_usd: Float64Array
    debt_usd: Float64Array
    unvalued: BoolArray


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
        self._indptr = _grown(self._indptr, self.n_rows + 2)
        self._assets = _grown(self._assets, end)
        self._weights = _grown(self._weights, end)
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


class Book:
    """All accounts' weights, with an overlay of the rows changed since the last rebuild.

    `n_assets` is fixed; `rebuild_share` is the share of overlay and abandoned rows at which
    `is_compaction_due`.
    """

    def __init__(
        self,
        collateral: RaggedMatrix,
        debt: RaggedMatrix,
        *,
        accounts: Int64Array | None = None,
        rebuild_share: float = 0.05,
    ) -> None:
        """Row i of both matrices is account `accounts[i]`, by default account i. Raises ValueError for
        weights, assets or accounts out of range."""
        if collateral.n_rows != debt.n_rows or collateral.n_assets != debt.n_assets:
            raise ValueError(
                f"collateral is {collateral.n_rows}×{collateral.n_assets}, "
                f"debt {debt.n_rows}×{debt.n_assets}: both sides must have the same rows and assets"
            )
        for side, matrix in (("collateral", collateral), ("debt", debt)):
            _check_entries(side, matrix.assets, matrix.weights, matrix.n_assets)
        numbers = np.arange(collateral.n_rows) if accounts is None else np.asarray(accounts, dtype=np.int64)
        if (
            numbers.shape != (collateral.n_rows,)
            or numbers.min(initial=0) < 0
            or np.unique(numbers).size < numbers.size
        ):
            raise ValueError(
                f"accounts: {numbers.size} numbers for {collateral.n_rows} rows; each must be unique and >= 0"
            )
        self.n_assets = collateral.n_assets
        self.rebuild_share = rebuild_share
        self._account_of_row: Int64Array
        self._row_of_account: Int64Array
        self._max_terms: int
        self._n_abandoned: int
        order = np.lexsort((debt.lengths, collateral.lengths))
        self._set_base(collateral.take(order), debt.take(order), numbers[order])

    @classmethod
    def from_arrays(
        cls,
        collateral: tuple[Int64Array, Int32Array, Float64Array],
        debt: tuple[Int64Array, Int32Array, Float64Array],
        n_assets: int,
        *,
        accounts: Int64Array | None = None,
        rebuild_share: float = 0.05,
    ) -> "Book":
        """From one (indptr, assets, weights) triple a side, in CSR order."""
        return cls(
            RaggedMatrix(*collateral, n_assets),
            RaggedMatrix(*debt, n_assets),
            accounts=accounts,
            rebuild_share=rebuild_share,
        )

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[BookRow],
        n_assets: int,
        *,
        accounts: Int64Array | None = None,
        rebuild_share: float = 0.05,
    ) -> "Book":
        """From one row an account."""
        all_rows = list(rows)
        return cls(
            _stack([(r.collateral_assets, r.collateral_weights) for r in all_rows], n_assets),
            _stack([(r.debt_assets, r.debt_weights) for r in all_rows], n_assets),
            accounts=accounts,
            rebuild_share=rebuild_share,
        )

    @property
    def n_rows(self) -> int:
        """Rows of a valuation: the base's, then the overlay's."""
        return self._collateral.n_rows + self._new_collateral.n_rows

    @property
    def n_entries(self) -> int:
        """Stored weights of both sides."""
        return (
            self._collateral.n_entries
            + self._debt.n_entries
            + self._new_collateral.n_entries
            + self._new_debt.n_entries
        )

    @property
    def accounts(self) -> Int64Array:
        """The account in each row, −1 for a row no account occupies: int64[n_rows]. Do not modify."""
        return self._account_of_row[: self.n_rows]

    @property
    def max_terms(self) -> int:
        """Entries of the longest side of any row ever stored since the last rebuild: what bounds a sum's
        error."""
        return self._max_terms

    @property
    def is_compaction_due(self) -> bool:
        """Whether overlay and abandoned rows exceed `rebuild_share` of the book (and are more than a
        handful)."""
        stale = self._new_collateral.n_rows + self._n_abandoned
        return stale > max(_FIRST_CAPACITY, self.rebuild_share * self._collateral.n_rows)

    def contains(self, account: int) -> bool:
        """Whether the account has a row."""
        return 0 <= account < self._row_of_account.size and self._row_of_account[account] != ABSENT

    def row_of(self, account: int) -> int:
        """The row of an account. Raises KeyError if it is not in the book."""
        if not self.contains(account):
            raise KeyError(f"account {account} is not in the book")
        return int(self._row_of_account[account])

    def rows_of(self, accounts: Sequence[int] | Int64Array) -> Int64Array:
        """The rows of several accounts, −1 for each that is not in the book."""
        numbers = np.asarray(accounts, dtype=np.int64)
        rows = np.full(numbers.shape, ABSENT, dtype=np.int64)
        known = (numbers >= 0) & (numbers < self._row_of_account.size)
        rows[known] = self._row_of_account[numbers[known]]
        return rows

    def entry(self, row: int) -> BookRow:
        """The weights stored in a row."""
        base_rows = self._collateral.n_rows
        if row < base_rows:
            return BookRow(*self._collateral.row(row), *self._debt.row(row))
        return BookRow(*self._new_collateral.row(row - base_rows), *self._new_debt.row(row - base_rows))

    def replace(self, account: int, row: BookRow) -> int:
        """Give an account (new or known) the weights `row`; returns the row it now has. O(its entries)."""
        if account < 0:
            raise ValueError(f"account: {account} is negative; accounts are numbered from 0")
        _check_entries("collateral", row.collateral_assets, row.collateral_weights, self.n_assets)
        _check_entries("debt", row.debt_assets, row.debt_weights, self.n_assets)
        self.remove(account)
        new_row = self.n_rows
        self._new_collateral.append(row.collateral_assets, row.collateral_weights)
        self._new_debt.append(row.debt_assets, row.debt_weights)
        self._account_of_row = _grown(self._account_of_row, self.n_rows, fill=ABSENT)
        self._row_of_account = _grown(self._row_of_account, account + 1, fill=ABSENT)
        self._account_of_row[new_row] = account
        self._row_of_account[account] = new_row
        self._max_terms = max(self._max_terms, row.collateral_assets.size, row.debt_assets.size)
        return new_row

    def remove(self, account: int) -> int:
        """Take an account out of the book; returns the row it leaves, −1 if it was not in the book."""
        if not self.contains(account):
            return ABSENT
        row = int(self._row_of_account[account])
        self._account_of_row[row] = ABSENT
        self._row_of_account[account] = ABSENT
        self._n_abandoned += 1
        return row

    def compact(self) -> Int64Array:
        """Rebuild the matrices without overlay and abandoned rows; returns the former row of each row."""
        rows = np.flatnonzero(self.accounts != ABSENT)
        collateral, debt = self.take(rows)
        order = np.lexsort((debt.lengths, collateral.lengths))
        accounts = self.accounts[rows][order]
        self._set_base(collateral.take(order), debt.take(order), accounts)
        former_rows: Int64Array = rows[order]
        return former_rows

    def revalue(self, marks: Float64Array) -> Valuation:
        """Value every row at `marks` (float64[n_assets], USD per whole token).

        A mark that is NaN, not positive or out of range makes exactly the rows with a position in the
        asset unvalued.
        """
        prices = self._checked(marks)
        collateral, debt = self.dot(prices)
        if self._n_abandoned:
            abandoned = self.accounts == ABSENT
            collateral[abandoned] = 0.0
            debt[abandoned] = 0.0
        return Valuation(collateral, debt, np.isnan(collateral) | np.isnan(debt))

    def revalue_rows(self, rows: Int64Array, marks: Float64Array) -> Valuation:
        """Value some rows, in the given order, in time proportional to their entries."""
        prices = self._checked(marks)
        base_rows = self._collateral.n_rows
        is_new = rows >= base_rows
        if not is_new.any():
            collateral = self._collateral.dot_rows(prices, rows)
            debt = self._debt.dot_rows(prices, rows)
        else:
            collateral, debt = np.empty(rows.size), np.empty(rows.size)
            old, new = rows[~is_new], rows[is_new] - base_rows
            collateral[~is_new] = self._collateral.dot_rows(prices, old)
            collateral[is_new] = self._new_collateral.dot_rows(prices, new)
            debt[~is_new] = self._debt.dot_rows(prices, old)
            debt[is_new] = self._new_debt.dot_rows(prices, new)
        return Valuation(collateral, debt, np.isnan(collateral) | np.isnan(debt))

    def dot(self, prices: Float64Array) -> tuple[Float64Array, Float64Array]:
        """(Σ collateral weight · price, Σ debt weight · price) of every row for any per-asset vector:
        float64[n_rows]."""
        collateral, debt = self._collateral.dot(prices), self._debt.dot(prices)
        if self._new_collateral.n_rows:
            collateral = np.concatenate([collateral, self._new_collateral.dot(prices)])
            debt = np.concatenate([debt, self._new_debt.dot(prices)])
        return collateral, debt

    def take(self, rows: Int64Array) -> tuple[RaggedMatrix, RaggedMatrix]:
        """The (collateral, debt) weights of some rows, in the given order."""
        base_rows = self._collateral.n_rows
        is_new = rows >= base_rows
        if not is_new.any():
            return self._collateral.take(rows), self._debt.take(rows)
        if is_new.all():
            return self._new_collateral.take(rows - base_rows), self._new_debt.take(rows - base_rows)
        # The two kinds are taken apart, joined, and put back in the order asked for.
        old, new = rows[~is_new], rows[is_new] - base_rows
        joined = np.concatenate([np.flatnonzero(~is_new), np.flatnonzero(is_new)])
        back = np.argsort(joined)
        return (
            _join(self._collateral.take(old), self._new_collateral.take(new)).take(back),
            _join(self._debt.take(old), self._new_debt.take(new)).take(back),
        )

    def rows_holding(self, asset: int) -> Int64Array:
        """The occupied rows with a position in the asset, ascending; the base's share is remembered until
        a rebuild."""
        rows = self._holders_in_base(asset)
        if self._new_collateral.n_rows:
            new = np.union1d(self._new_collateral.rows_holding(asset), self._new_debt.rows_holding(asset))
            rows = np.concatenate([rows, new + self._collateral.n_rows])
        occupied: Int64Array = rows[self._account_of_row[rows] != ABSENT]
        return occupied

    def count_holding(self, asset: int) -> int:
        """About how many rows hold the asset: the base's, abandoned ones included. O(1) once asked."""
        return self._holders_in_base(asset).size

    def _holders_in_base(self, asset: int) -> Int64Array:
        if asset not in self._base_holders:
            held = (self._collateral.rows_holding(asset), self._debt.rows_holding(asset))
            self._base_holders[asset] = np.union1d(*held)
        return self._base_holders[asset]

    def unvalued_assets(self, row: int, marks: Float64Array) -> tuple[int, ...]:
        """The assets of a row whose mark cannot be used, ascending."""
        entry = self.entry(row)
        held = np.union1d(entry.collateral_assets, entry.debt_assets)
        return tuple(held[np.isnan(valid_marks(marks)[held])].tolist())

    def _checked(self, marks: Float64Array) -> Float64Array:
        if marks.shape != (self.n_assets,):
            raise ValueError(f"marks: shape {marks.shape}, the book has {self.n_assets} assets")
        return valid_marks(marks)

    def _set_base(self, collateral: RaggedMatrix, debt: RaggedMatrix, accounts: Int64Array) -> None:
        self._collateral, self._debt = collateral, debt
        self._new_collateral = RaggedMatrix.empty(self.n_assets)
        self._new_debt = RaggedMatrix.empty(self.n_assets)
        self._account_of_row = accounts
        self._row_of_account = np.full(int(accounts.max(initial=-1)) + 1, ABSENT, dtype=np.int64)
        self._row_of_account[accounts] = np.arange(accounts.size)
        self._n_abandoned = 0
        self._base_holders: dict[int, Int64Array] = {}
        self._max_terms = int(max(collateral.lengths.max(initial=0), debt.lengths.max(initial=0)))


def _check_entries(side: str, assets: Int32Array, weights: Float64Array, n_assets: int) -> None:
    if assets.shape != weights.shape:
        raise ValueError(f"{side}: {assets.size} assets but {weights.size} weights")
    if assets.size and (assets.min() < 0 or assets.max() >= n_assets):
        raise ValueError(f"{side}: asset indexes {assets.min()}..{assets.max()} outside 0..{n_assets - 1}")
    if not np.all((weights >= 0.0) & (weights < np.inf)):
        raise ValueError(f"{side}: a weight is negative or not finite")


def _stack(rows: Sequence[tuple[Int32Array, Float64Array]], n_assets: int) -> RaggedMatrix:
    indptr = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([assets.size for assets, _ in rows], out=indptr[1:])
    return RaggedMatrix(
        indptr,
        np.concatenate([assets for assets, _ in rows]) if rows else np.empty(0, np.int32),
        np.concatenate([weights for _, weights in rows]) if rows else np.empty(0, np.float64),
        n_assets,
    )


def _join(first: RaggedMatrix, second: RaggedMatrix) -> RaggedMatrix:
    return RaggedMatrix(
        np.concatenate([first.indptr, second.indptr[1:] + first.n_entries]),
        np.concatenate([first.assets, second.assets]),
        np.concatenate([first.weights, second.weights]),
        first.n_assets,
    )


def _grown(array: _Array, size: int, *, fill: int = 0) -> _Array:
    """`array` itself if it holds `size` elements, else a copy of at least twice the length padded with
    `fill`."""
    if size <= array.size:
        return array
    grown = np.full(max(size, 2 * array.size, _FIRST_CAPACITY), fill, dtype=array.dtype)
    grown[: array.size] = array
    return grown
