"""Every method of VaR and ES on one history: the same call for a book, whatever the method.

A model is made once for a history (milliseconds) and then measures any number of books. The history is what
assets have in common: one that has too few closes, or whose closes have ended, is left out and named, and
accounts exposed to it have no result.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from shared.risk.book_risk import BookRisk, Components, measure_book, measure_components
from shared.risk.covariance import CovarianceModel, ewma_model, ledoit_wolf_model
from shared.risk.measurement_policy import MeasurementPolicy, RiskMethod
from shared.risk.monte_carlo import normal_scenarios, t_scenarios
from shared.risk.parametric import delta_normal, measure_cornish_fisher, measure_delta_normal
from shared.risk.positions import Float64Array
from shared.risk.scenarios import (
    JoinedHistory,
    PriceHistory,
    Proxy,
    ScenarioSet,
    age_weighted_scenarios,
    filtered_scenarios,
    historical_scenarios,
    join_histories,
)
from shared.risk.tail import BY_PARTITION, InsufficientHistoryError, TailSelector, tail_of

_DELTA_NORMAL: Final = (RiskMethod.DELTA_NORMAL_EWMA, RiskMethod.DELTA_NORMAL_LEDOIT_WOLF)
_SCENARIOS_KEPT: Final = 32


def common_history(
    histories: Mapping[int, PriceHistory],
    n_assets: int,
    n_returns: int,
    *,
    proxies: Mapping[int, Proxy] | None = None,
) -> JoinedHistory | None:
    """`join_histories` of the assets that can be joined; None where no asset has `n_returns` returns.

    The history ends on the day that most assets end on. An asset that ended before is left out: joined, it
    would take the newest days from everybody. So is, the shortest first, whatever leaves too few common days.
    """
    ends = Counter(history.dates[-1] for history in histories.values() if history.dates.size)
    if not ends:
        return None
    end = max(ends, key=lambda day: (ends[day], day))
    joined = {
        asset: PriceHistory(history.dates[history.dates <= end], history.closes[history.dates <= end])
        for asset, history in histories.items()
        if history.dates.size and history.dates[-1] >= end and history.dates[0] <= end
    }
    while joined:
        try:
            return join_histories(joined, n_assets, n_returns, proxies=proxies)
        except InsufficientHistoryError:
            del joined[min(joined, key=lambda asset: (joined[asset].dates.size, -asset))]
    return None


@dataclass(frozen=True, slots=True)
class BookComponents:
    """Component VaR and ES of every account's positions, USD float64[n, n_assets]; a row sums to the
    account's VaR and ES, and is NaN where it has no result."""

    component_var_usd: Float64Array
    component_es_usd: Float64Array


