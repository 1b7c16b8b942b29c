"""Distance to a margin call, concentration and liquidity: what VaR at one horizon leaves out.

    distance to call     = f / √(gᵀ Σ g · h)       f = C − (1 + t)·B, g_j = (c_j − (1 + t)·b_j)·p_j
    concentration        = Σⱼ max(0, |x_j| − limit · Σ|x|) · rate
    days to liquidate    = |x_j| / (participation · daily volume_j)
    liquidity-horizon ES = √( ES_T(P)² + Σ_{j≥2} ( ES_T(P, j) · √((LH_j − LH_{j−1}) / T) )² )

Distance to call is in standard deviations of f over h days. ES_T(P, j) is the ES of the positions in assets
whose liquidity horizon is at least LH_j.

Source of the last: BCBS, Minimum capital requirements for market risk, MAR33.4–33.5.
"""

from collections.abc import Sequence

import numpy as np

from shared.risk.positions import Float64Array


def distance_to_call_sigma(
    collateral_usd: Float64Array,
    debt_usd: Float64Array,
    covariance: Float64Array,
    threshold: float,
    *,
    horizon_days: int = 1,
) -> Float64Array:
    """float64[n]: how many standard deviations f is above zero over the horizon; negative below the
    threshold, inf without debt or without variance. `collateral_usd`, `debt_usd` [n, n_assets], haircuts
    included; `covariance` of daily returns."""
    net = collateral_usd - (1.0 + threshold) * debt_usd
    excess = net.sum(axis=1)
    variance = np.einsum("ij,ij->i", net @ covariance, net) * horizon_days
    deviation = np.sqrt(np.maximum(0.0, variance))
    distance = np.divide(excess, deviation, out=np.copysign(np.inf, excess), where=deviation > 0.0)
    has_debt = debt_usd.sum(axis=1) > 0.0
    result: Float64Array = np.where(has_debt, distance, np.inf)
    return result


def concentration_addon(exposures_usd: Float64Array, limit: float, rate: float) -> Float64Array:
    """float64[n]: USD of margin for the part of each position above `limit` (0..1) of the account's gross
    exposure."""
    if not 0.0 < limit <= 1.0 or rate < 0.0:
        raise ValueError(f"limit, rate: {limit} must be in 0 < limit <= 1 and {rate} not negative")
    gross = np.abs(exposures_usd)
    above = np.maximum(0.0, gross - limit * gross.sum(axis=1, keepdims=True))
    total: Float64Array = above.sum(axis=1) * rate
    return total


def days_to_liquidate(
    exposures_usd: Float64Array, daily_volume_usd: Float64Array, participation: float
) -> Float64Array:
    """float64[n, n_assets]: days to trade out of each position at a share of the market's volume; inf
    without volume."""
    if not 0.0 < participation <= 1.0:
        raise ValueError(f"participation: {participation} is outside 0 < participation <= 1")
    gross = np.abs(exposures_usd)
    per_day = np.broadcast_to(participation * daily_volume_usd, gross.shape)
    days = np.divide(gross, per_day, out=np.full(gross.shape, np.inf), where=per_day > 0.0)
    result: Float64Array = np.where(gross == 0.0, 0.0, days)
    return result


def liquidity_horizon_es(
    es_by_horizon: Sequence[Float64Array], horizons_days: Sequence[float], base_days: float
) -> Float64Array:
    """float64[n]: FRTB's cascade. `es_by_horizon[j]` is the `base_days` ES of the positions in assets with
    a liquidity horizon of at least `horizons_days[j]`; the first is the whole portfolio at the base
    horizon."""
    ascending = list(horizons_days)
    if len(es_by_horizon) != len(ascending) or ascending != sorted(ascending) or ascending[0] != base_days:
        raise ValueError(f"horizons_days: {ascending} must ascend from the base {base_days}, one for each ES")
    squares = np.square(es_by_horizon[0])
    for previous, horizon, shortfall in zip(ascending, ascending[1:], es_by_horizon[1:], strict=False):
        squares = squares + np.square(shortfall) * (horizon - previous) / base_days
    result: Float64Array = np.sqrt(squares)
    return result
