"""Delta-normal VaR and ES from a covariance matrix, and the Cornish–Fisher (modified) VaR from four moments.

Delta-normal, mean zero, over h days:

    σ = √(xᵀ Σ x · h),  VaR = z·σ,  ES = φ(z)/α · σ,  component = x ∘ (Σ x)·h / σ · (VaR or ES per σ)

Cornish–Fisher replaces the normal quantile z_α by

    z + (z² − 1)·S/6 + (z³ − 3z)·K/24 − (2z³ − 5z)·S²/36

with skewness S and excess kurtosis K. The expansion is a quantile function only where it increases; outside
that domain of (S, K) it is refused instead of giving a number that means nothing (crypto returns often lie
outside).

Sources: RiskMetrics Technical Document (1996); Zangri, RiskMetrics Monitor Q1 1996; Maillard, A user's
guide to the Cornish Fisher expansion (2012), for the domain; Boudt, Peterson and Croux, J. Risk 11 (2008),
for modified ES.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from shared.risk.basis import Basis, basis_of
from shared.risk.book_risk import BookRisk, unmeasured_accounts
from shared.risk.covariance import CovarianceModel
from shared.risk.positions import BoolArray, Float64Array
from shared.risk.scenarios import ScenarioSet
from shared.risk.tail import tail_probability


@dataclass(frozen=True, slots=True)
class DeltaNormalRisk:
    """Per account, USD: `volatility_usd`, `var_usd`, `es_usd` float64[n]; `component_var_usd` float64[n,
    n_assets], rows summing to VaR. Component ES is component VaR · es/var."""

    level: float
    horizon_days: int
    volatility_usd: Float64Array
    var_usd: Float64Array
    es_usd: Float64Array
    component_var_usd: Float64Array


def delta_normal(
    exposures: Float64Array, covariance: Float64Array, level: float, *, horizon_days: int = 1
) -> DeltaNormalRisk:
    """Delta-normal risk of a whole book: `exposures` [n, n_assets] USD, `covariance` [n_assets, n_assets]
    of daily returns."""
    if covariance.shape != (exposures.shape[-1],) * 2:
        raise ValueError(f"covariance: shape {covariance.shape} for {exposures.shape[-1]} assets")
    held = np.atleast_2d(exposures)
    alpha = tail_probability(level)
    quantile = -float(ndtri(alpha))
    sensitivity = held @ covariance
    # A portfolio hedged to nothing can come out at −1e-17.
    volatility = np.sqrt(np.maximum(0.0, np.einsum("ij,ij->i", held, sensitivity)) * horizon_days)
    share = np.divide(
        held * sensitivity * horizon_days,
        volatility[:, None],
        out=np.zeros_like(held),
        where=volatility[:, None] > 0.0,
    )
    density = np.exp(-0.5 * quantile * quantile) / np.sqrt(2.0 * np.pi)
    return DeltaNormalRisk(
        level, horizon_days, volatility, quantile * volatility, density / alpha * volatility, quantile * share
    )


def measure_delta_normal(
    exposures: Float64Array,
    covariance: CovarianceModel,
    levels: Sequence[float],
    *,
    as_of: str,
    horizon_days: int = 1,
) -> BookRisk:
    """`delta_normal` at every level, with its basis; accounts exposed to an asset without a covariance
    have no result."""
    results = [
        delta_normal(exposures, covariance.matrix, level, horizon_days=horizon_days) for level in levels
    ]
    unmeasured = (exposures[:, list(covariance.missing)] != 0.0).any(axis=1)
    value_at_risk = np.array([result.var_usd for result in results])
    shortfall = np.array([result.es_usd for result in results])
    value_at_risk[:, unmeasured] = np.nan
    shortfall[:, unmeasured] = np.nan
    basis = Basis(
        as_of,
        "delta-normal.zero-mean.v1",
        covariance.id,
        covariance.definition,
        horizon_days,
        covariance.first,
        covariance.last,
        covariance.n_observations,
        covariance.missing,
    )
    return BookRisk(tuple(levels), value_at_risk, shortfall, basis)


def measure_cornish_fisher(
    exposures: Float64Array, scenarios: ScenarioSet, levels: Sequence[float], *, as_of: str
) -> BookRisk:
    """`cornish_fisher` of every account's P&L over equally weighted scenarios; accounts outside its
    domain, or exposed to an asset without scenarios, have no result."""
    if scenarios.weights is not None:
        raise ValueError(
            "scenarios: weighted; the moments of Cornish–Fisher are those of equally likely scenarios"
        )
    moments = moments_of(exposures @ scenarios.by_asset)
    results = [cornish_fisher(moments, level) for level in levels]
    unmeasured = unmeasured_accounts(exposures, scenarios) | ~cornish_fisher_domain(*moments[2:])
    value_at_risk = np.array([result.var_usd for result in results])
    shortfall = np.array([result.es_usd for result in results])
    value_at_risk[:, unmeasured] = np.nan
    shortfall[:, unmeasured] = np.nan
    basis = basis_of(scenarios, as_of, "cornish-fisher")
    return BookRisk(tuple(levels), value_at_risk, shortfall, basis)


class Moments(NamedTuple):
    """Mean, standard deviation (divisor n), skewness and excess kurtosis, float64[n_accounts]."""

    mean: Float64Array
    deviation: Float64Array
    skewness: Float64Array
    excess_kurtosis: Float64Array


def moments_of(pnl: Float64Array) -> Moments:
    """Population moments of P&L samples [n, S]."""
    block = np.atleast_2d(pnl)
    mean = block.mean(axis=1)
    centred = block - mean[:, None]
    variance = np.square(centred).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        skewness = (centred**3).mean(axis=1) / variance**1.5
        kurtosis = (centred**4).mean(axis=1) / variance**2 - 3.0
    return Moments(mean, np.sqrt(variance), skewness, kurtosis)


class CornishFisherRisk(NamedTuple):
    """VaR and ES float64[n], NaN where `is_valid` (bool[n]) is False: the moments are outside the
    expansion's domain."""

    var_usd: Float64Array
    es_usd: Float64Array
    is_valid: BoolArray


