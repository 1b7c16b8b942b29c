"""The book evaluator finds on every tick exactly what a full evaluation of every account finds."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.risk.book import Book
from shared.risk.evaluator import BookEvaluator, Marks
from shared.risk.index import IndexTuning, SafeRadiusIndex
from shared.risk.positions import FactorTable, Position
from shared.risk.states import NEVER_EVALUATED, MarginState
from tests.unit.risk.books import POLICY, oracle_state, random_account

N_ASSETS = 6
TUNINGS = [
    IndexTuning(),
    IndexTuning(separate_from_rows=0),
    IndexTuning(whole_watch_rows=0, min_watch_share=0.1, max_watch_share=0.5, separate_from_rows=0),
]


class Loop:
    """The full pass, one account at a time in rational arithmetic, with nothing carried over but the
    states."""

    def __init__(self, n_assets: int) -> None:
        self.accounts: dict[int, Sequence[Position]] = {}
        self.states: dict[int, int] = {}
        self.unvalued: dict[int, bool] = {}
        self.factors = FactorTable.without_haircuts(n_assets).factors

    def put(self, account: int, positions: Sequence[Position]) -> None:
        self.accounts[account] = positions
        self.states.setdefault(account, NEVER_EVALUATED)
        self.unvalued.setdefault(account, False)

    def drop(self, account: int) -> None:
        for table in (self.accounts, self.states, self.unvalued):
            del table[account]

    def tick(
        self, marks: Sequence[Decimal | None], debt_marks: Sequence[Decimal | None]
    ) -> tuple[list[tuple[int, int, int]], dict[int, tuple[int, ...]], list[int]]:
        changes, newly_unvalued, newly_valued = [], {}, []
        for account, positions in sorted(self.accounts.items()):
            held = {p.asset for p in positions if p.collateral_base or p.debt_base}
            missing = tuple(sorted(asset for asset in held if marks[asset] is None))
            if missing and not self.unvalued[account]:
                newly_unvalued[account] = missing
            if not missing and self.unvalued[account]:
                newly_valued.append(account)
            self.unvalued[account] = bool(missing)
            if missing:
                continue
            usable = [mark if mark is not None else Decimal(1) for mark in marks]
            owed_at = [mark if mark is not None else Decimal(1) for mark in debt_marks]
            state = oracle_state(
                positions, usable, self.factors, POLICY, self.states[account], debt_marks=owed_at
            )
            if state != self.states[account]:
                changes.append((account, self.states[account], int(state)))
                self.states[account] = int(state)
        return changes, newly_unvalued, newly_valued


def walk(rng: np.random.Generator, marks: list[Decimal | None], last: list[Decimal]) -> list[Decimal | None]:
    """The next tick: small or large moves, one asset or all together, jumps, marks that vanish and come
    back."""
    kind = rng.integers(0, 6)
    size = float(rng.choice([1e-5, 1e-3, 0.02, 0.3]))
    moves = rng.normal(0, size, len(marks))
    if kind == 0:
        moves[:] = moves[0]
    if kind == 1:
        moves[1:] = 0.0
    if kind == 2:
        moves[int(rng.integers(len(marks)))] = float(rng.choice([-0.9, 3.0]))
    if kind == 3:
        moves[:] = 0.0
    following: list[Decimal | None] = []
    for asset, move in enumerate(moves):
        last[asset] = max(
            Decimal("1e-8"), (last[asset] * Decimal(1 + max(move, -0.95))).quantize(Decimal("1e-8"))
        )
        gone = rng.random() < (0.5 if marks[asset] is None else 0.05)
        following.append(None if gone else last[asset])
    return following


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_accounts=st.sampled_from([0, 1, 7, 60]),
    scaled=st.booleans(),
    tuning=st.sampled_from(TUNINGS),
    two_sided=st.booleans(),
)
def test_ticks_equal_the_full_pass(
    seed: int, n_accounts: int, scaled: bool, tuning: IndexTuning, two_sided: bool
) -> None:
    rng = np.random.default_rng(seed)
    loop = Loop(N_ASSETS)
    for account in range(n_accounts):
        loop.put(account, random_account(rng, N_ASSETS))
    scale = rng.uniform(1e-4, 1.0, N_ASSETS) if scaled else None
    evaluator = BookEvaluator(
        FactorTable.without_haircuts(N_ASSETS),
        POLICY,
        list(loop.accounts.items()),
        scale=scale,
        tuning=tuning,
    )
    last = [Decimal(int(m)) for m in rng.integers(1, 100, N_ASSETS)]
    marks: list[Decimal | None] = list(last)
    for _ in range(25):
        for _ in range(int(rng.integers(0, 3))):
            change_book(rng, loop, evaluator)
        debt_marks = widened(rng, marks) if two_sided else marks
        changes, newly_unvalued, newly_valued = loop.tick(marks, debt_marks)
        found = evaluator.tick(Marks.from_decimals(marks, debt_marks))
        assert (
            list(zip(found.accounts.tolist(), found.previous.tolist(), found.current.tolist(), strict=True))
            == changes
        )
        assert dict(found.became_unvalued) == newly_unvalued
        assert list(found.became_valued) == newly_valued
        assert {account: evaluator.state(account) for account in loop.states} == loop.states
        marks = walk(rng, marks, last)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1e-4, 2e-3, 0.03]),
    tuning=st.sampled_from(TUNINGS),
    two_sided=st.booleans(),
)
def test_the_watch_list_equals_a_full_pass_at_every_tick(
    seed: int, size: float, tuning: IndexTuning, two_sided: bool
) -> None:
    """Many accounts around their thresholds, walked quietly enough that no tick but the first need be a full
    pass: states that changed are followed on by their new bounds, there and back."""
    rng = np.random.default_rng(seed)
    accounts = list(enumerate(random_account(rng, N_ASSETS) for _ in range(400)))
    table = FactorTable.without_haircuts(N_ASSETS)
    indexed = BookEvaluator(table, POLICY, accounts, scale=rng.uniform(0.5, 2.0, N_ASSETS), tuning=tuning)
    passing = BookEvaluator(table, POLICY, accounts)
    base = rng.uniform(1.0, 100.0, N_ASSETS)
    n_indexed = 0
    for tick in range(12):
        marks = base * (1.0 + rng.uniform(-size, size, N_ASSETS) * (tick % 4 != 3))
        sides = np.array([marks, marks * (1.0 + rng.uniform(0.0, size, N_ASSETS))]) if two_sided else marks
        if rng.random() < 0.2:
            account = int(rng.integers(420))
            positions = random_account(rng, N_ASSETS)
            indexed.replace_account(account, positions)
            passing.replace_account(account, positions)
        found = indexed.tick(sides)
        passing.rebase()
        expected = passing.tick(sides)
        n_indexed += not found.was_full_pass
        for field in ("accounts", "previous", "current"):
            np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
        np.testing.assert_allclose(found.collateral_usd, expected.collateral_usd, rtol=1e-12)
        np.testing.assert_allclose(found.debt_usd, expected.debt_usd, rtol=1e-12)
    assert n_indexed > 0


def widened(rng: np.random.Generator, marks: Sequence[Decimal | None]) -> list[Decimal | None]:
    """What debt is valued at: by up to a tenth above the marks, by another share at each tick."""
    spreads = rng.choice([0, 1, 100, 1_000], len(marks)).tolist()
    return [
        None if mark is None else mark * (1 + Decimal(spread) / 10_000)
        for mark, spread in zip(marks, spreads, strict=True)
    ]


def change_book(rng: np.random.Generator, loop: Loop, evaluator: BookEvaluator) -> None:
    """Replace, add, remove an account, or record a state another instance decided."""
    account = int(rng.integers(0, len(loop.accounts) + 2))
    kind = rng.integers(0, 4)
    if account not in loop.accounts or kind <= 1:
        positions = random_account(rng, N_ASSETS) if rng.random() < 0.9 else []
        loop.put(account, positions)
        evaluator.replace_account(account, positions)
    elif kind == 2:
        loop.drop(account)
        evaluator.remove_account(account)
    else:
        state = int(rng.integers(NEVER_EVALUATED, MarginState.INSOLVENT + 1))
        loop.states[account] = state
        loop.unvalued[account] = bool(rng.integers(0, 2))
        evaluator.set_state(account, state, is_valued=not loop.unvalued[account])


@pytest.fixture(scope="module")
def large() -> tuple[BookEvaluator, dict[int, Sequence[Position]]]:
    rng = np.random.default_rng(7)
    accounts: dict[int, Sequence[Position]] = {a: random_account(rng, N_ASSETS) for a in range(6000)}
    evaluator = BookEvaluator(FactorTable.without_haircuts(N_ASSETS), POLICY, list(accounts.items()))
    return evaluator, accounts


def test_a_small_move_looks_at_few_accounts(
    large: tuple[BookEvaluator, dict[int, Sequence[Position]]],
) -> None:
    evaluator, accounts = large
    marks = np.full(N_ASSETS, 10.0)
    assert evaluator.tick(marks).was_full_pass
    rng = np.random.default_rng(3)
    for _ in range(5):
        marks = marks * (1.0 + rng.uniform(-2e-4, 2e-4, N_ASSETS))
        before = {account: evaluator.state(account) for account in accounts}
        found = evaluator.tick(marks)
        assert not found.was_full_pass
        assert found.looked_at < 600
        exact = [Decimal(float(mark)) for mark in marks]
        for account, positions in accounts.items():
            expected = oracle_state(positions, exact, evaluator.factors.factors, POLICY, before[account])
            assert evaluator.state(account) == expected


def test_one_coin_jumping_does_not_drag_in_the_whole_book() -> None:
    rng = np.random.default_rng(11)
    accounts = [(account, random_account(rng, N_ASSETS - 1)) for account in range(6000)]
    accounts[:20] = [(a, [*p, Position(N_ASSETS - 1, 18, collateral_base=10**16)]) for a, p in accounts[:20]]
    evaluator = BookEvaluator(FactorTable.without_haircuts(N_ASSETS), POLICY, accounts)
    marks = np.full(N_ASSETS, 10.0)
    evaluator.tick(marks)
    marks[-1] *= 4.0
    found = evaluator.tick(marks)
    assert not found.was_full_pass
    assert found.looked_at < 100


def test_flat_marks_never_flap() -> None:
    """An account on the line stays in its state while the mark trembles inside the hysteresis band."""
    account = [Position(0, 18, collateral_base=10**18), Position(1, 6, debt_base=1000 * 10**6)]
    evaluator = BookEvaluator(FactorTable.without_haircuts(2), POLICY, [(0, account)])
    states = []
    for mark in (1301, 1299, 1301, 1319, 1299, 1320, 1319, 1299):
        evaluator.tick(np.array([float(mark), 1.0]))
        states.append(MarginState(evaluator.state(0)).name)
    assert states == ["WARNING", *["MARGIN_CALL"] * 4, *["WARNING"] * 2, "MARGIN_CALL"]


def test_becoming_unvalued_and_valued_again_is_no_transition() -> None:
    account = [Position(0, 18, collateral_base=10**18), Position(1, 6, debt_base=1000 * 10**6)]
    bystander = [Position(1, 6, collateral_base=2000 * 10**6), Position(1, 6, debt_base=1000 * 10**6)]
    evaluator = BookEvaluator(FactorTable.without_haircuts(3), POLICY, [(0, account), (1, bystander)])
    evaluator.tick(np.array([1400.0, 1.0, 5.0]))
    for missing in (np.nan, 0.0, -3.0, np.inf):
        gone = evaluator.tick(np.array([missing, 1.0, 5.0]))
        assert gone.accounts.size == 0
        assert dict(gone.became_unvalued) == {0: (0,)}
        at_rest = evaluator.evaluate(0, np.array([missing, 1.0, 5.0]))
        assert at_rest.state == MarginState.UNVALUED
        assert at_rest.unvalued_assets == (0,)
        assert np.isnan(at_rest.health_pct)
        back = evaluator.tick(np.array([1400.0, 1.0, 5.0]))
        assert back.accounts.size == 0
        assert back.became_valued == (0,)
    evaluator.tick(np.array([np.nan, 1.0, 5.0]))
    fallen = evaluator.tick(np.array([1200.0, 1.0, np.nan]))
    assert fallen.accounts.tolist() == [0]
    assert fallen.previous.tolist() == [MarginState.WARNING]
    assert fallen.current.tolist() == [MarginState.MARGIN_CALL]


def test_evaluate_one_account_records_nothing() -> None:
    account = [Position(0, 18, collateral_base=10**18), Position(1, 6, debt_base=1000 * 10**6)]
    evaluator = BookEvaluator(FactorTable.without_haircuts(2), POLICY, [(0, account)])
    preview = evaluator.evaluate(0, np.array([1200.0, 1.0]))
    assert (preview.state, preview.previous) == (MarginState.MARGIN_CALL, NEVER_EVALUATED)
    assert preview.health_pct == pytest.approx(20.0, rel=1e-12)
    assert evaluator.state(0) == NEVER_EVALUATED
    with pytest.raises(KeyError, match="account 5"):
        evaluator.evaluate(5, np.array([1200.0, 1.0]))


def test_bad_arguments_name_the_field() -> None:
    evaluator = BookEvaluator(FactorTable.without_haircuts(2), POLICY, [(0, [Position(0, 18, 1)])])
    with pytest.raises(ValueError, match="marks"):
        evaluator.tick(np.ones(3))
    with pytest.raises(ValueError, match="state"):
        evaluator.set_state(0, MarginState.UNVALUED)
    with pytest.raises(ValueError, match="scale"):
        BookEvaluator(FactorTable.without_haircuts(2), POLICY, scale=np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="asset"):
        evaluator.replace_account(1, [Position(2, 18, 1)])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), move=st.sampled_from([1e-6, 1e-3, 0.05, 0.5]))
def test_candidates_hold_every_account_that_changes(seed: int, move: float) -> None:
    rng = np.random.default_rng(seed)
    factors = FactorTable.without_haircuts(N_ASSETS)
    accounts = [random_account(rng, N_ASSETS) for _ in range(80)]
    book = Book.from_rows([factors.row(account) for account in accounts], N_ASSETS)
    index = SafeRadiusIndex(book, POLICY, rng.uniform(0.01, 1.0, N_ASSETS))
    base = rng.uniform(1.0, 100.0, N_ASSETS)
    in_row_order = [accounts[number] for number in book.accounts]

    def states(marks: np.ndarray, previous: list[int]) -> list[int]:
        exact = [Decimal(float(mark)) for mark in marks]
        return [
            int(oracle_state(account, exact, factors.factors, POLICY, before))
            for account, before in zip(in_row_order, previous, strict=True)
        ]

    before = states(base, [NEVER_EVALUATED] * 80)
    index.rebase(base, np.array(before, dtype=np.int8))
    marks = base * (1.0 + rng.uniform(-move, move, N_ASSETS))
    after = states(marks, before)
    candidates = index.candidates(marks)
    assert candidates is not None
    assert {row for row in range(80) if after[row] != before[row]} <= set(candidates.tolist())


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    beyond=st.sampled_from([1e-7, 1e-4, 0.05]),
    tuning=st.sampled_from(TUNINGS),
)
def test_the_worst_move_just_beyond_a_radius_is_found(seed: int, beyond: float, tuning: IndexTuning) -> None:
    """Every asset moves against one account by the same number of sigmas, just far enough to cross its
    threshold."""
    rng = np.random.default_rng(seed)
    factors = FactorTable.without_haircuts(N_ASSETS)
    accounts = [random_account(rng, N_ASSETS) for _ in range(40)]
    base, scale = rng.uniform(1.0, 100.0, N_ASSETS), rng.uniform(0.01, 0.2, N_ASSETS)
    evaluator = BookEvaluator(factors, POLICY, list(enumerate(accounts)), scale=scale, tuning=tuning)
    evaluator.tick(base)
    before = [evaluator.state(account) for account in range(40)]
    multiples: dict[int, float] = {
        MarginState.HEALTHY: 1.5,
        MarginState.WARNING: 1.3,
        MarginState.MARGIN_CALL: 1.15,
    }
    for account in range(40):
        row, state = factors.row(accounts[account]), before[account]
        if state not in multiples:
            continue
        multiple = multiples[state]
        net = np.zeros(N_ASSETS)
        np.add.at(net, row.collateral_assets, row.collateral_weights)
        np.subtract.at(net, row.debt_assets, multiple * row.debt_weights)
        size = float(net @ base) / float(np.abs(net) @ (base * scale)) * (1.0 + beyond)
        marks = base * (1.0 - np.sign(net) * scale * size)
        if marks.min() <= 0.0:
            continue
        exact = [Decimal(float(mark)) for mark in marks]
        expected = [
            int(oracle_state(a, exact, factors.factors, POLICY, b))
            for a, b in zip(accounts, before, strict=True)
        ]
        assert expected[account] != state
        found = evaluator.tick(marks)
        assert found.accounts.tolist() == [a for a in range(40) if expected[a] != before[a]]
        for changed in found.accounts.tolist():
            evaluator.set_state(changed, before[changed])
        evaluator.tick(base)
        before = [evaluator.state(a) for a in range(40)]
