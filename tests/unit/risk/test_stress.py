"""Stress, reverse stress, cascades and the house's shortfall, against loops over accounts and scenarios."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from shared.risk.book import Book
from shared.risk.house import measure_house
from shared.risk.margin import decide_states, health_pct
from shared.risk.positions import FactorTable, Position
from shared.risk.scenarios import ScenarioSet, shock_scenarios
from shared.risk.states import NEVER_EVALUATED, MarginState
from shared.risk.stress import (
    correlated_shock,
    historical_stress_scenarios,
    reverse_stress,
    simulate_cascade,
    stress_book,
)
from shared.risk.tail import var_es
from tests.unit.risk.books import POLICY, random_account

N_ASSETS = 4
FACTORS = FactorTable.without_haircuts(N_ASSETS)
AS_OF = "2026-01-01T00:00:00Z"


def random_book(seed: int, n: int) -> tuple[Book, np.ndarray]:
    rng = np.random.default_rng(seed)
    book = Book.from_rows([FACTORS.row(random_account(rng, N_ASSETS)) for _ in range(n)], N_ASSETS)
    return book, rng.uniform(1.0, 50.0, N_ASSETS)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_shocks=st.integers(1, 5))
def test_scenarios_equal_the_loop(seed: int, n_shocks: int) -> None:
    book, marks = random_book(seed, 20)
    shocks = np.random.default_rng(seed).uniform(-0.9, 1.0, (n_shocks, N_ASSETS))
    result = stress_book(book, marks, shock_scenarios(shocks, "test"), POLICY, as_of=AS_OF)
    for s in range(n_shocks):
        value = book.revalue(marks * (1 + shocks[s]))
        np.testing.assert_allclose(result.collateral_usd[s], value.collateral_usd, rtol=1e-13)
        np.testing.assert_array_equal(
            result.states[s], decide_states(value.collateral_usd, value.debt_usd, POLICY, NEVER_EVALUATED)
        )
        lost = np.maximum(0.0, value.debt_usd - value.collateral_usd).sum()
        assert result.shortfall_usd[s] == pytest.approx(lost, rel=1e-12, abs=1e-9)
        assert result.count(MarginState.INSOLVENT)[s] == np.count_nonzero(
            result.states[s] == MarginState.INSOLVENT
        )
    assert (result.basis.as_of, result.basis.scenario_definition) == (AS_OF, "shock.test")
    with pytest.raises(ValueError, match="scenarios"):
        stress_book(book, marks, shock_scenarios(np.zeros((1, N_ASSETS + 1)), "test"), POLICY, as_of=AS_OF)


def test_a_mark_at_zero_is_a_value() -> None:
    book = Book.from_rows(
        [FACTORS.row([Position(0, 0, collateral_base=5), Position(1, 0, debt_base=1)])], N_ASSETS
    )
    wiped_out = stress_book(
        book, np.ones(N_ASSETS), shock_scenarios([[-1.0, 0.0, 0.0, 0.0]], "wiped out"), POLICY, as_of=AS_OF
    )
    assert wiped_out.states[0, 0] == MarginState.INSOLVENT
    still = shock_scenarios(np.zeros((1, N_ASSETS)), "still")
    unvalued = stress_book(book, np.array([np.nan, 1.0, 1.0, 1.0]), still, POLICY, as_of=AS_OF)
    assert unvalued.states[0, 0] == MarginState.UNVALUED


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.0, 0.15, 0.3]))
def test_reverse_stress_is_the_smallest_fall(seed: int, threshold: float) -> None:
    book, marks = random_book(seed, 30)
    direction = np.array([1.0, 1.0, 0.5, 0.0])
    falls = reverse_stress(book, marks, direction, threshold)
    now = book.revalue(marks)
    for row, fall in enumerate(falls):
        if np.isnan(fall):
            if now.debt_usd[row] > 0.0:
                value = book.revalue_rows(np.array([row]), marks * (1 - (1 - 1e-9) * direction))
                assert value.collateral_usd[0] >= (1 + threshold) * value.debt_usd[0] * (1 - 1e-6)
            continue
        if fall == 0.0:
            assert now.collateral_usd[row] <= (1 + threshold) * now.debt_usd[row] * (1 + 1e-12)
            continue
        if fall > 1 - 1e-6:
            continue
        for step, is_below in ((-1e-7, False), (1e-7, True)):
            at = marks * (1 - (fall + step) * direction)
            value = book.revalue_rows(np.array([row]), at)
            gap = value.collateral_usd[0] - (1 + threshold) * value.debt_usd[0]
            assert (gap < 1e-9) == is_below or abs(gap) < 1e-6


def test_a_common_fall_of_everything_changes_nothing() -> None:
    book, marks = random_book(3, 30)
    falls = reverse_stress(book, marks, np.ones(N_ASSETS), 0.15)
    now = book.revalue(marks)
    health = health_pct(now.collateral_usd, now.debt_usd)
    assert np.all(falls[(health < 15) & (now.debt_usd > 0)] == 0.0)
    reachable = falls[(health > 15.1) & (now.debt_usd > 0)]
    assert reachable.size
    assert np.all(np.isnan(reachable))


def test_correlated_shock_is_the_conditional_mean() -> None:
    covariance = np.array([[0.04, 0.03, 0.0], [0.03, 0.09, 0.01], [0.0, 0.01, 0.01]])
    np.testing.assert_allclose(correlated_shock(covariance, {0: -0.2}), [-0.2, -0.15, 0.0])
    both = correlated_shock(covariance, {0: -0.2, 2: 0.1})
    np.testing.assert_allclose(both[[0, 2]], [-0.2, 0.1])
    assert both[1] == pytest.approx(-0.2 * 0.75 + 0.1)
    assert correlated_shock(covariance, {0: -0.9, 2: -0.9})[1] == -1.0
    with pytest.raises(ValueError, match="shocked"):
        correlated_shock(covariance, {3: -0.1})


def test_named_scenarios() -> None:
    named = {scenario.name: scenario for scenario in historical_stress_scenarios()}
    assert len(named) == len(historical_stress_scenarios())
    assert named["covid_crash_day"].shocks["BTC"] == pytest.approx(-0.395, abs=5e-4)
    for scenario in named.values():
        assert scenario.first < scenario.last
        assert all(-1.0 < shock < 5.0 for shock in scenario.shocks.values())
        assert scenario.source


def test_a_named_scenario_for_a_book() -> None:
    """A symbol that the scenario lacks is declared, or its holders are unvalued."""
    rally = next(s for s in historical_stress_scenarios() if s.name == "bubble_burst_day")
    scenarios = rally.scenario_set(["BTC", "USDC", "TRX", "ETH"], {"USDC": 0.0, "ETH": 9.9})
    assert scenarios.missing == (2,)
    np.testing.assert_array_equal(
        scenarios.returns[0, [0, 1, 3]], [rally.shocks["BTC"], 0.0, rally.shocks["ETH"]]
    )
    accounts = [
        [Position(0, 0, collateral_base=140), Position(1, 0, debt_base=100)],
        [Position(2, 0, collateral_base=140), Position(1, 0, debt_base=100)],
    ]
    book = Book.from_rows([FACTORS.row(account) for account in accounts], N_ASSETS)
    result = stress_book(book, np.ones(N_ASSETS), scenarios, POLICY, as_of=AS_OF)
    assert result.states[0, book.rows_of([0, 1])].tolist() == [MarginState.LIQUIDATION, MarginState.UNVALUED]
    assert result.basis.history_last == "2018-01-16"


def test_a_cascade_by_hand() -> None:
    """Two accounts: the fall closes out the first, whose sale moves the mark by 10 % and closes out the
    second."""
    accounts = [
        [Position(0, 0, collateral_base=100), Position(1, 0, debt_base=80)],
        [Position(0, 0, collateral_base=100), Position(1, 0, debt_base=72)],
        [Position(0, 0, collateral_base=100), Position(1, 0, debt_base=10)],
    ]
    book = Book.from_rows([FACTORS.row(account) for account in accounts], N_ASSETS)
    depth = np.array([8.0, np.inf, 1.0, 1.0])
    result = simulate_cascade(book, np.ones(N_ASSETS), np.array([-0.1, 0, 0, 0]), depth, POLICY)
    rounds = [result.round_of_row[book.row_of(account)] for account in range(3)]
    assert rounds == [0, 1, -1]
    assert result.is_settled
    # 80 USD sold at a depth of 8: 10 %; then 72 at the new mark of 0.81: 9 %.
    np.testing.assert_allclose(result.sold_usd[:, 0], [80.0, 72.0])
    np.testing.assert_allclose(result.marks[:, 0], [0.9, 0.81, 0.81 * (1 - 0.09)])
    np.testing.assert_allclose(result.marks[:, 1], 1.0)
    assert result.shortfall_usd == 0.0
    assert (
        simulate_cascade(
            book, np.ones(N_ASSETS), np.array([-0.1, 0, 0, 0]), np.full(N_ASSETS, np.inf), POLICY
        ).is_closed_out.sum()
        == 1
    )


def test_a_cascade_counts_what_stays_unpaid_and_stops() -> None:
    book = Book.from_rows(
        [FACTORS.row([Position(0, 0, collateral_base=100), Position(1, 0, debt_base=80)])], N_ASSETS
    )
    result = simulate_cascade(
        book, np.ones(N_ASSETS), np.array([-0.5, 0, 0, 0]), np.full(N_ASSETS, 1e-3), POLICY
    )
    assert result.shortfall_usd == pytest.approx(30.0)
    assert result.marks[-1, 0] == 0.0
    assert not simulate_cascade(
        book, np.ones(N_ASSETS), np.array([-0.5, 0, 0, 0]), np.ones(N_ASSETS), POLICY, max_rounds=1
    ).is_settled
    with pytest.raises(ValueError, match="depth_usd"):
        simulate_cascade(book, np.ones(N_ASSETS), np.zeros(N_ASSETS), np.zeros(N_ASSETS), POLICY)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), level=st.sampled_from([0.95, 0.99]), n=st.sampled_from([3, 600]))
def test_house_loss_equals_the_loop(seed: int, level: float, n: int) -> None:
    rng = np.random.default_rng(seed)
    held = rng.uniform(0, 100, (n, N_ASSETS)) * (rng.random((n, N_ASSETS)) < 0.6)
    owed = rng.uniform(0, 60, (n, N_ASSETS)) * (rng.random((n, N_ASSETS)) < 0.4)
    marks = ScenarioSet(np.maximum(-1.0, rng.normal(0, 0.3, (200, N_ASSETS))), "test", 1)
    house = measure_house(csr_array(held), csr_array(owed), marks, level, as_of=AS_OF)
    for s in range(0, 200, 17):
        loss, insolvent = 0.0, 0
        for account in range(n):
            gap = owed[account] @ (1 + marks.returns[s]) - held[account] @ (1 + marks.returns[s])
            loss += max(0.0, gap)
            insolvent += gap > 0
        assert house.loss_usd[s] == pytest.approx(loss, rel=1e-10, abs=1e-9)
        assert house.n_insolvent[s] == insolvent
    expected_var, expected_es = var_es(-house.loss_usd, level)
    assert house.var_usd == expected_var[0]
    assert house.es_usd == pytest.approx(expected_es[0], rel=1e-12)
    assert house.es_by_account_usd.sum() == pytest.approx(house.es_usd, rel=1e-9, abs=1e-9)
    assert house.es_by_asset_usd.sum() == pytest.approx(house.es_usd, rel=1e-9, abs=1e-9)


def test_house_loss_by_chain() -> None:
    """Columns are (asset, chain) pairs: asset 0 on chains 0 and 1, asset 1 on chain 1."""
    held = csr_array(np.array([[10.0, 0.0, 0.0]]))
    owed = csr_array(np.array([[0.0, 0.0, 8.0]]))
    returns = np.zeros((100, 2))
    returns[:5, 0] = -0.5
    marks = ScenarioSet(returns, "test", 1)
    house = measure_house(
        held, owed, marks, 0.95, as_of=AS_OF,
        asset_of_column=np.array([0, 0, 1]), chain_of_column=np.array([0, 1, 1]),
    )  # fmt: skip
    assert house.es_usd == pytest.approx(3.0)
    np.testing.assert_allclose(house.es_by_asset_usd, [0.0, 3.0])
    np.testing.assert_allclose(house.es_by_chain_usd, [0.0, 3.0])


def test_house_refuses_columns_without_scenarios() -> None:
    marks = ScenarioSet(np.zeros((100, 2)), "test", 1, missing=(1,))
    with pytest.raises(ValueError, match=r"columns \[1\]"):
        measure_house(csr_array(np.array([[1.0, 1.0]])), csr_array((1, 2)), marks, 0.95, as_of=AS_OF)


def test_a_named_scenario_is_over_the_days_between_its_closes() -> None:
    named = {scenario.name: scenario.scenario_set(["BTC"]) for scenario in historical_stress_scenarios()}
    assert named["covid_crash_day"].horizon_days == 1
    assert named["covid_crash_week"].horizon_days == 7
    assert named["bubble_burst_month"].horizon_days == 30
