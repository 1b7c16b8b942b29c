"""Debts in shares of a market: what accrues is found by the index as by a full pass, and decided exactly."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.columns import Columns
from shared.domain.interest import RAY, grow_index
from shared.domain.marks import UsableMark, with_debt_marks
from shared.domain.positions import position_key
from shared.risk.evaluator import BookEvaluator
from tests.unit.domain.test_margin_book import ASSETS, NETWORK

COLUMNS = Columns(NETWORK)
A_DAY_S = 86_400


@given(
    st.decimals(Decimal("1e-18"), Decimal(10**18), allow_nan=False, allow_infinity=False),
    st.integers(RAY, 2**128 - 1),
)
def test_a_debt_mark_is_price_times_index_to_the_last_digit(price: Decimal, index: int) -> None:
    mark = UsableMark(price, price * Decimal("0.9"), price * Decimal("1.1"))
    marks = with_debt_marks({"USDC": mark}, {"1:USDC": index, "2:ETH": index})
    assert Fraction(marks["1:USDC"].debt_price) == Fraction(mark.debt_price) * Fraction(index, RAY)
    assert marks["USDC"] == mark
    assert "2:ETH" not in marks, "an asset without a price"


def test_a_debt_without_an_index_has_no_mark_and_collateral_has() -> None:
    usable = with_debt_marks(dict.fromkeys(ASSETS, UsableMark.plain(Decimal(1))), {"1:ETH": RAY})
    marked = {
        column: not np.isnan(COLUMNS.marks(usable).values[..., column]).any()
        for column in range(COLUMNS.unlisted + 1)
    }
    assert marked == {column: COLUMNS.is_usable(column, usable) for column in marked}
    assert marked[COLUMNS.of_collateral("USDC")]
    assert marked[COLUMNS.of_debt(1, "ETH")]
    assert not marked[COLUMNS.of_debt(2, "ETH")]
    assert COLUMNS.of_debt(3, "ETH") == COLUMNS.of_collateral("DAI") == COLUMNS.unlisted
    assert not marked[COLUMNS.unlisted]


def test_the_index_finds_what_a_full_pass_finds_while_debts_accrue() -> None:
    source = random.Random(20_261_122)
    accounts = []
    for number in range(400):
        positions = []
        for asset in source.sample(ASSETS, 2):
            positions += COLUMNS.positions(1, asset, 6, source.randrange(10**9), 0)
        for chain_id in (1, 2):
            debt = source.randrange(1, 4 * 10**8) if source.random() < 0.7 else 0
            positions += COLUMNS.positions(chain_id, source.choice(ASSETS), 6, 0, debt)
        accounts.append((number, positions))
    by_index, by_pass = (
        BookEvaluator(COLUMNS.factors, NETWORK.margin_policy, accounts, tuning=COLUMNS.tuning)
        for _ in range(2)
    )
    prices = dict.fromkeys(ASSETS, Decimal(1))
    indexes = {position_key(chain_id, asset): RAY for chain_id in (1, 2) for asset in ASSETS}
    # From nothing to far more than any curve has: an account changes state by interest alone.
    rates = {key: source.choice([0, 10**19, 10**20]) for key in indexes}
    transitions = passes = 0
    for tick in range(60):
        if tick % 3 == 0:
            moved = source.choice(ASSETS)
            prices[moved] *= Decimal(1) + Decimal(source.randint(-40, 40)) / 10_000
        # Debts of one asset are valued a little above its mark, as a policy may say.
        usable = {
            asset: UsableMark(price, price, price * Decimal("1.002")) for asset, price in prices.items()
        }
        indexes = {key: grow_index(index, rates[key], A_DAY_S // 4) for key, index in indexes.items()}
        marks = COLUMNS.marks(with_debt_marks(usable, indexes))
        by_pass.rebase()
        found, expected = by_index.tick(marks), by_pass.tick(marks)
        assert np.array_equal(found.accounts, expected.accounts)
        assert np.array_equal(found.current, expected.current)
        transitions += tick > 0 and expected.accounts.size
        passes += found.was_full_pass
    assert transitions > 20
    assert passes < 30
