"""The columnar book equals a loop over accounts, whatever was replaced, added or removed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.risk.book import ABSENT, Book
from shared.risk.positions import BookRow, FactorTable, Position
from shared.risk.ragged import RaggedMatrix
from tests.unit.risk.books import random_account

N_ASSETS = 5
FACTORS = FactorTable.without_haircuts(N_ASSETS)


def loop_value(row: BookRow, marks: np.ndarray) -> tuple[float, float]:
    collateral = sum(w * marks[a] for a, w in zip(row.collateral_assets, row.collateral_weights, strict=True))
    debt = sum(w * marks[a] for a, w in zip(row.debt_assets, row.debt_weights, strict=True))
    return float(collateral), float(debt)


def assert_equals_loop(book: Book, rows: dict[int, BookRow], marks: np.ndarray) -> None:
    valuation = book.revalue(marks)
    numbers = np.array(sorted(rows), dtype=np.int64)
    at = book.rows_of(numbers)
    expected = np.array([loop_value(rows[int(n)], marks) for n in numbers]).reshape(-1, 2)
    np.testing.assert_allclose(valuation.collateral_usd[at], expected[:, 0], rtol=1e-14)
    np.testing.assert_allclose(valuation.debt_usd[at], expected[:, 1], rtol=1e-14)
    some = book.revalue_rows(at[::-1], marks)
    np.testing.assert_allclose(some.collateral_usd[::-1], expected[:, 0], rtol=1e-14)
    np.testing.assert_allclose(some.debt_usd[::-1], expected[:, 1], rtol=1e-14)
    vacant = book.accounts == ABSENT
    assert not valuation.unvalued.any()
    assert not valuation.collateral_usd[vacant].any()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_accounts=st.integers(0, 30))
def test_book_equals_the_loop_through_changes(seed: int, n_accounts: int) -> None:
    rng = np.random.default_rng(seed)
    rows = {a: FACTORS.row(random_account(rng, N_ASSETS)) for a in range(n_accounts)}
    book = Book.from_rows(list(rows.values()), N_ASSETS)
    marks = rng.uniform(0.1, 100.0, N_ASSETS)
    assert_equals_loop(book, rows, marks)
    for _ in range(40):
        account = int(rng.integers(0, n_accounts + 5))
        if rng.random() < 0.6:
            rows[account] = FACTORS.row(random_account(rng, N_ASSETS) if rng.random() < 0.8 else [])
            book.replace(account, rows[account])
        else:
            assert (book.remove(account) == ABSENT) == (rows.pop(account, None) is None)
        if rng.random() < 0.1:
            former = book.accounts.copy()
            moved = book.compact()
            np.testing.assert_array_equal(former[moved], book.accounts)
    assert_equals_loop(book, rows, marks)


def test_a_missing_mark_reaches_exactly_the_holders() -> None:
    accounts = [
        [Position(0, 0, collateral_base=3)],
        [Position(1, 0, collateral_base=3), Position(0, 0, debt_base=1)],
        [Position(1, 0, collateral_base=3)],
        [Position(0, 0), Position(1, 0, collateral_base=1)],
        [],
    ]
    book = Book.from_rows([FACTORS.row(account) for account in accounts], N_ASSETS)
    for missing in (np.nan, 0.0, -1.0, np.inf, 1e101):
        marks = np.array([missing, 2.0, np.nan, 1.0, 1.0])
        valuation = book.revalue(marks)
        assert sorted(book.accounts[valuation.unvalued].tolist()) == [0, 1]
        assert book.unvalued_assets(book.row_of(1), marks) == (0,)
        assert book.unvalued_assets(book.row_of(2), marks) == ()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factor=st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**30]))
def test_permutation_and_scaling(seed: int, factor: float) -> None:
    """Order of accounts and positions does not matter; marks scaled by a power of two scale the value
    exactly."""
    rng = np.random.default_rng(seed)
    accounts = [random_account(rng, N_ASSETS) for _ in range(20)]
    marks = rng.uniform(0.1, 100.0, N_ASSETS)
    book = Book.from_rows([FACTORS.row(account) for account in accounts], N_ASSETS)
    order = rng.permutation(20)
    shuffled = Book.from_rows(
        [FACTORS.row([accounts[i][j] for j in rng.permutation(len(accounts[i]))]) for i in order], N_ASSETS
    )
    first, second = book.revalue(marks), shuffled.revalue(marks)
    at, shuffled_at = book.rows_of(order), shuffled.rows_of(np.arange(20))
    np.testing.assert_allclose(first.collateral_usd[at], second.collateral_usd[shuffled_at], rtol=1e-14)
    np.testing.assert_allclose(first.debt_usd[at], second.debt_usd[shuffled_at], rtol=1e-14)
    np.testing.assert_array_equal(book.revalue(marks * factor).collateral_usd, first.collateral_usd * factor)


def test_weights_are_rounded_once() -> None:
    """The same asset on three chains with other decimals is summed before it is rounded."""
    row = FACTORS.row(
        [
            Position(0, 18, collateral_base=10**17),
            Position(0, 6, collateral_base=200_000),
            Position(0, 0, debt_base=1),
        ]
    )
    assert row.collateral_weights.tolist() == [0.3]
    assert 0.1 + 0.2 != 0.3
    assert row.debt_weights.tolist() == [1.0]


def test_book_refuses_what_it_cannot_value() -> None:
    good = RaggedMatrix.empty(N_ASSETS)
    one = np.array([0, 1])
    with pytest.raises(ValueError, match="asset indexes"):
        Book(
            RaggedMatrix(one, np.array([9], np.int32), np.ones(1), N_ASSETS),
            RaggedMatrix(np.zeros(2, np.int64), *good_row(), N_ASSETS),
        )
    with pytest.raises(ValueError, match="negative or not finite"):
        Book(
            RaggedMatrix(one, np.array([0], np.int32), -np.ones(1), N_ASSETS),
            RaggedMatrix(np.zeros(2, np.int64), *good_row(), N_ASSETS),
        )
    with pytest.raises(ValueError, match="same rows"):
        Book(RaggedMatrix(one, np.array([0], np.int32), np.ones(1), N_ASSETS), good)
    with pytest.raises(ValueError, match="accounts"):
        Book(good, good, accounts=np.array([1]))
    with pytest.raises(ValueError, match="marks"):
        Book(good, good).revalue(np.ones(2))
    with pytest.raises(KeyError, match="account 3"):
        Book(good, good).row_of(3)


def good_row() -> tuple[np.ndarray, np.ndarray]:
    return np.empty(0, np.int32), np.empty(0)
