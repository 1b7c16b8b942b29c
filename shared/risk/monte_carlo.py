"""Seeded Monte Carlo scenarios: multivariate normal and Student t returns with a given covariance.

The same seed gives the same set on every machine (PCG64, NumPy's stable stream). The scenarios go the way
of any others, so VaR, ES and components are defined once. t scenarios are scaled to the given covariance,
which needs more than two degrees of freedom.
"""

import numpy as np

from shared.risk.covariance import CovarianceModel
from shared.risk.positions import Float64Array
from shared.risk.scenarios import ScenarioSet


def normal_scenarios(
    covariance: CovarianceModel, n_scenarios: int, *, seed: int, horizon_days: int = 1
) -> ScenarioSet:
    """Normal simple returns over `horizon_days`, floored at −1; zero mean."""
    draws = np.random.default_rng(seed).standard_normal((n_scenarios, covariance.matrix.shape[0]))
    name = f"monte-carlo-normal.seed-{seed}.{n_scenarios}"
    return _scaled(draws, covariance, name, horizon_days)


def t_scenarios(
    covariance: CovarianceModel,
    n_scenarios: int,
    *,
    seed: int,
    degrees_of_freedom: float = 4.0,
    horizon_days: int = 1,
) -> ScenarioSet:
    """Multivariate t simple returns (one common χ² mixing variable a scenario: joint tails), same
    covariance."""
    if degrees_of_freedom <= 2.0:
        raise ValueError(f"degrees_of_freedom: {degrees_of_freedom} has no covariance; more than 2 needed")
    generator = np.random.default_rng(seed)
    draws = generator.standard_normal((n_scenarios, covariance.matrix.shape[0]))
    mixing = generator.chisquare(degrees_of_freedom, n_scenarios)
    draws *= np.sqrt((degrees_of_freedom - 2.0) / mixing)[:, None]
    name = f"monte-carlo-t{degrees_of_freedom:g}.seed-{seed}.{n_scenarios}"
    return _scaled(draws, covariance, name, horizon_days)


def quantile_standard_error(level: float, n_scenarios: int, density_at_quantile: float) -> float:
    """Standard error of a VaR from `n_scenarios` draws: √(α(1 − α)/n) / f(VaR) (Kendall and Stuart)."""
    return float(np.sqrt(level * (1.0 - level) / n_scenarios) / density_at_quantile)


def _scaled(draws: Float64Array, covariance: CovarianceModel, name: str, horizon_days: int) -> ScenarioSet:
    values, vectors = np.linalg.eigh(covariance.matrix)
    if values.min() < -1e-12 * max(float(values.max()), 1e-300):
        raise ValueError(f"covariance: not positive semi-definite (smallest eigenvalue {values.min():g})")
    # The symmetric root exists for singular matrices too (an asset that does not move, a perfect proxy).
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    returns = np.maximum(-1.0, draws @ root * np.sqrt(horizon_days))
    return ScenarioSet(
        returns,
        f"{name}.{covariance.definition}.{horizon_days}d",
        horizon_days,
        None,
        covariance.missing,
        covariance.first,
        covariance.last,
        covariance.n_observations,
    )