class RiskModels:
    """The methods on one joined history. Safe to share between threads."""

    def __init__(self, history: JoinedHistory, policy: MeasurementPolicy) -> None:
        self.history = history
        self.policy = policy
        self._scenarios = lru_cache(maxsize=_SCENARIOS_KEPT)(self._make_scenarios)
        self._covariance = lru_cache(maxsize=2)(self._make_covariance)

    def scenarios(self, method: RiskMethod, horizon_days: int = 1) -> ScenarioSet:
        """The scenarios of a method.

        Raises:
            ValueError: the method has a covariance instead.
            InsufficientHistoryError: the history is shorter than the horizon, or than a method needs.
        """
        return self._scenarios(method, horizon_days)

    def covariance(self, method: RiskMethod) -> CovarianceModel:
        """The covariance of daily returns that a delta-normal method uses."""
        return self._covariance(method)

    def measure(
        self,
        method: RiskMethod,
        exposures: Float64Array,
        levels: Sequence[float],
        *,
        horizon_days: int,
        as_of: str,
        selector: TailSelector = BY_PARTITION,
    ) -> BookRisk:
        """VaR and ES of every account (`exposures` float64[n, n_assets] USD, debts negative) at each level.

        `selector` changes how long it takes, not the result.

        Raises:
            InsufficientHistoryError: a tail holds less than one scenario.
        """
        if method in _DELTA_NORMAL:
            return measure_delta_normal(
                exposures, self.covariance(method), levels, as_of=as_of, horizon_days=horizon_days
            )
        scenarios = self.scenarios(method, horizon_days)
        if method is RiskMethod.CORNISH_FISHER:
            return measure_cornish_fisher(exposures, scenarios, levels, as_of=as_of)
        return measure_book(exposures, scenarios, levels, as_of=as_of, selector=selector)

    def fastest_tail(self, levels: Sequence[float], timer_ns: Callable[[], int]) -> TailSelector:
        """The tail method that is fastest on this processor for the filtered scenarios of a day, from a
        measurement of some milliseconds (`TailSelector.measure`).

        Raises:
            InsufficientHistoryError: a tail holds less than one scenario.
        """
        n_scenarios = self.scenarios(RiskMethod.FILTERED, 1).n_scenarios
        depth = max(tail_of(level, n_scenarios).depth for level in levels)
        return TailSelector.measure(n_scenarios, depth, np.float64, timer_ns)

    def components(
        self, method: RiskMethod, exposures: Float64Array, level: float, *, horizon_days: int, as_of: str
    ) -> BookComponents | None:
        """The components of every account (`exposures` float64[n, n_assets]); None for Cornish–Fisher, whose
        quantile is not a sum over positions."""
        if method is RiskMethod.CORNISH_FISHER:
            return None
        if method in _DELTA_NORMAL:
            model = self.covariance(method)
            normal = delta_normal(exposures, model.matrix, level, horizon_days=horizon_days)
            ratio = np.divide(
                normal.es_usd, normal.var_usd, out=np.zeros_like(normal.es_usd), where=normal.var_usd > 0.0
            )
            of_var = normal.component_var_usd
            of_var[(exposures[:, list(model.missing)] != 0.0).any(axis=1)] = np.nan
            return BookComponents(of_var, of_var * ratio[:, None])
        scenarios = self.scenarios(method, horizon_days)
        parts: Components = measure_components(exposures, scenarios, level, as_of=as_of)
        return BookComponents(parts.component_var_usd, parts.component_es_usd)

    def _make_scenarios(self, method: RiskMethod, horizon_days: int) -> ScenarioSet:
        policy, history = self.policy, self.history
        if method is RiskMethod.FILTERED:
            return filtered_scenarios(history, decay=policy.ewma_decay, horizon_days=horizon_days)
        if method in {RiskMethod.HISTORICAL, RiskMethod.CORNISH_FISHER}:
            return historical_scenarios(history, horizon_days=horizon_days)
        if method is RiskMethod.AGE_WEIGHTED:
            return age_weighted_scenarios(history, decay=policy.age_weight_decay, horizon_days=horizon_days)
        covariance = self.covariance(RiskMethod.DELTA_NORMAL_EWMA)
        count, seed = policy.monte_carlo_scenarios, policy.monte_carlo_seed
        if method is RiskMethod.MONTE_CARLO_NORMAL:
            return normal_scenarios(covariance, count, seed=seed, horizon_days=horizon_days)
        if method is RiskMethod.MONTE_CARLO_T:
            return t_scenarios(
                covariance,
                count,
                seed=seed,
                degrees_of_freedom=policy.monte_carlo_degrees_of_freedom,
                horizon_days=horizon_days,
            )
        raise ValueError(f"method: {method} has no scenarios")

    def _make_covariance(self, method: RiskMethod) -> CovarianceModel:
        if method is RiskMethod.DELTA_NORMAL_EWMA:
            return ewma_model(self.history, self.policy.ewma_decay)
        if method is RiskMethod.DELTA_NORMAL_LEDOIT_WOLF:
            return ledoit_wolf_model(self.history)
        raise ValueError(f"method: {method} has no covariance")
