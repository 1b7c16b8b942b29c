"""Exact positions and their one rounding into float64 weights.

An account's claim on an asset is an integer of base units. What the risk core multiplies with marks is a
*weight*:

    collateral weight = quantity · collateral_factor        (whole tokens)
    debt weight       = quantity / borrow_factor

Both are rational numbers. They are formed from integers and rounded to float64 once, to nearest, so a
weight is within 2⁻⁵³ of its exact value, relatively, whatever the number of decimals (1 wei beside 10⁶
tokens, 2²⁵⁶−1 units).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
Int8Array = NDArray[np.int8]
BoolArray = NDArray[np.bool_]

MAX_DECIMALS: Final = 77
"""Most decimals a token may have: 10⁷⁷ is the last power of ten below 2²⁵⁶."""
MAX_AMOUNT_BASE: Final = 2**256 - 1
MIN_MARK_USD: Final = 1e-100
MAX_MARK_USD: Final = 1e100
"""Marks outside (MIN, MAX) are treated as missing: inside, no product or sum of a book can over- or
underflow, which the error bound of `margin.classify_states` relies on."""


@dataclass(frozen=True, slots=True)
class Position:
    """What an account holds and owes of one asset on one chain, in base units.

    `asset` is the index of the asset in the arrays of marks. Raises ValueError naming the field that is
    out of range.
    """

    asset: int
    decimals: int
    collateral_base: int = 0
    debt_base: int = 0

    def __post_init__(self) -> None:
        if self.asset < 0:
            raise ValueError(f"asset: {self.asset} is negative; pass the asset's index in the array of marks")
        if not 0 <= self.decimals <= MAX_DECIMALS:
            raise ValueError(f"decimals: {self.decimals} is outside 0..{MAX_DECIMALS}")
        if not 0 <= self.collateral_base <= MAX_AMOUNT_BASE:
            raise ValueError(f"collateral_base: {self.collateral_base} is outside 0..2^256-1")
        if not 0 <= self.debt_base <= MAX_AMOUNT_BASE:
            raise ValueError(f"debt_base: {self.debt_base} is outside 0..2^256-1")


@dataclass(frozen=True, slots=True)
class AssetFactors:
    """An asset's haircuts: 0 ≤ collateral_factor ≤ 1 and 0 < borrow_factor ≤ 1, exact; 1 is no haircut."""

    collateral_factor: Decimal = Decimal(1)
    borrow_factor: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        if not (self.collateral_factor.is_finite() and 0 <= self.collateral_factor <= 1):
            raise ValueError(f"collateral_factor: {self.collateral_factor} is outside 0..1")
        if not (self.borrow_factor.is_finite() and 0 < self.borrow_factor <= 1):
            raise ValueError(f"borrow_factor: {self.borrow_factor} is outside 0 < factor <= 1")


class BookRow(NamedTuple):
    """One account's weights: asset indexes (int32) and weights (float64) of each side, each asset once a
    side.

    An asset held in a non-zero quantity stays in the row even if its factor makes the weight 0, because
    its mark must exist for the account to be valued.
    """

    collateral_assets: Int32Array
    collateral_weights: Float64Array
    debt_assets: Int32Array
    debt_weights: Float64Array


class _Ratio(NamedTuple):
    numerator: int
    denominator: int


