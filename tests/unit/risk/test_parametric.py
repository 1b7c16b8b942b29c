"""Delta-normal, Cornish–Fisher, covariances and Monte Carlo, against independent computations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from shared.risk.book_risk import measure_book
from shared.risk.covariance import (
    CovarianceModel,
    ewma_covariance,
    ewma_model,
    ledoit_wolf_covariance,
    ledoit_wolf_model,
)
from shared.risk.monte_carlo import normal_scenarios, quantile_standard_error, t_scenarios
from shared.risk.parametric import (
    Moments,
    cornish_fisher,
    cornish_fisher_domain,
    delta_normal,
    measure_cornish_fisher,
    measure_delta_normal,
    moments_of,
)
from shared.risk.scenarios import JoinedHistory, age_weighted_scenarios, historical_scenarios

AS_OF = "2026-01-01T00:00:00Z"


def given_covariance(matrix: np.ndarray) -> CovarianceModel:
    return CovarianceModel(matrix, "given")


def random_covariance(seed: int, n: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(0, 0.02, (n, n + 3))
    return root @ root.T


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    level=st.sampled_from([0.95, 0.975, 0.99]),
    horizon=st.sampled_from([1, 10]),
)
def test_delta_normal_equals_the_scalar_formula(seed: int, level: float, horizon: int) -> None:
    covariance = random_covariance(seed, 5)
    exposures = np.random.default_rng(seed).normal(0, 1e4, (8, 5))
    risk = delta_normal(exposures, covariance, level, horizon_days=horizon)
    for account, x in enumerate(exposures):
        sigma = float(
            np.sqrt(sum(x[i] * x[j] * covariance[i, j] for i in range(5) for j in range(5)) * horizon)
        )
        law = stats.norm(0, sigma)
        assert risk.volatility_usd[account] == pytest.approx(sigma, rel=1e-9)
        assert risk.var_usd[account] == pytest.approx(-law.ppf(1 - level), rel=1e-9)
    # One integral is enough: ES is proportional to σ.
    tail, _ = integrate.quad(lambda y: y * stats.norm.pdf(y), -40, stats.norm.ppf(1 - level))
    np.testing.assert_allclose(risk.es_usd / risk.volatility_usd, -tail / (1 - level), rtol=1e-6)
    np.testing.assert_allclose(risk.component_var_usd.sum(axis=1), risk.var_usd, rtol=1e-9)


def test_a_perfect_hedge_has_no_risk_and_no_nan() -> None:
    covariance = np.full((2, 2), 0.04)
    risk = delta_normal(np.array([[100.0, -100.0], [0.0, 0.0]]), covariance, 0.99)
    assert not np.isnan(risk.component_var_usd).any()
    np.testing.assert_allclose(risk.var_usd, 0.0, atol=1e-9)
    with pytest.raises(ValueError, match="covariance"):
        delta_normal(np.ones((1, 3)), covariance, 0.99)


@settings(deadline=None)
@given(
    skewness=st.floats(-1.5, 1.5),
    kurtosis=st.floats(0, 7),
    level=st.sampled_from([0.95, 0.975, 0.99]),
)
def test_cornish_fisher_es_is_the_mean_of_its_quantile(
    skewness: float, kurtosis: float, level: float
) -> None:
    moments = Moments(np.array([0.5]), np.array([2.0]), np.array([skewness]), np.array([kurtosis]))
    risk = cornish_fisher(moments, level)

    def expanded(z: float) -> float:
        correction = (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * kurtosis / 24
        return z + correction - (2 * z**3 - 5 * z) * skewness**2 / 36

    grid = np.linspace(-10, 10, 4001)
    is_increasing = bool(np.all(np.diff([expanded(z) for z in grid]) > 0))
    if not risk.is_valid[0]:
        assert np.isnan([risk.var_usd[0], risk.es_usd[0]]).all()
        return
    assert is_increasing
    z = float(stats.norm.ppf(round(1 - level, 12)))
    assert risk.var_usd[0] == pytest.approx(-(0.5 + 2 * expanded(z)), rel=1e-10)
    mean, _ = integrate.quad(lambda x: expanded(x) * stats.norm.pdf(x), -12, z)
    assert risk.es_usd[0] == pytest.approx(-(0.5 + 2 * mean / (1 - level)), rel=1e-7)
    assert risk.es_usd[0] >= risk.var_usd[0]


def test_cornish_fisher_without_higher_moments_is_normal() -> None:
    flat = Moments(np.zeros(1), np.ones(1), np.zeros(1), np.zeros(1))
    assert cornish_fisher(flat, 0.99).var_usd[0] == pytest.approx(-stats.norm.ppf(0.01), rel=1e-12)


def test_cornish_fisher_refuses_wild_moments() -> None:
    assert not cornish_fisher_domain(np.array([3.0, 0.0, 0.0, np.nan]), np.array([5.0, 8.5, -1.0, 1.0])).any()


def test_moments() -> None:
    pnl = np.random.default_rng(0).gamma(2.0, size=(3, 500))
    moments = moments_of(pnl)
    np.testing.assert_allclose(moments.skewness, stats.skew(pnl, axis=1))
    np.testing.assert_allclose(moments.excess_kurtosis, stats.kurtosis(pnl, axis=1))
    np.testing.assert_allclose(moments.deviation, pnl.std(axis=1))


def test_ewma_covariance_is_the_weighted_sum() -> None:
    returns = np.random.default_rng(2).normal(0, 0.02, (40, 3))
    weights = 0.94 ** np.arange(40)[::-1]
    expected = sum(w * np.outer(r, r) for w, r in zip(weights, returns, strict=True)) / weights.sum()
    np.testing.assert_allclose(ewma_covariance(returns), expected, rtol=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from([1, 2, 10, 40]), days=st.sampled_from([2, 20, 200]))
def test_ledoit_wolf_equals_its_definition(seed: int, n: int, days: int) -> None:
    returns = np.random.default_rng(seed).normal(0, 1, (days, n)) * np.linspace(1, 2, n)
    centred = returns - returns.mean(axis=0)
    sample = centred.T @ centred / days
    mu = np.trace(sample) / n
    delta = np.square(sample - mu * np.eye(n)).sum()
    beta = sum(np.square(np.outer(x, x) - sample).sum() for x in centred) / days**2
    shrinkage = min(beta, delta) / delta if delta > 1e-12 else 0.0
    result = ledoit_wolf_covariance(returns)
    if n > 1:
        assert result.shrinkage == pytest.approx(shrinkage, rel=1e-7, abs=1e-9)
    np.testing.assert_allclose(
        result.matrix, (1 - shrinkage) * sample + shrinkage * mu * np.eye(n), rtol=1e-7, atol=1e-9
    )


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), level=st.sampled_from([0.95, 0.99]))
def test_monte_carlo_is_within_its_standard_error(seed: int, level: float) -> None:
    """Four standard errors; VaR against delta-normal for normal returns, against the t quantile for t."""
    covariance = random_covariance(7, 4) * 0.05
    exposures = np.array([[1000.0, 500.0, -300.0, 200.0]])
    exact = delta_normal(exposures, covariance, level)
    sigma, n = float(exact.volatility_usd[0]), 40_000
    simulated = measure_book(
        exposures, normal_scenarios(given_covariance(covariance), n, seed=seed), [level], as_of=AS_OF
    )
    density = float(stats.norm.pdf(-stats.norm.ppf(level))) / sigma
    assert abs(simulated.var_usd[0, 0] - exact.var_usd[0]) < 4 * quantile_standard_error(level, n, density)
    law = stats.t(5, scale=sigma * np.sqrt(3 / 5))
    heavy = measure_book(
        exposures,
        t_scenarios(given_covariance(covariance), n, seed=seed, degrees_of_freedom=5.0),
        [level],
        as_of=AS_OF,
    )
    error = quantile_standard_error(level, n, float(law.pdf(law.ppf(level))))
    assert abs(heavy.var_usd[0, 0] - law.ppf(level)) < 4 * error


def test_monte_carlo_is_reproducible() -> None:
    covariance = random_covariance(1, 3)
    assert (
        normal_scenarios(given_covariance(covariance), 500, seed=4).id
        == normal_scenarios(given_covariance(covariance), 500, seed=4).id
    )
    assert (
        normal_scenarios(given_covariance(covariance), 500, seed=4).id
        != normal_scenarios(given_covariance(covariance), 500, seed=5).id
    )
    singular = np.outer([0.01, 0.02], [0.01, 0.02])
    draws = t_scenarios(given_covariance(singular), 1000, seed=1).returns
    np.testing.assert_allclose(draws[:, 1], np.maximum(-1, 2 * draws[:, 0]), atol=1e-9)
    with pytest.raises(ValueError, match="degrees_of_freedom"):
        t_scenarios(given_covariance(covariance), 10, seed=1, degrees_of_freedom=2.0)
    with pytest.raises(ValueError, match="semi-definite"):
        normal_scenarios(given_covariance(np.array([[1.0, 2.0], [2.0, 1.0]])), 10, seed=1)


def history_with_a_missing_asset() -> JoinedHistory:
    returns = np.random.default_rng(3).normal(0, 0.02, (400, 3))
    returns[:, 1] = np.nan
    return JoinedHistory(np.datetime64("2025-01-01") + np.arange(400), returns, (1,), {})


def test_an_asset_without_history_leaves_its_holders_unmeasured() -> None:
    """By every method: the holder of asset 1 has no result, and the others are measured on what they hold."""
    history = history_with_a_missing_asset()
    exposures = np.array([[1000.0, 0.0, 500.0], [1000.0, 1.0, 500.0]])
    known = [0, 2]
    for model, estimate in (
        (ewma_model(history), ewma_covariance(history.returns[:, known])),
        (ledoit_wolf_model(history), ledoit_wolf_covariance(history.returns[:, known]).matrix),
    ):
        risk = measure_delta_normal(exposures, model, [0.99, 0.975], as_of=AS_OF, horizon_days=10)
        expected = delta_normal(exposures[:1, known], estimate, 0.975, horizon_days=10)
        assert risk.es_usd[1, 0] == pytest.approx(expected.es_usd[0], rel=1e-12)
        assert risk.unmeasured.tolist() == [False, True]
        assert np.isnan(risk.var_usd[:, 1]).all()
        assert (risk.basis.missing_assets, risk.basis.history_last) == ((1,), "2026-02-04")
    simulated = measure_book(exposures, t_scenarios(ewma_model(history), 500, seed=1), [0.99], as_of=AS_OF)
    assert simulated.unmeasured.tolist() == [False, True]
    assert simulated.basis.n_observations == 400
    modified = measure_cornish_fisher(exposures, historical_scenarios(history), [0.99], as_of=AS_OF)
    assert modified.unmeasured.tolist() == [False, True]
    pnl = historical_scenarios(history).returns @ exposures[0]
    assert modified.var_usd[0, 0] == pytest.approx(cornish_fisher(moments_of(pnl), 0.99).var_usd[0])
    with pytest.raises(ValueError, match="weighted"):
        measure_cornish_fisher(exposures, age_weighted_scenarios(history), [0.99], as_of=AS_OF)


def test_accounts_outside_the_domain_are_unmeasured() -> None:
    returns = np.random.default_rng(1).normal(0, 0.01, (500, 2))
    returns[0, 1] = -0.9
    history = JoinedHistory(np.datetime64("2025-01-01") + np.arange(500), returns, (), {})
    risk = measure_cornish_fisher(np.eye(2), historical_scenarios(history), [0.99], as_of=AS_OF)
    assert risk.unmeasured.tolist() == [False, True]
    assert np.isnan(risk.es_usd[0]).tolist() == [False, True]
