"""Margin states of a whole book, tick after tick: the book, its safe-radius index and the recorded states in
one object.

`BookEvaluator.tick` returns exactly the accounts whose state changed, as a full pass over all accounts would,
while it looks only at those that the move can have reached. Once as many rows have been looked at as a full
pass would cost, it makes the pass and takes the marks as its new base, so it never costs more than about
twice the better of the two.

An account that misses a mark is unvalued: it keeps its last state, produces no transition, and is reported
apart when it becomes unvalued and when it becomes valued again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

import numpy as np

from shared.risk.book import ABSENT, Book, Valuation
from shared.risk.index import DEFAULT_TUNING, IndexTuning, SafeRadiusIndex
from shared.risk.margin import (
    classify_states,
    decide_state_exact,
    error_bound,
    health_pct,
    stay_bounds,
)
from shared.risk.policy import MarginPolicy
from shared.risk.positions import (
    BoolArray,
    FactorTable,
    Float64Array,
    Int8Array,
    Int64Array,
    Position,
    two_sided,
)
from shared.risk.states import NEVER_EVALUATED, MarginState

_CHUNK: Final = 16_384
_REBASE_AFTER_SHARE: Final = 0.5
"""Rows looked at since the base, as a share of the book, after which a new full pass is cheaper than going
on."""


@dataclass(frozen=True, slots=True)
class Marks:
    """One tick's marks, USD per whole token: `values` float64[n_assets], or float64[2, n_assets] where
    collateral (row 0) and debt (row 1) are valued apart; NaN (or not positive) for a missing one. `exact`
    and `exact_debt` are the decimals they were rounded from. Without them the float64 values are themselves
    taken as exact."""

    values: Float64Array
    exact: Sequence[Decimal | None] | None = None
    exact_debt: Sequence[Decimal | None] | None = None

    @classmethod
    def from_decimals(
        cls, exact: Sequence[Decimal | None], exact_debt: Sequence[Decimal | None] | None = None
    ) -> "Marks":
        """Each mark rounded to float64 once; None is a missing mark. `exact_debt`: what debt is valued at,
        where that is not what collateral is."""
        if exact_debt is None or list(exact_debt) == list(exact):
            return cls(_rounded(exact), exact)
        return cls(np.array([_rounded(exact), _rounded(exact_debt)]), exact, exact_debt)

    def exact_for(self, assets: Iterable[int]) -> tuple[dict[int, Fraction], dict[int, Fraction]]:
        """What collateral and what debt in some assets is valued at exactly, by asset."""
        wanted = tuple(assets)
        if self.exact is None:
            held_at, owed_at = two_sided(self.values)
            return (
                {asset: Fraction(float(held_at[asset])) for asset in wanted},
                {asset: Fraction(float(owed_at[asset])) for asset in wanted},
            )
        collateral = _exact_of(self.exact, wanted)
        return collateral, collateral if self.exact_debt is None else _exact_of(self.exact_debt, wanted)


def _rounded(exact: Sequence[Decimal | None]) -> Float64Array:
    return np.array([np.nan if mark is None else float(mark) for mark in exact], dtype=np.float64)


def _exact_of(exact: Sequence[Decimal | None], assets: Iterable[int]) -> dict[int, Fraction]:
    known = {asset: exact[asset] for asset in assets}
    return {asset: Fraction(mark) for asset, mark in known.items() if mark is not None}


@dataclass(frozen=True, slots=True)
class Transitions:
    """What a tick changed. Arrays of one entry per changed account, ascending by account.

    `previous` is NEVER_EVALUATED for an account valued for the first time. `looked_at` and `was_full_pass`
    say what the tick cost, `exact_decisions` how many states float64 could not decide.
    """

    accounts: Int64Array
    previous: Int8Array
    current: Int8Array
    collateral_usd: Float64Array
    debt_usd: Float64Array
    became_unvalued: Mapping[int, tuple[int, ...]]
    became_valued: tuple[int, ...]
    looked_at: int
    was_full_pass: bool
    exact_decisions: int

    @property
    def health_pct(self) -> Float64Array:
        """Health of each changed account."""
        return health_pct(self.collateral_usd, self.debt_usd)


@dataclass(frozen=True, slots=True)
class AccountMargin:
    """One account at given marks. `state` is UNVALUED, and the amounts NaN, if `unvalued_assets` is not
    empty."""

    account: int
    state: MarginState
    previous: int
    collateral_usd: float
    debt_usd: float
    health_pct: float
    unvalued_assets: tuple[int, ...]


class BookEvaluator:
    """Owns a book, its index and the recorded states. Not safe for concurrent use; deterministic.

    `accounts`: (account, positions) of every account at the start; accounts are small integers given by
    the caller. `scale`: σ of each asset's relative move (float64[n_assets]), for the index only; default
    equal. `exact_positions`: gives an account's positions when its state must be decided from integers.
    Without it the evaluator keeps the positions it was given (about 100 bytes each).
    """

    def __init__(
        self,
        factors: FactorTable,
        policy: MarginPolicy,
        accounts: Iterable[tuple[int, Sequence[Position]]] = (),
        *,
        scale: Float64Array | None = None,
        exact_positions: Callable[[int], Sequence[Position]] | None = None,
        tuning: IndexTuning = DEFAULT_TUNING,
    ) -> None:
        self.factors = factors
        self.policy = policy
        self._kept: dict[int, Sequence[Position]] = {}
        self._tuning = tuning
        self._keeps_positions = exact_positions is None
        self._exact_positions = exact_positions or self._kept.__getitem__
        self._scale = np.ones(len(factors)) if scale is None else np.asarray(scale, dtype=np.float64)
        numbers: list[int] = []
        rows = []
        for account, positions in accounts:
            numbers.append(account)
            rows.append(factors.row(positions))
            if self._keeps_positions:
                self._kept[account] = positions
        self._adopt(Book.from_rows(rows, len(factors), accounts=np.array(numbers, dtype=np.int64)))

    @classmethod
    def from_book(
        cls,
        book: Book,
        factors: FactorTable,
        policy: MarginPolicy,
        *,
        exact_positions: Callable[[int], Sequence[Position]],
        scale: Float64Array | None = None,
        tuning: IndexTuning = DEFAULT_TUNING,
    ) -> "BookEvaluator":
        """An evaluator of a book already built, e.g. from packed arrays."""
        evaluator = cls(factors, policy, scale=scale, exact_positions=exact_positions, tuning=tuning)
        evaluator._adopt(book)
        return evaluator

    def _adopt(self, book: Book) -> None:
        self.book = book
        self._index = SafeRadiusIndex(book, self.policy, self._scale, self._tuning)
        n_rows = book.n_rows
        self._states = np.full(n_rows, NEVER_EVALUATED, dtype=np.int8)
        self._n_missing = np.zeros(n_rows, dtype=np.int32)
        self._was_unvalued = np.zeros(n_rows, dtype=bool)
        self._bad = np.zeros(book.n_assets, dtype=bool)
        self._touched: set[int] = set()
        self._needs_full_pass = True
        self._looked_at = 0

    def replace_account(self, account: int, positions: Sequence[Position]) -> None:
        """Give an account its new positions, or add it; its recorded state is kept and acts at the next
        tick."""
        row = self.factors.row(positions)
        former = self.book.row_of(account) if self.book.contains(account) else ABSENT
        state = self._states[former] if former != ABSENT else NEVER_EVALUATED
        was_unvalued = bool(self._was_unvalued[former]) if former != ABSENT else False
        new_row = self.book.replace(account, row)
        self._grow(new_row)
        self._states[new_row] = state
        self._was_unvalued[new_row] = was_unvalued
        held = np.union1d(row.collateral_assets, row.debt_assets)
        self._n_missing[new_row] = np.count_nonzero(self._bad[held])
        self._touched.discard(former)
        self._touched.add(new_row)
        self._index.add_hot(np.array([new_row]))
        if self._keeps_positions:
            self._kept[account] = positions

    def remove_account(self, account: int) -> None:
        """Take an account out; nothing is reported about it any more. Raises KeyError if it is not in the
        book."""
        row = self.book.row_of(account)
        self.book.remove(account)
        self._touched.discard(row)
        self._kept.pop(account, None)

    def set_state(self, account: int, state: int, *, is_valued: bool = True) -> None:
        """Record the state another instance or an earlier run gave an account: its last *valued* state,
        NEVER_EVALUATED if it has none. `is_valued=False`: the account is on record as unvalued, so being
        so again is no news."""
        if state != NEVER_EVALUATED and not MarginState.NO_DEBT <= state <= MarginState.INSOLVENT:
            raise ValueError(f"state: {state} is not a valued margin state or NEVER_EVALUATED")
        row = self.book.row_of(account)
        self._states[row] = state
        self._was_unvalued[row] = not is_valued
        self._touched.add(row)
        self._index.add_hot(np.array([row]))

    def set_states(self, accounts: Int64Array, states: Int8Array, is_valued: BoolArray) -> None:
        """`set_state` of many accounts at once, arrays of one entry each. Raises KeyError if one is not in
        the book."""
        if (
            states.min(initial=NEVER_EVALUATED) < NEVER_EVALUATED
            or states.max(initial=0) > MarginState.INSOLVENT
        ):
            raise ValueError("states: one is neither a valued margin state nor NEVER_EVALUATED")
        rows = self.book.rows_of(accounts)
        if rows.min(initial=0) == ABSENT:
            raise KeyError(f"account {accounts[rows == ABSENT][0]} is not in the book")
        self._states[rows] = states
        self._was_unvalued[rows] = ~is_valued
        self._touched.update(rows.tolist())
        self._index.add_hot(rows)

    def state(self, account: int) -> int:
        """The last valued state recorded for an account, or NEVER_EVALUATED."""
        return int(self._states[self.book.row_of(account)])

    def is_unvalued(self, account: int) -> bool:
        """Whether the last tick left the account unvalued."""
        return bool(self._was_unvalued[self.book.row_of(account)])

    def tick(self, marks: Marks | Float64Array) -> Transitions:
        """Evaluate the book at `marks`, record the new states and return what changed."""
        tick_marks = marks if isinstance(marks, Marks) else Marks(marks)
        if tick_marks.values.shape[-1:] != (self.book.n_assets,):
            raise ValueError(
                f"marks: shape {tick_marks.values.shape}, the book has {self.book.n_assets} assets"
            )
        if self.book.is_compaction_due:
            self._compact()
        prices = two_sided(tick_marks.values)
        became_unvalued, became_valued = self._update_unvalued(prices)
        is_due = self._needs_full_pass or self._looked_at > _REBASE_AFTER_SHARE * self.book.n_rows
        move = None if is_due else self._index.move(prices)
        valuation = None
        if move is None:
            valuation = self.book.revalue(prices)
            rows = self._screen_all(valuation)
            values = Valuation(
                valuation.collateral_usd[rows], valuation.debt_usd[rows], valuation.unvalued[rows]
            )
            looked_at = self.book.n_rows
        else:
            rows, looked_at = self._index.screen(move, prices, self._states)
            self._looked_at += looked_at
            if not rows.size:
                return _nothing_changed(became_unvalued, became_valued, looked_at)
            rows = rows[self.book.accounts[rows] != ABSENT]
            values = self.book.revalue_rows(rows, prices)
        current, n_exact = self._decide(rows, values, tick_marks)
        changed = np.flatnonzero((current != self._states[rows]) & ~values.unvalued)
        changed = changed[np.argsort(self.book.accounts[rows[changed]])]
        changed_rows = rows[changed]
        transitions = Transitions(
            accounts=self.book.accounts[changed_rows].copy(),
            previous=self._states[changed_rows].copy(),
            current=current[changed],
            collateral_usd=values.collateral_usd[changed],
            debt_usd=values.debt_usd[changed],
            became_unvalued=became_unvalued,
            became_valued=became_valued,
            looked_at=looked_at,
            was_full_pass=move is None,
            exact_decisions=n_exact,
        )
        self._states[changed_rows] = current[changed]
        if move is None:
            self._index.rebase(prices, self._states[: self.book.n_rows], valuation)
            self._looked_at = 0
            self._needs_full_pass = False
        else:
            self._index.add_hot(changed_rows)
        return transitions

    def rebase(self) -> None:
        """Make the next tick a full pass and the new base, e.g. in a quiet moment before a busy one."""
        self._needs_full_pass = True

    def evaluate(self, account: int, marks: Marks | Float64Array) -> AccountMargin:
        """One account at `marks`, against its recorded state; records nothing. Raises KeyError for an
        unknown account."""
        account_marks = marks if isinstance(marks, Marks) else Marks(marks)
        row = self.book.row_of(account)
        rows = np.array([row])
        values = self.book.revalue_rows(rows, account_marks.values)
        states, _ = self._decide(rows, values, account_marks)
        collateral, debt = float(values.collateral_usd[0]), float(values.debt_usd[0])
        return AccountMargin(
            account=account,
            state=MarginState(int(states[0])),
            previous=int(self._states[row]),
            collateral_usd=collateral,
            debt_usd=debt,
            health_pct=float(health_pct(collateral, debt)),
            unvalued_assets=self.book.unvalued_assets(row, account_marks.values),
        )

    def _screen_all(self, valuation: Valuation) -> Int64Array:
        low, up = stay_bounds(self.policy)
        slack = 4.0 * error_bound(self.book.max_terms)
        leaves = np.empty(self.book.n_rows, dtype=bool)
        for start in range(0, leaves.size, _CHUNK):
            chunk = slice(start, min(start + _CHUNK, leaves.size))
            collateral, debt = valuation.collateral_usd[chunk], valuation.debt_usd[chunk]
            index = self._states[chunk] + 1
            leaves[chunk] = _leaves_interval(collateral, debt, low[index], up[index], slack)
            # Weights may have changed under a recorded NO_DEBT, whose interval has no bounds to leave.
            leaves[chunk] |= (index == MarginState.NO_DEBT + 1) != (debt == 0.0)
        return np.flatnonzero(leaves & (self.book.accounts != ABSENT))

    def _decide(self, rows: Int64Array, values: Valuation, marks: Marks) -> tuple[Int8Array, int]:
        states, uncertain = classify_states(
            values.collateral_usd, values.debt_usd, self.policy, self._states[rows], terms=self.book.max_terms
        )
        for entry in np.flatnonzero(uncertain):
            positions = self._exact_positions(int(self.book.accounts[rows[entry]]))
            held_at, owed_at = marks.exact_for({position.asset for position in positions})
            previous = int(self._states[rows[entry]])
            states[entry] = decide_state_exact(
                positions, held_at, self.factors, self.policy, previous, debt_marks=owed_at
            )
        return states, int(np.count_nonzero(uncertain))

    def _update_unvalued(self, prices: Float64Array) -> tuple[dict[int, tuple[int, ...]], tuple[int, ...]]:
        """Bring the counts of missing marks up to date; (accounts newly unvalued and their assets, newly
        valued)."""
        bad = np.isnan(prices[0])
        touched = self._touched
        for asset in np.flatnonzero(bad != self._bad).tolist():
            holders = self.book.rows_holding(asset)
            self._n_missing[holders] += 1 if bad[asset] else -1
            touched.update(holders.tolist())
        self._bad = bad
        if not touched:
            return {}, ()
        rows = np.fromiter(touched, dtype=np.int64, count=len(touched))
        self._touched = set()
        unvalued = self._n_missing[rows] > 0
        changed = rows[unvalued != self._was_unvalued[rows]]
        self._was_unvalued[rows] = unvalued
        accounts = self.book.accounts
        newly_unvalued = {
            int(accounts[row]): self.book.unvalued_assets(int(row), prices)
            for row in changed
            if self._n_missing[row] > 0
        }
        newly_valued = sorted(int(accounts[row]) for row in changed if self._n_missing[row] == 0)
        return dict(sorted(newly_unvalued.items())), tuple(newly_valued)

    def _grow(self, row: int) -> None:
        if row < self._states.size:
            return
        extra = max(row + 1, 2 * self._states.size, 64) - self._states.size
        self._states = np.concatenate([self._states, np.full(extra, NEVER_EVALUATED, dtype=np.int8)])
        self._n_missing = np.concatenate([self._n_missing, np.zeros(extra, dtype=np.int32)])
        self._was_unvalued = np.concatenate([self._was_unvalued, np.zeros(extra, dtype=bool)])

    def _compact(self) -> None:
        former_rows = self.book.compact()
        self._states = self._states[former_rows]
        self._n_missing = self._n_missing[former_rows]
        self._was_unvalued = self._was_unvalued[former_rows]
        is_touched = np.isin(
            former_rows, np.fromiter(self._touched, dtype=np.int64, count=len(self._touched))
        )
        self._touched = set(np.flatnonzero(is_touched).tolist())
        self._needs_full_pass = True


def _nothing_changed(
    became_unvalued: Mapping[int, tuple[int, ...]], became_valued: tuple[int, ...], looked_at: int
) -> Transitions:
    """A tick inside the safe radius of every account that it did not look at, and of every one it did."""
    return Transitions(
        accounts=np.empty(0, dtype=np.int64),
        previous=np.empty(0, dtype=np.int8),
        current=np.empty(0, dtype=np.int8),
        collateral_usd=np.empty(0),
        debt_usd=np.empty(0),
        became_unvalued=became_unvalued,
        became_valued=became_valued,
        looked_at=looked_at,
        was_full_pass=False,
        exact_decisions=0,
    )


def _leaves_interval(
    collateral_usd: Float64Array, debt_usd: Float64Array, low: Float64Array, up: Float64Array, slack: float
) -> BoolArray:
    """Whether low·debt ≤ collateral < up·debt fails or is too close to tell (relative `slack`); False
    where a bound or a value is NaN, since nothing then leaves over it."""
    worsens = collateral_usd < (low * (1.0 + slack)) * debt_usd
    improves = collateral_usd >= (up * (1.0 - slack)) * debt_usd
    return worsens | improves
