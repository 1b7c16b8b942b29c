"""Interest by the index: what may never happen to anybody's money. That the contract computes the same is
shown by tests/differential."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.interest import (
    MAX_INDEX,
    RAY,
    SECONDS_PER_YEAR,
    Market,
    MarketAmountError,
    MarketTimeError,
    RateCurve,
    debt_of,
    grow_index,
    shares_of_loan,
    shares_of_payment,
)

CURVE = RateCurve(base_bps=200, slope_below_bps=400, slope_above_bps=7_500, kink_bps=8_000)
EMPTY = Market(0, 0, 0, RAY, 0, 0, 0, 1_000, 1_000_000, 0)

amounts = st.integers(1, 10**30)
indexes = st.integers(RAY, 10**33)


def _lent(supplied: int, borrowed: int) -> tuple[Market, int]:
    market, shares = EMPTY.supply(supplied)[0].borrow(borrowed)
    return market.with_rate_of(CURVE), shares


@pytest.mark.parametrize(
    ("cash", "debt", "yearly_bps"),
    [(0, 0, 200), (100, 0, 200), (60, 40, 400), (20, 80, 600), (10, 90, 4_350), (0, 100, 8_100)],
)
def test_the_curve_bends_at_its_kink(cash: int, debt: int, yearly_bps: int) -> None:
    rate = CURVE.rate_per_second(cash, debt)
    assert rate == yearly_bps * RAY // 10_000 // SECONDS_PER_YEAR


def test_a_year_at_three_per_cent() -> None:
    market, shares = _lent(10_000_000, 2_000_000)
    later = market.accrue(1_000_000 + SECONDS_PER_YEAR)
    assert later.debt_of(shares) == 2_060_909
    assert later.pending_reserves_base == 6_090
    assert later.supply_assets_base == 10_000_000 + 60_908 - 6_090


def test_nobody_can_ask_about_the_time_before_the_books() -> None:
    with pytest.raises(MarketTimeError, match="1000000"):
        EMPTY.index_at(999_999)


def test_an_index_stops_before_it_overflows() -> None:
    assert grow_index(MAX_INDEX - 1, RAY // 100, 86_400) == MAX_INDEX


@given(amounts, indexes)
def test_rounding_is_against_whoever_acts(amount: int, index: int) -> None:
    shares = shares_of_loan(amount, index)
    assert amount <= debt_of(shares, index) <= amount + index // RAY + 1
    assert shares_of_payment(amount, index) <= shares


@given(st.integers(10**3, 10**24), st.integers(1, 10**24), st.integers(0, 10**9), amounts)
def test_supply_and_redemption_in_one_block_never_pay(
    supplied: int, borrowed: int, elapsed_s: int, amount: int
) -> None:
    market = _lent(supplied, min(borrowed, supplied))[0].accrue(1_000_000 + elapsed_s)
    after, shares = market.supply(amount)
    assert after.assets_of(shares) <= amount


@given(st.integers(10**3, 10**24), st.integers(10**2, 10**24), st.integers(0, 10**9), st.fractions(0, 1))
def test_a_payment_lowers_the_debt_and_makes_no_money(
    supplied: int, borrowed: int, elapsed_s: int, part: float
) -> None:
    market, shares = _lent(supplied, min(borrowed, supplied))
    market = market.accrue(1_000_000 + elapsed_s)
    debt = market.debt_of(shares)
    payment = int(debt * part)
    try:
        after, extinguished = market.repay(shares, payment)
    except MarketAmountError:
        assert shares_of_payment(payment, market.borrow_index) == 0
        return
    left = after.debt_of(shares - extinguished)
    assert debt - payment <= left
    assert after.cash_base + after.reserves_base == market.cash_base + payment
    assert after.supply_assets_base + after.reserves_base + after.pending_reserves_base <= (
        market.supply_assets_base + market.pending_reserves_base + market.borrow_index // RAY + 1
    )


def test_more_than_there_is_cannot_be_lent() -> None:
    market, _ = EMPTY.supply(10)
    with pytest.raises(MarketAmountError, match="11 asked for, 10 there"):
        market.borrow(11)