class FactorTable:
    """The factors of every asset, in asset order; converts positions to weights, exactly or with one
    rounding."""

    def __init__(self, factors: Sequence[AssetFactors]) -> None:
        self.factors = tuple(factors)
        self._collateral = tuple(_Ratio(*f.collateral_factor.as_integer_ratio()) for f in self.factors)
        self._debt = tuple(_Ratio(*reversed(f.borrow_factor.as_integer_ratio())) for f in self.factors)

    @classmethod
    def without_haircuts(cls, n_assets: int) -> "FactorTable":
        """All factors 1: collateral and debt are the plain values."""
        return cls([AssetFactors()] * n_assets)

    def __len__(self) -> int:
        return len(self.factors)

    def row(self, positions: Iterable[Position]) -> BookRow:
        """The account's weights; positions of one asset on several chains are summed exactly, then rounded
        once."""
        sums = self._sum_by_asset(positions)
        collateral = [
            (a, c * self._collateral[a].numerator, d, self._collateral[a])
            for a, (d, c, _) in sums.items()
            if c
        ]
        debt = [(a, b * self._debt[a].numerator, d, self._debt[a]) for a, (d, _, b) in sums.items() if b]
        # Division of two Python integers is correctly rounded, so this is the single rounding.
        return BookRow(
            np.array([a for a, *_ in collateral], dtype=np.int32),
            np.array([n / (r.denominator * 10**d) for _, n, d, r in collateral], dtype=np.float64),
            np.array([a for a, *_ in debt], dtype=np.int32),
            np.array([n / (r.denominator * 10**d) for _, n, d, r in debt], dtype=np.float64),
        )

    def exact_values(
        self,
        positions: Iterable[Position],
        marks: Mapping[int, Fraction] | Sequence[Fraction],
        debt_marks: Mapping[int, Fraction] | Sequence[Fraction] | None = None,
    ) -> tuple[Fraction, Fraction]:
        """(collateral_usd, debt_usd) as exact rationals; `marks` by asset index, each positive; `debt_marks`
        where debt is valued at others."""
        owed_at = marks if debt_marks is None else debt_marks
        collateral = debt = Fraction(0)
        for asset, (decimals, collateral_base, debt_base) in self._sum_by_asset(positions).items():
            unit = Fraction(1, 10**decimals)
            if collateral_base:
                collateral += collateral_base * Fraction(*self._collateral[asset]) * marks[asset] * unit
            if debt_base:
                debt += debt_base * Fraction(*self._debt[asset]) * owed_at[asset] * unit
        return collateral, debt

    def _sum_by_asset(self, positions: Iterable[Position]) -> dict[int, tuple[int, int, int]]:
        """asset -> (decimals, collateral_base, debt_base), amounts of other decimals scaled up to the
        greatest."""
        sums: dict[int, tuple[int, int, int]] = {}
        for position in positions:
            asset = position.asset
            if asset >= len(self.factors):
                raise ValueError(f"asset: {asset} has no factors; the table knows {len(self.factors)} assets")
            decimals, collateral, debt = sums.get(asset, (position.decimals, 0, 0))
            if position.decimals == decimals:
                sums[asset] = (decimals, collateral + position.collateral_base, debt + position.debt_base)
                continue
            common = max(decimals, position.decimals)
            scale, other_scale = 10 ** (common - decimals), 10 ** (common - position.decimals)
            sums[asset] = (
                common,
                collateral * scale + position.collateral_base * other_scale,
                debt * scale + position.debt_base * other_scale,
            )
        return sums


def two_sided(marks: Float64Array) -> Float64Array:
    """float64[2, n_assets]: what collateral (row 0) and what debt (row 1) is valued at.

    `marks`: float64[n_assets], the same for both sides, or float64[2, n_assets]. An asset of which either
    cannot be used (see `valid_marks`) is NaN on both: its holders are unvalued, whichever side they are on.
    Raises ValueError for another shape.
    """
    valid = valid_marks(marks)
    if valid.ndim == 1:
        both = np.empty((2, valid.size))
        both[:] = valid
        return both
    if valid.ndim != 2 or valid.shape[0] != 2:
        raise ValueError(f"marks: shape {valid.shape} is neither [n_assets] nor [2, n_assets]")
    return np.where(np.isnan(valid).any(axis=0), np.nan, valid)


def valid_marks(marks: Float64Array) -> Float64Array:
    """A copy of `marks` in which every mark that cannot be used (NaN, not positive, out of range) is NaN."""
    marks = np.asarray(marks, dtype=np.float64)
    return np.where((marks > MIN_MARK_USD) & (marks < MAX_MARK_USD), marks, np.nan)
