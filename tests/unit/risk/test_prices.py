"""Trigger prices meet the threshold exactly, with all other positions counted, and requirements add up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.risk.book import Book
from shared.risk.margin import health_pct
from shared.risk.positions import FactorTable, Position
from shared.risk.prices import book_trigger_prices, call_prices, liquidation_prices, trigger_prices
from shared.risk.requirements import buying_power, requirements
from tests.unit.risk.books import POLICY, random_account

N_ASSETS = 4
FACTORS = FactorTable.without_haircuts(N_ASSETS)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.0, 0.15, 0.3, 0.5]))
def test_health_at_the_trigger_price_is_the_threshold(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    row = FACTORS.row(random_account(rng, N_ASSETS))
    marks = rng.uniform(0.5, 50.0, N_ASSETS)
    book = Book.from_rows([row], N_ASSETS)
    triggers = trigger_prices(row, marks, threshold)
    for asset in range(N_ASSETS):
        at = marks.copy()
        if np.isnan(triggers.price[asset]):
            # Unreachable: the sign of f does not change between almost nothing and a million times the mark.
            signs = set()
            for multiple in (1e-9, 1e6):
                at[asset] = marks[asset] * multiple
                value = book.revalue(at)
                signs.add(bool(value.collateral_usd[0] >= (1 + threshold) * value.debt_usd[0]))
            assert len(signs) == 1
            continue
        at[asset] = triggers.price[asset]
        value = book.revalue(at)
        scale = float(value.collateral_usd[0] + value.debt_usd[0])
        gap = float(value.collateral_usd[0] - (1 + threshold) * value.debt_usd[0])
        assert abs(gap) <= 1e-12 * (scale + float(book.revalue(marks).collateral_usd[0]))
        assert triggers.triggers_on_rise[asset] == (
            (triggers.price[asset] > marks[asset]) != triggers.is_breached
        )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.0, 0.15, 0.5]))
def test_with_two_sides_the_trigger_price_is_the_mark_between_them(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    row = FACTORS.row(random_account(rng, N_ASSETS))
    marks = rng.uniform(0.5, 50.0, N_ASSETS)
    half = marks * rng.uniform(0.0, 0.03, N_ASSETS)
    book = Book.from_rows([row], N_ASSETS)
    triggers = trigger_prices(row, np.array([marks - half, marks + half]), threshold)
    for asset in np.flatnonzero(~np.isnan(triggers.price)):
        at = marks.copy()
        at[asset] = triggers.price[asset]
        value = book.revalue(np.array([at - half, at + half]))
        scale = float(value.collateral_usd[0] + value.debt_usd[0])
        gap = float(value.collateral_usd[0] - (1 + threshold) * value.debt_usd[0])
        assert abs(gap) <= 1e-11 * (scale + float(book.revalue(marks).collateral_usd[0]))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.0, 0.15, 0.5]))
def test_of_a_whole_book_each_account_has_the_prices_that_it_has_alone(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    rows = [FACTORS.row(random_account(rng, N_ASSETS)) for _ in range(rng.integers(0, 12))]
    marks = rng.uniform(0.5, 50.0, N_ASSETS)
    marks[rng.integers(N_ASSETS)] = rng.choice([np.nan, 3.0])
    of_book = book_trigger_prices(rows, marks, threshold)
    assert len(of_book) == len(rows)
    for row, found in zip(rows, of_book, strict=True):
        alone = trigger_prices(row, marks, threshold)
        np.testing.assert_array_equal(found.price, alone.price)
        np.testing.assert_array_equal(found.triggers_on_rise, alone.triggers_on_rise)
        assert found.is_breached == alone.is_breached


def test_the_same_asset_on_both_sides_counts_net() -> None:
    row = FACTORS.row(
        [Position(0, 0, collateral_base=10), Position(0, 0, debt_base=5), Position(1, 0, debt_base=100)]
    )
    marks = np.array([40.0, 1.0, 1.0, 1.0])
    # 10·p = 1.3·(5·p + 100)  →  p = 130 / 3.5
    assert call_prices([row], marks, POLICY)[0].price[0] == pytest.approx(130 / 3.5, rel=1e-13)


def test_no_price_where_it_cannot_be_reached() -> None:
    marks = np.full(N_ASSETS, 2.0)
    without_debt = FACTORS.row([Position(0, 0, collateral_base=10)])
    assert np.isnan(liquidation_prices([without_debt], marks, POLICY)[0].price).all()
    covered = FACTORS.row(
        [Position(0, 0, collateral_base=10), Position(1, 0, collateral_base=10), Position(2, 0, debt_base=1)]
    )
    prices = liquidation_prices([covered], marks, POLICY)[0].price
    assert np.isnan(prices[[0, 1, 3]]).all()
    assert prices[2] == pytest.approx(40 / 1.15, rel=1e-13)
    one_asset = FACTORS.row([Position(0, 0, collateral_base=10), Position(0, 0, debt_base=3)])
    assert np.isnan(liquidation_prices([one_asset], marks, POLICY)[0].price).all()
    assert np.isnan(liquidation_prices([covered], np.array([2.0, np.nan, 2.0, 2.0]), POLICY)[0].price).all()


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.0, 0.15, 0.3, 0.5]))
def test_no_mark_of_the_only_asset_changes_health(seed: int, threshold: float) -> None:
    """One asset on both sides: health does not depend on its mark, and rounding must not invent a price
    near zero."""
    rng = np.random.default_rng(seed)
    held, owed = (int(x) for x in rng.integers(1, 10**18, 2))
    row = FACTORS.row([Position(0, 18, collateral_base=held), Position(0, 18, debt_base=owed)])
    assert np.isnan(trigger_prices(row, rng.uniform(0.001, 1e5, N_ASSETS), threshold).price).all()


def test_a_breached_account_is_told_where_it_recovers() -> None:
    row = FACTORS.row([Position(0, 0, collateral_base=1), Position(1, 0, debt_base=100)])
    triggers = liquidation_prices([row], np.array([110.0, 1.0, 1.0, 1.0]), POLICY)[0]
    assert triggers.is_breached
    assert triggers.price[0] == pytest.approx(115.0)


@settings(deadline=None)
@given(collateral=st.floats(0, 1e9), debt=st.floats(0, 1e9))
def test_requirements_add_up(collateral: float, debt: float) -> None:
    required = requirements(collateral, debt, POLICY)
    assert required.initial_margin_usd == pytest.approx(0.5 * debt)
    assert required.maintenance_margin_usd == pytest.approx(0.3 * debt)
    free = float(required.free_collateral_usd)
    assert free == pytest.approx(max(0.0, collateral - 1.5 * debt), abs=1e-6)
    if free > 1.0 and debt > 1.0:
        assert health_pct(collateral - free, debt) == pytest.approx(50.0, abs=1e-4)
    if debt == 0.0:
        assert float(required.leverage) == (1.0 if collateral else 0.0)
    elif collateral <= debt:
        assert float(required.leverage) == np.inf


@settings(deadline=None)
@given(
    debt=st.floats(1, 1e6),
    surplus=st.floats(0, 1e6),
    collateral_factor=st.floats(0, 1),
    borrow_factor=st.floats(0.1, 1),
)
def test_buying_power_just_meets_the_initial_margin(
    debt: float, surplus: float, collateral_factor: float, borrow_factor: float
) -> None:
    collateral = 1.5 * debt + surplus
    power = float(
        buying_power(
            collateral, debt, POLICY, collateral_factor=collateral_factor, borrow_factor=borrow_factor
        )
    )
    after = health_pct(collateral + collateral_factor * power, debt + power / borrow_factor)
    assert after == pytest.approx(50.0, abs=1e-6)


def test_buying_power_is_zero_below_the_initial_margin() -> None:
    assert buying_power([140.0, 150.0], 100.0, POLICY).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="borrow_factor"):
        buying_power(1.0, 1.0, POLICY, borrow_factor=0.0)
