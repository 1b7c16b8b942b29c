"""The definitions of VaR and ES: against a slow oracle, at their edges, and as risk measures."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shared.risk.tail import (
    TAIL_METHODS,
    InsufficientHistoryError,
    TailSelector,
    tail_of,
    tail_shares,
    var_es,
    weighted_tail,
)

LEVELS = {0.95: Fraction(1, 20), 0.975: Fraction(1, 40), 0.99: Fraction(1, 100)}
pnl_samples = hnp.arrays(
    np.float64, st.integers(100, 400), elements=st.floats(-1e6, 1e6, allow_subnormal=False)
)


def oracle(pnl: np.ndarray, alpha: Fraction) -> tuple[float, float]:
    """The definitions in rational arithmetic, one scenario after another."""
    ordered = sorted(Fraction(float(value)) for value in pnl)
    mass = alpha * len(ordered)
    total = sum(ordered[: floor(mass)], Fraction(0))
    if mass > floor(mass):
        total += (mass - floor(mass)) * ordered[floor(mass)]
    return float(-ordered[ceil(mass) - 1]), float(-total / mass)


@settings(deadline=None)
@given(pnl=pnl_samples, level=st.sampled_from(list(LEVELS)))
def test_equals_the_oracle(pnl: np.ndarray, level: float) -> None:
    value_at_risk, shortfall = var_es(pnl, level)
    expected_var, expected_es = oracle(pnl, LEVELS[level])
    assert value_at_risk[0] == expected_var
    assert shortfall[0] == pytest.approx(expected_es, rel=1e-12, abs=1e-6)


@pytest.mark.parametrize("n", [100, 200, 300, 500, 700, 1000, 2500])
@pytest.mark.parametrize("level", list(LEVELS))
def test_the_order_statistic_where_the_tail_is_whole(n: int, level: float) -> None:
    """P&L of −1, −2, …, −n: VaR is n − k + 1, with k as rational arithmetic has it, not as binary does."""
    mass = LEVELS[level] * n
    assert var_es(-np.arange(1.0, n + 1), level)[0][0] == n - ceil(mass) + 1
    assert tail_of(level, n).order == ceil(mass)
    assert tail_of(level, n).mass == float(mass)


def test_five_of_five_hundred() -> None:
    """(1 − 0.99)·500 is 5.000000000000004 in binary, whose ceiling would be the 6th worst."""
    assert ceil((1 - 0.99) * 500) == 6
    assert tail_of(0.99, 500).order == 5
    assert ceil(0.07 * 100) == 8
    assert tail_of(0.93, 100).order == 7


@pytest.mark.parametrize(
    ("n", "level", "missing"), [(99, 0.99, 1), (1, 0.95, 19), (39, 0.975, 1), (0, 0.99, 100)]
)
def test_an_empty_tail_is_refused(n: int, level: float, missing: int) -> None:
    with pytest.raises(InsufficientHistoryError, match=f"{missing} missing") as refusal:
        var_es(np.zeros(n), level)
    assert refusal.value.needed - refusal.value.available == missing


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, float("nan")])
def test_levels_are_fractions(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        tail_of(level, 1000)


@settings(deadline=None)
@given(
    pnl=pnl_samples,
    level=st.sampled_from(list(LEVELS)),
    factor=st.floats(0.001, 1000),
    gain=st.floats(-1e5, 1e5),
    seed=st.integers(0, 1000),
)
def test_risk_measure_properties(
    pnl: np.ndarray, level: float, factor: float, gain: float, seed: int
) -> None:
    value_at_risk, shortfall = (x[0] for x in var_es(pnl, level))
    shuffled = np.random.default_rng(seed).permutation(pnl)
    assert var_es(shuffled, level)[0][0] == value_at_risk
    assert var_es(shuffled, level)[1][0] == pytest.approx(shortfall, rel=1e-12, abs=1e-6)
    assert shortfall >= value_at_risk - 1e-9 * abs(value_at_risk)
    for measure, moved in zip((value_at_risk, shortfall), var_es(pnl * factor, level), strict=True):
        assert moved[0] == pytest.approx(factor * measure, rel=1e-9, abs=1e-6)
    for measure, moved in zip((value_at_risk, shortfall), var_es(pnl + gain, level), strict=True):
        assert moved[0] == pytest.approx(measure - gain, rel=1e-9, abs=1e-5)
    better = pnl + np.random.default_rng(seed).uniform(0, 10, pnl.size)
    for measure, moved in zip((value_at_risk, shortfall), var_es(better, level), strict=True):
        assert moved[0] <= measure + 1e-9


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.sampled_from([100, 250, 500]), level=st.sampled_from(list(LEVELS))
)
def test_es_is_subadditive(seed: int, n: int, level: float) -> None:
    a, b = np.random.default_rng(seed).standard_t(3, (2, n))
    assert var_es(a + b, level)[1][0] <= var_es(a, level)[1][0] + var_es(b, level)[1][0] + 1e-12


def test_var_is_not_subadditive() -> None:
    """Two loans, each lost on one day of 25 and never on the same: no VaR alone at 95 %, one together."""
    a, b = np.zeros(100), np.zeros(100)
    a[:4], b[4:8] = -1.0, -1.0
    assert var_es(a, 0.95)[0][0] == var_es(b, 0.95)[0][0] == 0.0
    assert var_es(a + b, 0.95)[0][0] == 1.0


def test_a_position_that_only_rises_has_no_loss() -> None:
    value_at_risk, shortfall = var_es(np.linspace(1.0, 2.0, 500), 0.99)
    assert value_at_risk[0] < 0.0
    assert shortfall[0] < 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("weights", [None, np.full(200, 1 / 200)], ids=["equal", "weighted"])
def test_nan_is_not_a_gain(bad: float, weights: np.ndarray | None) -> None:
    pnl = np.tile(np.linspace(-1.0, 1.0, 200), (2, 1))
    pnl[0, 50] = bad
    value_at_risk, shortfall = var_es(pnl, 0.99, weights)
    assert np.isnan([value_at_risk[0], shortfall[0]]).all()
    assert not np.isnan([value_at_risk[1], shortfall[1]]).any()


@settings(deadline=None)
@given(
    n_scenarios=st.sampled_from([100, 257, 500, 513, 1000, 2500]),
    depth=st.integers(1, 60),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 1000),
    has_ties=st.booleans(),
)
def test_every_tail_method_finds_the_same_values(
    n_scenarios: int, depth: int, dtype: type[np.floating], seed: int, has_ties: bool
) -> None:
    block = np.random.default_rng(seed).standard_normal((7, n_scenarios)).astype(dtype)
    if has_ties:
        block = np.round(block, 1)
    expected = np.sort(block, axis=1)[:, :depth]
    for method in TAIL_METHODS.values():
        np.testing.assert_array_equal(method(block.copy(), depth), expected)


def test_selector_takes_the_fastest() -> None:
    """With a clock that runs slowly only while one method works, the method chosen is the one that took
    least of it."""
    readings = iter([0, 9] * 4 + [0, 2] * 4 + [0, 5] * 4)
    selector = TailSelector.measure(500, 13, np.float32, lambda: next(readings))
    assert selector.name == list(TAIL_METHODS)[1]
    assert set(selector.nanoseconds_per_row) == set(TAIL_METHODS)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.sampled_from([200, 333, 500]), level=st.sampled_from(list(LEVELS))
)
def test_equal_weights_are_no_weights(seed: int, n: int, level: float) -> None:
    pnl = np.round(np.random.default_rng(seed).standard_t(3, (3, n)), 1)
    weighted = var_es(pnl, level, np.full(n, 1.0 / n))
    for with_weights, without in zip(weighted, var_es(pnl, level), strict=True):
        np.testing.assert_allclose(with_weights, without, rtol=1e-9)
    for with_weights, without in zip(
        weighted_tail(pnl, level, np.full(n, 1.0 / n)), tail_shares(pnl, level), strict=True
    ):
        np.testing.assert_allclose(with_weights, without, rtol=1e-6, atol=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), level=st.sampled_from(list(LEVELS)))
def test_weights_count_as_repetitions(seed: int, level: float) -> None:
    """A scenario of weight 3/N is one that happened three times."""
    rng = np.random.default_rng(seed)
    pnl, repeats = rng.standard_normal(200), rng.integers(1, 4, 200)
    weights = repeats / repeats.sum()
    for weighted, repeated in zip(
        var_es(pnl, level, weights), var_es(np.repeat(pnl, repeats), level), strict=True
    ):
        assert weighted[0] == pytest.approx(repeated[0], rel=1e-9)


def test_weights_that_leave_no_tail_are_refused() -> None:
    """λ = 0.98 over 500 days has the information of 99 of them: not enough for 99 %."""
    ages = np.arange(500)[::-1]
    weights = np.power(0.98, ages) * 0.02 / (1 - 0.98**500)
    with pytest.raises(InsufficientHistoryError, match=r"needs 100 scenarios, has 98\.99"):
        var_es(np.zeros(500), 0.99, weights)
    with pytest.raises(ValueError, match="weights"):
        var_es(np.zeros(500), 0.95, np.full(500, 0.1))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), level=st.sampled_from(list(LEVELS)), has_ties=st.booleans())
def test_shares_reproduce_es(seed: int, level: float, has_ties: bool) -> None:
    pnl = np.random.default_rng(seed).standard_t(4, (5, 250))
    if has_ties:
        pnl = np.round(pnl)
        assume(np.unique(pnl[0]).size > 3)
    shares, boundary = tail_shares(pnl, level)
    value_at_risk, shortfall = var_es(pnl, level)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(-(shares * pnl).sum(axis=1), shortfall, rtol=1e-12)
    np.testing.assert_array_equal(-boundary, value_at_risk)
    assert shares.min() >= 0.0
