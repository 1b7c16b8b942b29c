"""The safe-radius index: which accounts a tick may have moved to another state, exactly.

f = C − a·B is linear in the marks: pⱼ of collateral and qⱼ of debt, which are the same unless the policy
values the two sides apart. Let p₀, q₀ be the base marks, σ a positive scale per asset and m = maxⱼ
max(|pⱼ/p₀ⱼ − 1|, |qⱼ/q₀ⱼ − 1|) / σⱼ the size of a move in units of σ. Then |f(p, q) − f(p₀, q₀)| ≤ m · S, so
an account that keeps its state for f_worsen ≥ 0 > f_improve cannot leave it while m is below

    radius = min( f_worsen / S_worsen , −f_improve / S_improve ),   S = Σⱼ (cⱼ p₀ⱼ + a·bⱼ q₀ⱼ) σⱼ,

both f at the base marks.

Each of the two bounds has a radius of its own. Bounds below some radius are kept in a watch list ordered by
it, as one row of weights each, so that a tick is one sparse product with the prefix of radius ≤ m and a
comparison: is f, or −f_improve, above what rounding could hide? With σ the assets' volatilities, one small
coin that jumps does not drag in the whole list; a coin that moves far more than the others is left out of m,
and its holders are looked at instead whenever that is the shorter list.

A missing mark (NaN) does not count as a move: its holders are unvalued, and everybody else does not depend
on it. The base keeps the last mark seen (or 1), so the radius holds again when the mark returns. A radius
belongs to a recorded state; rows whose state or weights changed since the base are *hot*: their bounds are
looked at on every tick until the next rebase, wherever the marks are.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from shared.risk.book import ABSENT, Book, Valuation
from shared.risk.margin import error_bound, stay_bounds
from shared.risk.policy import MarginPolicy
from shared.risk.positions import Float64Array, Int8Array, Int64Array, two_sided
from shared.risk.ragged import RaggedMatrix, grown
from shared.risk.states import NEVER_EVALUATED, MarginState

_CHUNK: Final = 16_384
_ALWAYS: Final = -1.0
"""The radius of a row that is looked at on every tick."""
_ROUNDING: Final = 1e-9
"""Relative slack that covers every rounding in a radius and in m; it only makes the list longer."""
_NO_ROWS: Final[Int64Array] = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class IndexTuning:
    """What the index may spend; it changes the cost of a tick, never its result.

    Books of up to `whole_watch_rows` rows are watched whole; larger ones keep between `min_watch_share`
    and `max_watch_share` of their rows in the list. When more than `separate_from_rows` rows would be
    looked at, up to `max_outliers` assets are tried as outliers.
    """

    whole_watch_rows: int = 4096
    min_watch_share: float = 0.01
    max_watch_share: float = 0.05
    separate_from_rows: int = 1024
    max_outliers: int = 3


DEFAULT_TUNING: Final = IndexTuning()


class Move(NamedTuple):
    """A move against the base: `size` in units of σ over all assets but `outliers`, whose holders are
    listed instead."""

    size: float
    outliers: tuple[int, ...]


@dataclass(slots=True)
class _Bounds:
    """Bounds of states as rows of weights, [collateral; debt] marks in, distance from the bound in USD out.

    Row i belongs to `rows[i]` and is reached where its product is not above `tolerances[i]`, for marks at the
    base; the tolerance grows with the marks. One that misses a mark is NaN, and reached by nothing.
    """

    rows: Int64Array
    weights: RaggedMatrix
    tolerances: Float64Array

    def reached(self, prices: Float64Array, growth: float, n: int) -> Int64Array:
        """Rows of the first `n` bounds that are reached, at `prices` up to `growth` times the base."""
        distance = self.weights.dot_of_first(prices.reshape(-1), n)
        reached: Int64Array = self.rows[:n][distance <= self.tolerances[:n] * growth]
        return reached


class SafeRadiusIndex:
    """Watch list of a book's rows by safe radius. Equal to the full pass on every tick: a row that is in
    neither `candidates` nor unvalued has the state it had.

    `scale` (float64[n_assets], positive): σ of each asset's relative move, any common unit of time. It
    changes how long the lists are, never what is found.
    """

    def __init__(
        self, book: Book, policy: MarginPolicy, scale: Float64Array, tuning: IndexTuning = DEFAULT_TUNING
    ) -> None:
        if scale.shape != (book.n_assets,) or not np.all((scale > 0.0) & np.isfinite(scale)):
            raise ValueError(f"scale: needs {book.n_assets} positive finite values, one for each asset")
        self.book = book
        self._tuning = tuning
        self._scale = scale
        self._largest_scale = float(scale.max(initial=0.0))
        self._worsen_below, self._improve_from = stay_bounds(policy)
        self._base = np.ones((2, book.n_assets))
        self._watch_radius = np.inf
        self._watched_until = -np.inf
        self._radius = np.empty(0)
        self._watched = self._bounds_of(np.empty(0, np.int64), np.empty(0), np.empty(0))
        self._is_hot = np.zeros(book.n_rows, dtype=bool)
        self._hot: _Bounds | None = None

    def rebase(self, prices: Float64Array, states: Int8Array, valuation: Valuation | None = None) -> None:
        """Make `prices` (see `two_sided`) the base. `states` (int8[n_rows]): the last state each row was
        valued at, NEVER_EVALUATED if none. `valuation`: the book's at `prices`, if it is at hand.

        Missing ones keep their former base value.
        """
        self._base = np.where(np.isnan(prices), self._base, prices)
        # Relative to it, with what the quotient and its product round off.
        self._per_move = (1.0 + _ROUNDING) / (self._base * self._scale)
        if valuation is None or valuation.unvalued.any():
            collateral, debt = self.book.dot(self._base)
        else:
            collateral, debt = valuation.collateral_usd, valuation.debt_usd
        collateral_move, debt_move = self.book.dot(self._base * self._scale)
        radius = np.empty(states.size)
        # In chunks that stay in cache: the dozen passes over a large book would else be bound by memory.
        for start in range(0, states.size, _CHUNK):
            chunk = slice(start, start + _CHUNK)
            values = collateral[chunk], debt[chunk], collateral_move[chunk], debt_move[chunk]
            # fmin takes the bound that exists.
            radius[chunk] = np.fmin(*self._radii(*values, self._low_up(states[chunk], debt[chunk])))
        radius[self.book.accounts == ABSENT] = np.inf
        rows = self._choose_watched(radius)
        values = collateral[rows], debt[rows], collateral_move[rows], debt_move[rows]
        low, up = self._low_up(states[rows], debt[rows])
        bound_radius = np.concatenate(self._radii(*values, (low, up)))
        order = np.argsort(bound_radius)
        order = order[: np.searchsorted(bound_radius[order], self._watched_until)]
        self._radius = bound_radius[order]
        of_row = order % max(rows.size, 1)
        is_upper = order >= rows.size
        self._watched = self._bounds_of(
            rows[of_row],
            np.where(is_upper, up[of_row], low[of_row]),
            np.where(is_upper, -1.0, 1.0),
        )
        self._is_hot = np.zeros(self.book.n_rows, dtype=bool)
        self._hot = None

    def add_hot(self, rows: Int64Array) -> None:
        """Look at these rows on every tick until the next rebase: their state or weights are not the
        base's."""
        if rows.size:
            self._is_hot = grown(self._is_hot, self.book.n_rows)
            self._is_hot[rows] = True
            self._hot = None

    def move(self, prices: Float64Array) -> Move | None:
        """How far `prices` (see `two_sided`) are from the base; None if that is beyond the watch list,
        so that only a full pass is exact."""
        if self._watched_until < 0.0:
            return None
        sizes = np.abs(prices - self._base)
        sizes *= self._per_move
        # fmax passes over marks that are missing.
        largest = float(np.fmax.reduce(sizes, axis=None, initial=0.0))
        if largest < self._watched_until and self._prefix(largest) <= self._tuning.separate_from_rows:
            return Move(largest, ())
        return self._separate(np.nan_to_num(sizes.max(axis=0)))

    def candidates(self, marks: Float64Array) -> Int64Array | None:
        """Rows whose state may differ from the recorded one; None if every row may."""
        move = self.move(two_sided(marks))
        if move is None:
            return None
        parts = [self._watched.rows[: self._prefix(move.size)], np.flatnonzero(self._is_hot)]
        parts += [self.book.rows_holding(asset) for asset in move.outliers]
        return np.unique(np.concatenate(parts))

    def screen(self, move: Move, prices: Float64Array, states: Int8Array) -> tuple[Int64Array, int]:
        """(candidates that, valued at `prices`, are outside or on the edge of their state's interval;
        number looked at). `states` as in `rebase`, of now.

        Holders of outliers are returned unscreened.
        """
        hot = self._hot if self._hot is not None else self._gather_hot(states)
        n, n_hot = self._prefix(move.size), hot.rows.size
        growth = 1.0 + move.size * self._largest_scale
        parts = [self._watched.reached(prices, growth, n)] if n else []
        parts += [hot.reached(prices, growth, n_hot)] if n_hot else []
        holders = [self.book.rows_holding(asset) for asset in move.outliers]
        looked_at = n + n_hot + sum(rows.size for rows in holders)
        found = [part for part in (*parts, *holders) if part.size]
        return np.unique(np.concatenate(found)) if found else _NO_ROWS, looked_at

    def _prefix(self, size: float) -> int:
        return int(self._radius.searchsorted(size, side="right"))

    def _gather_hot(self, states: Int8Array) -> _Bounds:
        """The bounds of the hot rows, of the states they have now; those that the watch list has of them, and
        of rows abandoned since, are never reached again."""
        rows = np.flatnonzero(self._is_hot)
        rows = rows[self.book.accounts[rows] != ABSENT]
        watched = self._watched.rows
        is_stale = self._is_hot[watched] | (self.book.accounts[watched] == ABSENT)
        self._watched.tolerances[is_stale] = -np.inf
        _, debt = self.book.take(rows)
        low, up = self._low_up(states[rows], debt.dot(self._base[1]))
        both = np.concatenate([rows, rows])
        signs = np.repeat([1.0, -1.0], rows.size)
        multiples = np.concatenate([low, up])
        exists = ~np.isnan(multiples)
        self._hot = self._bounds_of(both[exists], multiples[exists], signs[exists])
        return self._hot

    def _bounds_of(self, rows: Int64Array, multiples: Float64Array, signs: Float64Array) -> _Bounds:
        """Bounds sign · (collateral − multiple · debt) of rows, one each."""
        collateral, debt = self.book.take(rows)
        of_collateral = collateral.scaled(signs)
        of_debt = debt.scaled(-signs * multiples)
        weights = of_collateral.beside(of_debt)
        gross = collateral.dot(self._base[0]) + multiples * debt.dot(self._base[1])
        return _Bounds(rows, weights, 4.0 * error_bound(2 * self.book.max_terms) * gross)

    def _separate(self, sizes: Float64Array) -> Move | None:
        """The split into outliers and the rest that looks at the fewest rows; None if none is covered."""
        order = np.argsort(-sizes)[: self._tuning.max_outliers + 1]
        best: Move | None = None
        best_rows = np.inf
        listed = 0
        for n_outliers, asset in enumerate(order.tolist()):
            size = float(sizes[asset])
            if size < self._watched_until:
                rows = listed + self._prefix(size)
                if rows < best_rows:
                    best, best_rows = Move(size, tuple(order[:n_outliers].tolist())), rows
            if listed >= best_rows:
                break
            listed += self.book.count_holding(asset)
        return (
            best
            if best_rows
            <= self._tuning.max_watch_share * max(self.book.n_rows, self._tuning.whole_watch_rows)
            else None
        )

    def _low_up(self, states: Int8Array, debt: Float64Array) -> tuple[Float64Array, Float64Array]:
        """The multiples of debt below which collateral leaves each state, and from which it does; NaN for
        one that does not exist."""
        # Weights changed while it was unvalued: whether it has debt is not what its state says.
        contradicts = (states == MarginState.NO_DEBT) != (debt == 0.0)
        known = np.where(contradicts, np.int8(NEVER_EVALUATED), states) + 1
        return self._worsen_below[known], self._improve_from[known]

    def _radii(
        self,
        collateral: Float64Array,
        debt: Float64Array,
        collateral_move: Float64Array,
        debt_move: Float64Array,
        bounds: tuple[Float64Array, Float64Array],
    ) -> tuple[Float64Array, Float64Array]:
        """(radius of the lower bound, of the upper one), infinite for one that does not exist."""
        low, up = bounds
        slack = 4.0 * error_bound(2 * self.book.max_terms)
        with np.errstate(divide="ignore", invalid="ignore"):
            worsen = (collateral - low * debt - slack * (collateral + low * debt)) / (
                collateral_move + low * debt_move
            )
            improve = (up * debt - collateral - slack * (collateral + up * debt)) / (
                collateral_move + up * debt_move
            )
        safe = [
            np.where(np.isnan(radius), np.inf, radius * (1.0 - _ROUNDING)) for radius in (worsen, improve)
        ]
        safe[1][up == 0.0] = _ALWAYS
        return safe[0], safe[1]

    def _choose_watched(self, radius: Float64Array) -> Int64Array:
        """The rows below the watch radius, which follows the book so that they are a fair share of it."""
        n_rows = radius.size
        if n_rows <= self._tuning.whole_watch_rows:
            self._watch_radius = np.inf
        elif not np.isfinite(self._watch_radius):
            finite = radius[np.isfinite(radius)]
            self._watch_radius = float(np.median(finite)) if finite.size else 1.0
            self._watch_radius = max(self._watch_radius, 1e-6)
        share = np.count_nonzero(radius < self._watch_radius) / max(n_rows, 1)
        for _ in range(64):
            if (
                share > self._tuning.max_watch_share
                and self._watch_radius > 1e-6
                and np.isfinite(self._watch_radius)
            ):
                self._watch_radius /= 1.5
            elif share < self._tuning.min_watch_share and self._watch_radius < 1e6:
                self._watch_radius *= 1.5
            else:
                break
            share = np.count_nonzero(radius < self._watch_radius) / n_rows
        self._watched_until = self._watch_radius
        return np.flatnonzero(radius < self._watch_radius)
