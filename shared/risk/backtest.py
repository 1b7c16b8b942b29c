"""Backtests of VaR and ES forecasts.

An exceedance is a day whose loss is above the VaR forecast for it. With n days, x exceedances, p = 1 − level
and transition counts n_ij from state i to state j (1 an exceedance):

- Kupiec's proportion of failures: LR_POF = −2 ln[(1−p)^(n−x) p^x] + 2 ln[(1−x/n)^(n−x) (x/n)^x] ~ χ²(1); -
Christoffersen's independence: LR_CCI of a first-order Markov chain against independence ~ χ²(1); -
conditional coverage: LR_CC = LR_POF + LR_CCI ~ χ²(2); - Basel traffic light: green while P(X ≤ x) < 95 %, red
from 99.99 %, amber between; for overlapping h-day returns exceedances cluster, so the bounds are simulated; -
Acerbi–Szekely: Z1 = mean over exceedances of (P&L / ES) + 1, Z2 = Σ exceeding P&L / (n·p·ES) + 1; 0 expected,
negative is too little ES.

Sources: Kupiec, J. Derivatives 3 (1995); Christoffersen, Int. Economic Review 39 (1998); BCBS, Supervisory
framework for the use of backtesting (January 1996); Acerbi and Szekely, Backtesting expected shortfall,
Risk (2014).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from scipy.special import bdtr, chdtrc, gammaln, ndtri, stdtrit, xlogy

from shared.risk.positions import BoolArray, Float64Array, Int64Array
from shared.risk.tail import tail_probability

_GREEN_BELOW: Final = 0.95
_AMBER_BELOW: Final = 0.9999
_BASEL_MULTIPLIERS: Final = (1.5, 1.5, 1.5, 1.5, 1.5, 1.7, 1.76, 1.83, 1.88, 1.92, 2.0)
"""MAR32.9: by exceedances of the 99 % one-day VaR in 250 days; the last from ten on."""
_BLOCK_DRAWS: Final = 4_000_000


class LikelihoodRatio(NamedTuple):
    """A test statistic and its p-value; a small p-value speaks against the model."""

    statistic: float
    p_value: float


class Zone(StrEnum):
    """Basel's traffic light."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


class ZoneBounds(NamedTuple):
    """The most exceedances that are still green, and the most that are still amber."""

    green_max: int
    amber_max: int

    def zone(self, exceedances: int) -> Zone:
        """The zone of a count."""
        if exceedances <= self.green_max:
            return Zone.GREEN
        return Zone.AMBER if exceedances <= self.amber_max else Zone.RED


@dataclass(frozen=True, slots=True)
class VarBacktest:
    """All tests of one VaR series."""

    n_observations: int
    exceedances: int
    expected: float
    kupiec: LikelihoodRatio
    independence: LikelihoodRatio
    conditional_coverage: LikelihoodRatio
    zone: Zone
    worst_250_days: int


def exceedances_of(pnl: Float64Array, var: Float64Array) -> BoolArray:
    """bool[T]: losses above the forecast (a loss equal to VaR is not one). Raises ValueError for NaN."""
    if pnl.shape != var.shape or not (np.isfinite(pnl).all() and np.isfinite(var).all()):
        raise ValueError(f"pnl, var: shapes {pnl.shape} and {var.shape}, finite, one forecast a day")
    return -pnl > var


def backtest_var(pnl: Float64Array, var: Float64Array, level: float) -> VarBacktest:
    """Every VaR test on daily, non-overlapping P&L and the forecasts made the day before."""
    exceeding = exceedances_of(pnl, var)
    n, failures = exceeding.size, int(np.count_nonzero(exceeding))
    window = min(250, n)
    sums = np.convolve(exceeding, np.ones(window, dtype=np.int64), mode="valid")
    pof = kupiec(n, failures, level)
    independence = christoffersen(exceeding)
    return VarBacktest(
        n,
        failures,
        tail_probability(level) * n,
        pof,
        independence,
        _chi2(pof.statistic + independence.statistic, 2),
        zone_bounds(n, level).zone(failures),
        int(sums.max()),
    )


