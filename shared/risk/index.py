"""The safe-radius index: which accounts a tick may have moved to another state, exactly.

f = C − a·B is linear in the marks: pⱼ of collateral and qⱼ of debt, which are the same unless the policy
values the two sides apart. Let p₀, q₀ be the base marks, σ a positive scale per asset and m = maxⱼ
max(|pⱼ/p₀ⱼ − 1|, |qⱼ/q₀ⱼ − 1|) / σⱼ the size of a move in units of σ. Then |f(p, q) − f(p₀, q₀)| ≤ m · S, so
an account that keeps its state for f_worsen ≥ 0 > f_improve cannot leave it while m is below

    radius = min( f_worsen / S_worsen , −f_improve / S_improve ),   S = Σⱼ (cⱼ p₀ⱼ + a·bⱼ q₀ⱼ) σⱼ,

both f at the base marks.

Accounts below some radius are kept in a watch list ordered by it; a tick looks only at the prefix with radius
≤ m. With σ the assets' volatilities, one small coin that jumps does not drag in the whole list; a coin that
moves far more than the others is left out of m, and its holders are looked at instead whenever that is the
shorter list.

A missing mark (NaN) does not count as a move: its holders are unvalued, and everybody else does not depend
on it. The base keeps the last mark seen (or 1), so the radius holds again when the mark returns. A radius
belongs to a recorded state; rows whose state or weights changed since the base are *hot*: looked at on
every tick until the next rebase.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from shared.risk.book import ABSENT, Book
from shared.risk.margin import error_bound, stay_bounds
from shared.risk.policy import MarginPolicy
from shared.risk.positions import BoolArray, Float64Array, Int8Array, Int64Array, two_sided
from shared.risk.states import NEVER_EVALUATED, MarginState

_CHUNK: Final = 16_384
_ALWAYS: Final = -1.0
"""The radius of a row that is looked at on every tick."""
_ROUNDING: Final = 1e-9
"""Relative slack that covers every rounding in a radius and in m; it only makes the list longer."""
_QUOTIENT_ROUNDING: Final = 2.0**-51


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
    separate_from_rows: int = 256
    max_outliers: int = 3


DEFAULT_TUNING: Final = IndexTuning()


class Move(NamedTuple):
    """A move against the base: `size` in units of σ over all assets but `outliers`, whose holders are
    listed instead."""

    size: float
    outliers: tuple[int, ...]


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
        self._worsen_below, self._improve_from = stay_bounds(policy)
        self._base = np.ones((2, book.n_assets))
        self._watch_radius = np.inf
        self._watched_until = -np.inf
        self._hot: set[int] = set()
        self._hot_rows = np.empty(0, np.int64)
        self._radius = np.empty(0)
        self._rows = np.empty(0, np.int64)

    def rebase(self, prices: Float64Array, states: Int8Array) -> None:
        """Make `prices` (see `two_sided`) the base. `states` (int8[n_rows]): the last state each row was
        valued at, NEVER_EVALUATED if none.

        Missing ones keep their former base value.
        """
        self._base = np.where(np.isnan(prices), self._base, prices)
        collateral, debt = self.book.dot(self._base)
        collateral_move, debt_move = self.book.dot(self._base * self._scale)
        contradicts = (states == MarginState.NO_DEBT) != (debt == 0.0)
        radius = np.empty(states.size)
        # In chunks that stay in cache: the dozen passes over a large book would else be bound by memory.
        for start in range(0, states.size, _CHUNK):
            chunk = slice(start, start + _CHUNK)
            radius[chunk] = self._radii(
                collateral[chunk], debt[chunk], collateral_move[chunk], debt_move[chunk], states[chunk]
            )
        # Weights changed while it was unvalued: whether it has debt is not what its state says.
        radius[contradicts] = _ALWAYS
        radius[self.book.accounts == ABSENT] = np.inf
        watched = self._choose_watched(radius)
        order = np.argsort(radius[watched])
        self._rows = watched[order]
        self._radius = radius[self._rows]
        self._collateral, self._debt = self.book.take(self._rows)
        known = np.where(contradicts[self._rows], np.int8(NEVER_EVALUATED), states[self._rows])
        self._low, self._up = self._stay_bounds(known)
        self._slack = 4.0 * error_bound(self.book.max_terms)
        self._hot = set()
        self._hot_rows = np.empty(0, np.int64)

    def add_hot(self, rows: Int64Array) -> None:
        """Look at these rows on every tick until the next rebase: their state or weights are not the
        base's."""
        fresh = set(rows.tolist()) - self._hot
        if fresh:
            self._hot |= fresh
            self._hot_rows = np.fromiter(self._hot, dtype=np.int64, count=len(self._hot))

    def move(self, prices: Float64Array) -> Move | None:
        """How far `prices` (see `two_sided`) are from the base; None if that is beyond the watch list,
        so that only a full pass is exact."""
        if self._watched_until < 0.0:
            return None
        # The quotient's rounding is absolute once 1 is subtracted, so it is added before dividing by σ.
        moves = np.abs(prices / self._base - 1.0) + _QUOTIENT_ROUNDING
        sizes = moves.max(axis=0) * (1.0 + _ROUNDING) / self._scale
        sizes[np.isnan(sizes)] = 0.0
        largest = float(sizes.max(initial=0.0))
        rows = self._prefix(largest)
        if rows <= self._tuning.separate_from_rows and largest < self._watched_until:
            return Move(largest, ())
        return self._separate(sizes)

    def candidates(self, marks: Float64Array) -> Int64Array | None:
        """Rows whose state may differ from the recorded one; None if every row may."""
        move = self.move(two_sided(marks))
        if move is None:
            return None
        parts = [self._rows[: self._prefix(move.size)], self._hot_rows]
        parts += [self.book.rows_holding(asset) for asset in move.outliers]
        return np.unique(np.concatenate(parts))

    def screen(self, move: Move, prices: Float64Array) -> tuple[Int64Array, int]:
        """(candidates that, valued at `prices`, are outside or on the edge of their state's interval;
        number looked at).

        Hot rows and holders of outliers are returned unscreened, the watch list's prefix is valued where
        it lies.
        """
        n = self._prefix(move.size)
        collateral = self._collateral.dot_of_first(prices[0], n)
        debt = self._debt.dot_of_first(prices[1], n)
        leaves = leaves_interval(collateral, debt, self._low[:n], self._up[:n], self._slack)
        parts = [self._rows[:n][leaves], self._hot_rows]
        parts += [self.book.rows_holding(asset) for asset in move.outliers]
        looked_at = n + self._hot_rows.size + sum(part.size for part in parts[2:])
        return np.unique(np.concatenate(parts)), looked_at

    def _prefix(self, size: float) -> int:
        return int(np.searchsorted(self._radius, size, side="right"))

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

    def _stay_bounds(self, states: Int8Array) -> tuple[Float64Array, Float64Array]:
        return self._worsen_below[states + 1], self._improve_from[states + 1]

    def _radii(
        self,
        collateral: Float64Array,
        debt: Float64Array,
        collateral_move: Float64Array,
        debt_move: Float64Array,
        states: Int8Array,
    ) -> Float64Array:
        low, up = self._stay_bounds(states)
        slack = 4.0 * error_bound(self.book.max_terms)
        with np.errstate(divide="ignore", invalid="ignore"):
            worsen = (collateral - low * debt - slack * (collateral + low * debt)) / (
                collateral_move + low * debt_move
            )
            improve = (up * debt - collateral - slack * (collateral + up * debt)) / (
                collateral_move + up * debt_move
            )
        # fmin takes the bound that exists; where neither does (NO_DEBT) no move changes the state.
        radius = np.fmin(worsen, improve) * (1.0 - _ROUNDING)
        radius[np.isnan(radius)] = np.inf
        radius[states == NEVER_EVALUATED] = _ALWAYS
        return radius

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


def leaves_interval(
    collateral_usd: Float64Array, debt_usd: Float64Array, low: Float64Array, up: Float64Array, slack: float
) -> BoolArray:
    """Whether low·debt ≤ collateral < up·debt fails or is too close to tell (relative `slack`); False
    where a bound or a value is NaN, since nothing then leaves over it."""
    worsens = collateral_usd < (low * (1.0 + slack)) * debt_usd
    improves = collateral_usd >= (up * (1.0 - slack)) * debt_usd
    return worsens | improves