def cornish_fisher(moments: Moments, level: float) -> CornishFisherRisk:
    """Modified VaR, and ES as the mean of the expanded quantile over the tail (in closed form: the
    expansion is a polynomial in z, and each power of z integrates against φ to φ times a polynomial)."""
    alpha = tail_probability(level)
    z = float(ndtri(alpha))
    s, k = moments.skewness, moments.excess_kurtosis
    quantile = (
        z + (z * z - 1.0) * s / 6.0 + (z**3 - 3.0 * z) * k / 24.0 - (2.0 * z**3 - 5.0 * z) * s * s / 36.0
    )
    density = float(np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)) / alpha
    # Tail means below z, d = φ(z)/α: E[Z] = −d, E[Z²−1] = −zd, E[Z³−3Z] = −(z²−1)d, E[2Z³−5Z] = −(2z²−1)d.
    tail_mean = -density * (1.0 + z * s / 6.0 + (z * z - 1.0) * k / 24.0 - (2.0 * z * z - 1.0) * s * s / 36.0)
    is_valid = cornish_fisher_domain(s, k)
    value_at_risk = -(moments.mean + moments.deviation * quantile)
    shortfall = -(moments.mean + moments.deviation * tail_mean)
    return CornishFisherRisk(
        np.where(is_valid, value_at_risk, np.nan), np.where(is_valid, shortfall, np.nan), is_valid
    )


def cornish_fisher_domain(skewness: Float64Array, excess_kurtosis: Float64Array) -> BoolArray:
    """Where the expansion increases in z for every z: its derivative, a quadratic, has no two real roots.

    w'(z) = (K/8 − S²/6)·z² + (S/3)·z + (1 − K/8 + 5S²/36); NaN moments are outside.
    """
    square = excess_kurtosis / 8.0 - skewness**2 / 6.0
    constant = 1.0 - excess_kurtosis / 8.0 + 5.0 * skewness**2 / 36.0
    discriminant = (skewness / 3.0) ** 2 - 4.0 * square * constant
    inside: BoolArray = (square >= 0.0) & (constant > 0.0) & (discriminant <= 0.0)
    return inside