def kupiec(n_observations: int, failures: int, level: float) -> LikelihoodRatio:
    """Proportion of failures. Raises ValueError unless 0 ≤ failures ≤ n_observations."""
    if not 0 <= failures <= n_observations or n_observations == 0:
        raise ValueError(f"failures: {failures} of {n_observations} observations")
    p, rate = tail_probability(level), failures / n_observations
    expected = _bernoulli(n_observations, failures, p)
    return _chi2(2.0 * (_bernoulli(n_observations, failures, rate) - expected), 1)


def transition_counts(exceeding: BoolArray) -> tuple[int, int, int, int]:
    """(n00, n01, n10, n11): pairs of successive days, from the first index to the second, 1 an exceedance."""
    before, after = exceeding[:-1], exceeding[1:]
    n11 = int(np.count_nonzero(before & after))
    n10, n01 = int(np.count_nonzero(before)) - n11, int(np.count_nonzero(after)) - n11
    return before.size - n11 - n10 - n01, n01, n10, n11


def christoffersen(exceeding: BoolArray) -> LikelihoodRatio:
    """Independence of exceedances from the day before's."""
    return christoffersen_of_counts(*transition_counts(exceeding))


def christoffersen_of_counts(n00: int, n01: int, n10: int, n11: int) -> LikelihoodRatio:
    """`christoffersen` from the transition counts."""
    after_none, after_one = n00 + n01, n10 + n11
    total, hits = after_none + after_one, n01 + n11
    independent = _bernoulli(total, hits, hits / total if total else 0.0)
    markov = _bernoulli(after_none, n01, n01 / after_none if after_none else 0.0)
    markov += _bernoulli(after_one, n11, n11 / after_one if after_one else 0.0)
    return _chi2(2.0 * (markov - independent), 1)


def zone_bounds(n_observations: int, level: float) -> ZoneBounds:
    """Traffic light bounds for independent days: the most exceedances with P(X ≤ x) below 95 % and 99.99
    %."""
    counts = np.arange(n_observations + 1)
    cumulative = bdtr(counts, n_observations, tail_probability(level))
    return _bounds(np.asarray(cumulative, dtype=np.float64))


