"""Backtests against their definitions, and their size on models that are right or wrong."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.risk.backtest import (
    Zone,
    acerbi_szekely,
    backtest_var,
    basel_multiplier,
    christoffersen,
    exceedances_of,
    kupiec,
    overlapping_zone_bounds,
    transition_counts,
    z2_p_value,
    zone_bounds,
)


@settings(deadline=None)
@given(n=st.integers(1, 2000), share=st.floats(0, 1), level=st.sampled_from([0.95, 0.99]))
def test_kupiec_is_the_binomial_likelihood_ratio(n: int, share: float, level: float) -> None:
    failures = round(n * share)
    result = kupiec(n, failures, level)
    expected = 2 * (
        stats.binom.logpmf(failures, n, failures / n) - stats.binom.logpmf(failures, n, round(1 - level, 12))
    )
    assert result.statistic == pytest.approx(max(0.0, expected), rel=1e-6, abs=1e-7)
    assert result.p_value == pytest.approx(stats.chi2.sf(result.statistic, 1))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 300), rate=st.sampled_from([0.0, 0.02, 0.3, 1.0]))
def test_transitions_are_counted_pair_by_pair(seed: int, n: int, rate: float) -> None:
    exceeding = np.random.default_rng(seed).random(n) < rate
    pairs = list(pairwise(exceeding.tolist()))
    counts = tuple(pairs.count((a, b)) for a in (False, True) for b in (False, True))
    assert transition_counts(exceeding) == counts
    result = christoffersen(exceeding)
    assert 0.0 <= result.p_value <= 1.0
    assert result.statistic >= 0.0


def test_clusters_are_noticed() -> None:
    exceeding = np.zeros(500, dtype=bool)
    exceeding[100:110] = True
    assert christoffersen(exceeding).p_value < 1e-6
    spread = np.zeros(500, dtype=bool)
    spread[::50] = True
    assert christoffersen(spread).p_value > 0.3


def test_a_loss_equal_to_var_is_no_exceedance() -> None:
    assert exceedances_of(np.array([-1.0, -1.1, 5.0]), np.ones(3)).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="finite"):
        exceedances_of(np.array([np.nan]), np.ones(1))
    with pytest.raises(ValueError, match="failures"):
        kupiec(10, 11, 0.99)


def test_right_and_wrong_models() -> None:
    """The true VaR of t(4) P&L passes; a normal VaR with the same deviation fails at 99 %, and its ES more
    so."""
    rng = np.random.default_rng(12)
    n = 4000
    pnl = rng.standard_t(4, n)
    true_var = np.full(n, stats.t.ppf(0.99, 4))
    right = backtest_var(pnl, true_var, 0.99)
    assert right.expected == 40.0
    assert right.kupiec.p_value > 0.05
    assert right.zone == Zone.GREEN
    deviation = np.sqrt(2.0)
    wrong = backtest_var(pnl, np.full(n, deviation * stats.norm.ppf(0.99)), 0.99)
    assert wrong.kupiec.p_value < 0.05
    assert wrong.exceedances > right.exceedances
    assert wrong.conditional_coverage.statistic == pytest.approx(
        wrong.kupiec.statistic + wrong.independence.statistic
    )
    assert wrong.worst_250_days >= wrong.exceedances * 250 // n

    q = stats.t.ppf(0.025, 4)
    true_es = stats.t.pdf(q, 4) / 0.025 * (4 + q**2) / 3
    matching = acerbi_szekely(pnl, np.full(n, -q), np.full(n, true_es), 0.975)
    assert abs(matching.z2) < 0.2
    z = stats.norm.ppf(0.025)
    normal_es = deviation * stats.norm.pdf(z) / 0.025
    short = acerbi_szekely(pnl, np.full(n, -deviation * z), np.full(n, normal_es), 0.975)
    assert short.z1 < matching.z1
    assert short.z1 < 0.0


def test_es_statistics_by_hand() -> None:
    pnl = np.array([-4.0, 1.0, -2.0, 0.0] * 10)
    result = acerbi_szekely(pnl, np.full(40, 1.5), np.full(40, 2.0), 0.975)
    assert result.z1 == pytest.approx(-0.5)
    assert result.z2 == pytest.approx(1 - 10 * (2.0 + 1.0) / (40 * 0.025))
    calm = acerbi_szekely(np.zeros(40), np.ones(40), np.ones(40), 0.975)
    assert np.isnan(calm.z1)
    assert calm.z2 == 1.0
    with pytest.raises(ValueError, match="es"):
        acerbi_szekely(np.zeros(2), np.ones(2), np.zeros(2), 0.975)


def test_z2_p_values_are_uniform_where_the_model_is_right() -> None:
    assert z2_p_value(0.0, 500, 0.975, seed=1) == pytest.approx(0.5, abs=0.05)
    assert z2_p_value(-0.7, 250, 0.975, seed=1) == pytest.approx(0.05, abs=0.015)


@settings(deadline=None)
@given(n=st.integers(10, 1500), level=st.sampled_from([0.95, 0.99]))
def test_zone_bounds_are_the_binomial_quantiles(n: int, level: float) -> None:
    bounds = zone_bounds(n, level)
    law = stats.binom(n, round(1 - level, 12))
    assert law.cdf(bounds.green_max + 1) >= 0.95
    assert bounds.green_max == -1 or law.cdf(bounds.green_max) < 0.95
    assert law.cdf(bounds.amber_max + 1) >= 0.9999
    assert bounds.zone(bounds.amber_max + 1) == Zone.RED
    assert bounds.zone(bounds.amber_max) == (
        Zone.AMBER if bounds.amber_max > bounds.green_max else Zone.GREEN
    )


def test_overlapping_bounds_without_overlap_are_the_binomial_ones() -> None:
    simulated = overlapping_zone_bounds(250, 1, 0.99, seed=3, n_samples=40_000)
    assert simulated.green_max == zone_bounds(250, 0.99).green_max
    assert abs(simulated.amber_max - zone_bounds(250, 0.99).amber_max) <= 1
    assert overlapping_zone_bounds(250, 10, 0.99, seed=3, n_samples=20_000).green_max > simulated.green_max
    with pytest.raises(ValueError, match="correlation"):
        overlapping_zone_bounds(250, 10, 0.99, seed=1, correlation=2.0)


def test_multiplier_refuses_nonsense() -> None:
    assert basel_multiplier(30) == 2.0
    with pytest.raises(ValueError, match="exceedances"):
        basel_multiplier(-1)
