"""VaR and ES as they would have been forecast each day of the past, from the window before it: what a
backtest sets against the P&L of the day.

Exposures are held constant in USD, so that a forecast and the P&L it is compared with are of one portfolio.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.risk.measurement_policy import MeasurementPolicy, RiskMethod
from shared.risk.models import RiskModels
from shared.risk.positions import Float64Array
from shared.risk.scenarios import DateArray, JoinedHistory
from shared.risk.tail import InsufficientHistoryError


@dataclass(frozen=True, slots=True)
class RollingForecasts:
    """Of T days and n portfolios: `dates` [T]; `pnl_usd` float64[T, n] of each day; `var_usd` and `es_usd`
    float64[n_levels, T, n] forecast on the day before, NaN where the method refused."""

    dates: DateArray
    levels: tuple[float, ...]
    pnl_usd: Float64Array
    var_usd: Float64Array
    es_usd: Float64Array


def roll_forecasts(
    history: JoinedHistory,
    exposures: Float64Array,
    method: RiskMethod,
    levels: Sequence[float],
    policy: MeasurementPolicy,
    *,
    window: int,
) -> RollingForecasts:
    """One-day forecasts for every day of `history` behind the first `window` (`exposures` float64[n,
    n_assets] USD). Raises InsufficientHistoryError where no day is left."""
    n_returns = history.dates.size
    if n_returns <= window:
        raise InsufficientHistoryError("rolling forecasts", window + 1, n_returns)
    n_days = n_returns - window
    shape = (len(levels), n_days, exposures.shape[0])
    value_at_risk, shortfall = np.empty(shape), np.empty(shape)
    for day in range(n_days):
        past = slice(day, day + window)
        models = RiskModels(
            JoinedHistory(history.dates[past], history.returns[past], history.missing, {}), policy
        )
        risk = models.measure(method, exposures, levels, horizon_days=1, as_of=str(history.dates[past.stop]))
        value_at_risk[:, day], shortfall[:, day] = risk.var_usd, risk.es_usd
    realised = history.returns[window:].copy()
    realised[:, list(history.missing)] = 0.0
    return RollingForecasts(
        history.dates[window:], tuple(levels), realised @ exposures.T, value_at_risk, shortfall
    )
