"""Whole books: equal to one account at a time, to one scenario at a time, and components that add up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from shared.risk.book_risk import measure_book, measure_components, measure_marginal, what_if
from shared.risk.scenarios import ScenarioSet
from shared.risk.tail import InsufficientHistoryError, TailSelector, var_es

LEVELS = (0.95, 0.975, 0.99)
AS_OF = "2026-01-01T00:00:00Z"


def book(seed: int, n: int, n_assets: int, share: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1e4, (n, n_assets)) * (rng.random((n, n_assets)) < share)


def scenarios(
    seed: int, n_scenarios: int, n_assets: int, *, weighted: bool = False, tied: bool = False
) -> ScenarioSet:
    rng = np.random.default_rng(seed)
    returns = np.maximum(-1.0, rng.standard_t(4, (n_scenarios, n_assets)) * 0.03)
    if tied:
        returns = np.repeat(returns[: n_scenarios // 10], 10, axis=0)
    weights = None
    if weighted:
        decayed = np.power(0.995, np.arange(n_scenarios)[::-1])
        weights = decayed / decayed.sum()
    return ScenarioSet(returns, "test", 1, weights)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from([1, 3, 129, 300]),
    weighted=st.booleans(),
    sparse=st.booleans(),
    workers=st.sampled_from([1, 2]),
    selector=st.sampled_from(["sort", "partition", "groups"]),
)
def test_book_equals_the_loop(
    seed: int, n: int, weighted: bool, sparse: bool, workers: int, selector: str
) -> None:
    exposures, marks = book(seed, n, 7, 0.5), scenarios(seed, 400, 7, weighted=weighted)
    result = measure_book(
        csr_array(exposures) if sparse else exposures,
        marks,
        LEVELS,
        as_of=AS_OF,
        workers=workers,
        selector=TailSelector(selector, {}),
    )
    for row, level in enumerate(LEVELS):
        for account in range(0, n, 29):
            pnl = np.array([sum(exposures[account] * shock) for shock in marks.returns])
            expected_var, expected_es = var_es(pnl, level, marks.weights)
            assert result.var_usd[row, account] == pytest.approx(expected_var[0], rel=1e-10, abs=1e-9)
            assert result.es_usd[row, account] == pytest.approx(expected_es[0], rel=1e-10, abs=1e-9)
    assert result.basis.as_of == AS_OF
    assert result.basis.scenario_set_id == marks.id


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_float32_is_within_its_bound(seed: int) -> None:
    """Products and sums in float32 are off by at most (assets + 3)·2⁻²⁴ of the gross exposure's worst
    move."""
    exposures, marks = book(seed, 40, 30), scenarios(seed, 500, 30)
    exact = measure_book(exposures, marks, LEVELS, as_of=AS_OF)
    fast = measure_book(exposures, marks, LEVELS, as_of=AS_OF, precision=np.float32)
    bound = (30 + 3) * 2.0**-24 * (np.abs(exposures) @ np.abs(marks.returns).max(axis=0))
    assert np.all(np.abs(fast.var_usd - exact.var_usd) <= bound)
    assert np.all(np.abs(fast.es_usd - exact.es_usd) <= bound)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("weighted", "tied"), [(False, False), (False, True), (True, False), (True, True)])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sparse=st.booleans())
def test_components_add_up(seed: int, level: float, weighted: bool, tied: bool, sparse: bool) -> None:
    exposures, marks = book(seed, 150, 6, 0.7), scenarios(seed, 500, 6, weighted=weighted, tied=tied)
    held = csr_array(exposures) if sparse else exposures
    total = measure_book(held, marks, [level], as_of=AS_OF)
    parts = measure_components(held, marks, level, as_of=AS_OF)
    np.testing.assert_allclose(parts.component_var_usd.sum(axis=1), total.var_usd[0], rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(parts.component_es_usd.sum(axis=1), total.es_usd[0], rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(
        [parts.var_usd, parts.es_usd], [total.var_usd[0], total.es_usd[0]], rtol=1e-9, atol=1e-7
    )
    assert not parts.component_es_usd[exposures == 0.0].any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), level=st.sampled_from(LEVELS))
def test_marginal_and_incremental(seed: int, level: float) -> None:
    exposure, marks = book(seed, 1, 5)[0], scenarios(seed, 500, 5)
    risk = measure_marginal(exposure, marks, level, as_of=AS_OF)
    assert exposure @ risk.marginal_es == pytest.approx(risk.es_usd, rel=1e-9)
    assert exposure @ risk.marginal_var == pytest.approx(risk.var_usd, rel=1e-9)
    for asset in range(5):
        step = np.zeros(5)
        step[asset] = 1e-6
        moved = measure_book((exposure + step)[None, :], marks, [level], as_of=AS_OF)
        assert (moved.es_usd[0, 0] - risk.es_usd) / 1e-6 == pytest.approx(risk.marginal_es[asset], abs=1e-4)
        without = exposure.copy()
        without[asset] = 0.0
        closed = measure_book(without[None, :], marks, [level], as_of=AS_OF)
        assert risk.incremental_es_usd[asset] == pytest.approx(risk.es_usd - closed.es_usd[0, 0], abs=1e-6)
        assert risk.incremental_var_usd[asset] == pytest.approx(risk.var_usd - closed.var_usd[0, 0], abs=1e-6)


def test_what_if_equals_measuring_again() -> None:
    exposure, marks = book(3, 1, 5)[0], scenarios(3, 500, 5)
    traded = exposure.copy()
    traded[2] += 5000.0
    value_at_risk, shortfall = what_if(marks.returns @ exposure, marks, 2, 5000.0, LEVELS)
    again = measure_book(traded[None, :], marks, LEVELS, as_of=AS_OF)
    np.testing.assert_allclose(value_at_risk, again.var_usd[:, 0], rtol=1e-10)
    np.testing.assert_allclose(shortfall, again.es_usd[:, 0], rtol=1e-10)


@pytest.mark.parametrize("sparse", [False, True])
def test_an_asset_without_scenarios_leaves_its_holders_unmeasured(sparse: bool) -> None:
    exposures = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])
    returns = np.column_stack([np.linspace(-0.1, 0.1, 200), np.zeros(200)])
    marks = ScenarioSet(returns, "test", 1, missing=(1,))
    held = csr_array(exposures) if sparse else exposures
    result = measure_book(held, marks, [0.99], as_of=AS_OF)
    assert result.unmeasured.tolist() == [False, True, True]
    assert np.isnan(result.var_usd[0]).tolist() == [False, True, True]
    assert np.isnan(measure_components(held, marks, 0.99, as_of=AS_OF).component_es_usd[1:]).all()
    assert result.basis.missing_assets == (1,)
    with pytest.raises(ValueError, match=r"\[1\]"):
        measure_marginal(exposures[2], marks, 0.99, as_of=AS_OF)


def test_bad_arguments_are_refused() -> None:
    marks = scenarios(0, 200, 3)
    with pytest.raises(ValueError, match="exposures"):
        measure_book(np.ones((2, 4)), marks, [0.99], as_of=AS_OF)
    with pytest.raises(ValueError, match="NaN"):
        measure_book(np.full((2, 3), np.nan), marks, [0.99], as_of=AS_OF)
    with pytest.raises(InsufficientHistoryError, match="100 scenarios"):
        measure_book(np.ones((2, 3)), scenarios(0, 99, 3), [0.99], as_of=AS_OF)
    with pytest.raises(ValueError, match="levels"):
        measure_book(np.ones((2, 3)), marks, [], as_of=AS_OF)
    with pytest.raises(ValueError, match="returns"):
        ScenarioSet(np.full((2, 2), np.nan), "test", 1)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    sparse=st.booleans(),
    weighted=st.booleans(),
    precision=st.sampled_from([np.float32, np.float64]),
)
def test_a_value_that_is_not_finite_names_its_account(
    seed: int, bad: float, sparse: bool, weighted: bool, precision: type[np.floating]
) -> None:
    """Wherever it stands, also beside scenarios that do not move and under scenarios that only gain."""
    rng = np.random.default_rng(seed)
    exposures, marks = book(seed, 300, 4, 0.5), scenarios(seed, 200, 4, weighted=weighted)
    if rng.random() < 0.5:
        marks = ScenarioSet(np.abs(marks.returns) * (rng.random((200, 4)) < 0.5), "gains", 1, marks.weights)
    account, asset = int(rng.integers(300)), int(rng.integers(4))
    exposures[account, asset] = bad
    held = csr_array(exposures) if sparse else exposures
    # NumPy warns of infinity times zero before the refusal.
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=f"account {account} has"):
        measure_book(held, marks, LEVELS, as_of=AS_OF, precision=precision)
    with pytest.raises(ValueError, match="NaN or infinite"):
        measure_components(held, marks, 0.99, as_of=AS_OF, precision=precision)


def test_an_empty_book_and_an_empty_account() -> None:
    marks = scenarios(0, 200, 3)
    assert measure_book(np.empty((0, 3)), marks, [0.99], as_of=AS_OF).var_usd.shape == (1, 0)
    flat = measure_book(np.zeros((1, 3)), marks, [0.99], as_of=AS_OF)
    assert flat.var_usd[0, 0] == 0.0
    assert not measure_components(np.zeros((1, 3)), marks, 0.99, as_of=AS_OF).component_es_usd.any()