def overlapping_zone_bounds(
    n_observations: int,
    horizon_days: int,
    level: float,
    *,
    seed: int,
    n_samples: int = 100_000,
    n_portfolios: int = 1,
    correlation: float = 0.0,
) -> ZoneBounds:
    """Traffic light bounds for `n_observations` overlapping `horizon_days` returns, exceedances summed
    over equally correlated portfolios, by simulation of normal daily returns."""
    if not 0.0 <= correlation <= 1.0:
        raise ValueError(f"correlation: {correlation} is outside 0..1")
    generator = np.random.default_rng(seed)
    threshold = float(ndtri(tail_probability(level))) * np.sqrt(horizon_days)
    n_days = n_observations + horizon_days - 1
    chunk = max(1, _BLOCK_DRAWS // (n_days * n_portfolios))
    histogram = np.zeros(n_observations * n_portfolios + 1, dtype=np.int64)
    for start in range(0, n_samples, chunk):
        size = min(chunk, n_samples - start)
        daily = generator.standard_normal((size, n_portfolios, n_days), dtype=np.float32)
        if n_portfolios > 1:
            common = generator.standard_normal((size, 1, n_days), dtype=np.float32)
            daily = np.sqrt(1.0 - correlation) * daily + np.sqrt(correlation) * common
        walked = np.cumsum(daily, axis=2, dtype=np.float64)
        overlapping = walked[:, :, horizon_days - 1 :].copy()
        overlapping[:, :, 1:] -= walked[:, :, :-horizon_days]
        counts = np.count_nonzero(overlapping < threshold, axis=(1, 2))
        histogram += np.bincount(counts, minlength=histogram.size)
    return _bounds(np.cumsum(histogram) / n_samples)


def basel_multiplier(exceedances: int) -> float:
    """The capital multiplier for exceedances of the 99 % one-day VaR in the last 250 days (MAR32.9)."""
    if exceedances < 0:
        raise ValueError(f"exceedances: {exceedances} is negative")
    return _BASEL_MULTIPLIERS[min(exceedances, len(_BASEL_MULTIPLIERS) - 1)]


class EsStatistics(NamedTuple):
    """Acerbi–Szekely's Z1 (NaN without an exceedance) and Z2; expected 0 under the model, negative if ES
    is too small."""

    z1: float
    z2: float


def acerbi_szekely(pnl: Float64Array, var: Float64Array, es: Float64Array, level: float) -> EsStatistics:
    """Z1 and Z2 of P&L against forecasts of VaR and ES (float64[T], positive ES)."""
    exceeding = exceedances_of(pnl, var)
    if es.shape != pnl.shape or not np.all(es > 0.0):
        raise ValueError("es: one positive forecast a day is needed")
    ratios = pnl[exceeding] / es[exceeding]
    z2 = float(ratios.sum()) / (pnl.size * tail_probability(level)) + 1.0
    return EsStatistics(float(ratios.mean()) + 1.0 if ratios.size else float("nan"), z2)


def z2_p_value(
    z2: float,
    n_observations: int,
    level: float,
    *,
    seed: int,
    n_samples: int = 20_000,
    degrees_of_freedom: float | None = None,
) -> float:
    """P(Z2 ≤ z2) if P&L follows the model, a normal or a t distribution, by simulation of n independent
    days."""
    alpha = tail_probability(level)
    if degrees_of_freedom is None:
        quantile = float(ndtri(alpha))
        shortfall = math.exp(-0.5 * quantile**2) / math.sqrt(2.0 * math.pi) / alpha
    else:
        nu = degrees_of_freedom
        quantile = float(stdtrit(nu, alpha))
        shortfall = _t_density(quantile, nu) / alpha * (nu + quantile**2) / (nu - 1.0)
    generator = np.random.default_rng(seed)
    draw: Callable[[tuple[int, int]], Float64Array] = (
        generator.standard_normal
        if degrees_of_freedom is None
        else lambda size: generator.standard_t(degrees_of_freedom, size)
    )
    below = 0
    chunk = max(1, _BLOCK_DRAWS // n_observations)
    for start in range(0, n_samples, chunk):
        sample = draw((min(chunk, n_samples - start), n_observations))
        tail = np.where(sample < quantile, sample, 0.0).sum(axis=1)
        below += int(np.count_nonzero(tail / (n_observations * alpha * shortfall) + 1.0 <= z2))
    return below / n_samples


def _bernoulli(n: int, successes: int, probability: float) -> float:
    return float(xlogy(n - successes, 1.0 - probability) + xlogy(successes, probability))


def _t_density(x: float, degrees_of_freedom: float) -> float:
    nu = degrees_of_freedom
    scale = math.exp(gammaln((nu + 1.0) / 2.0) - gammaln(nu / 2.0)) / math.sqrt(nu * math.pi)
    return float(scale * (1.0 + x * x / nu) ** (-(nu + 1.0) / 2.0))


def _chi2(statistic: float, degrees: int) -> LikelihoodRatio:
    # Equal likelihoods can differ by rounding below zero.
    ratio = max(0.0, statistic)
    return LikelihoodRatio(ratio, float(chdtrc(degrees, ratio)))


def _bounds(cumulative: Float64Array | Int64Array) -> ZoneBounds:
    return ZoneBounds(
        int(np.count_nonzero(cumulative < _GREEN_BELOW)) - 1,
        int(np.count_nonzero(cumulative < _AMBER_BELOW)) - 1,
    )
