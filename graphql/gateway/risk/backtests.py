"""How a method's forecasts for an account's present positions would have held on the days past.

Definitions: docs/methodology/backtesting.md.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal as Number

import numpy as np
import strawberry

from gateway.errors import BadUserInputError
from gateway.risk.measures import HistoryCoverage, RiskMethod, coverage, short_tail
from gateway.scalars import Decimal
from shared.domain.closes import ModelledHistory
from shared.domain.market import Holder, Market, value_accounts
from shared.domain.money import usd
from shared.domain.risk_block import domain_reason, exposures_of, unmeasured_reason
from shared.risk import backtest as core
from shared.risk.measurement_policy import MeasurementPolicy
from shared.risk.measurement_policy import RiskMethod as Method
from shared.risk.positions import Float64Array
from shared.risk.rolling import roll_forecasts
from shared.risk.scenarios import DateArray
from shared.risk.tail import InsufficientHistoryError

MIN_DAYS, MAX_DAYS = 50, 500
_SEED = 1
_SAMPLES = 5_000

TrafficLight = strawberry.enum(core.Zone, name="TrafficLight", description="Basel's traffic light.")


@strawberry.type(description="A likelihood ratio test; a small p-value speaks against the method.")
class LikelihoodRatio:
    statistic: float
    p_value: float


@strawberry.type(description="A day whose loss was above the VaR that was forecast for it.")
class Exceedance:
    date: date
    pnl_usd: Decimal
    var_usd: Decimal


@strawberry.type(description="What was counted and tested.")
class BacktestResult:
    first: date
    last: date
    days: int
    exceedances: list[Exceedance]
    exceedance_count: int
    expected_count: float
    kupiec: LikelihoodRatio
    christoffersen: LikelihoodRatio = strawberry.field(description="Independence of exceedances.")
    conditional_coverage: LikelihoodRatio
    traffic_light: TrafficLight  # type: ignore[valid-type]
    worst_250_days: int = strawberry.field(description="The most exceedances in 250 days (or in all).")
    acerbi_szekely_z2: float = strawberry.field(description="0 expected; below it, ES was too small.")
    es_p_value: float = strawberry.field(
        description="How likely a smaller Z2 is where losses follow Student's t with 4 degrees of freedom."
    )


@strawberry.type(
    description=(
        "One-day forecasts of a method for an account's present exposures, held constant, against what the "
        "days that followed would have brought. Null where it cannot be made, and unmeasuredReason says why."
    )
)
class Backtest:
    account_id: strawberry.ID
    method: RiskMethod  # type: ignore[valid-type]
    level: Decimal
    window_days: int = strawberry.field(description="Returns that each forecast rests on.")
    result: BacktestResult | None
    unmeasured_reason: str | None
    history: list[HistoryCoverage] = strawberry.field(description="Of the assets that it holds or owes.")


def days_argument(days: int, argument: str = "days") -> int:
    """How many days to look at.

    Raises:
        BadUserInputError: out of range.
    """
    if not MIN_DAYS <= days <= MAX_DAYS:
        raise BadUserInputError(argument, f"must be from {MIN_DAYS} to {MAX_DAYS}, got {days}")
    return days


def backtest_account(
    market: Market,
    history: ModelledHistory,
    holder: Holder,
    method: Method,
    level: Number,
    *,
    policy: MeasurementPolicy,
) -> Backtest:
    """The backtest of an account, on a history of the window and the days to look at.

    Raises:
        BadUserInputError: naming the level, where its tail is empty.
    """
    (valuation,) = value_accounts(market, [holder])
    reason = unmeasured_reason(market, history, valuation)
    if reason is None and history.models is None:
        reason = "no asset has enough history"
    exposures = exposures_of(market, [holder])
    if reason is None and not exposures.any():
        reason = "the account has no exposure"
    result = None
    if reason is None and history.models is not None:
        try:
            forecasts = roll_forecasts(
                history.models.history, exposures, method, (float(level),), policy, window=policy.n_returns
            )
        except InsufficientHistoryError as error:
            raise short_tail(error) from None
        pnl, var, es = forecasts.pnl_usd[:, 0], forecasts.var_usd[0, :, 0], forecasts.es_usd[0, :, 0]
        if np.isnan(var).any():
            reason = domain_reason(method)
        elif not (es > 0.0).all():
            reason = "a forecast of ES is not a loss: there is nothing to test"
        else:
            result = _tested(forecasts.dates, pnl, var, es, float(level))
    return Backtest(
        account_id=holder.account.account_id,  # type: ignore[arg-type]
        method=method,
        level=level,
        window_days=policy.n_returns,
        result=result,
        unmeasured_reason=reason,
        history=[coverage(history.coverage[a]) for a in holder.held_assets if a in history.coverage],
    )


def _tested(
    dates: DateArray, pnl: Float64Array, var: Float64Array, es: Float64Array, level: float
) -> BacktestResult:
    tests = core.backtest_var(pnl, var, level)
    z2 = core.acerbi_szekely(pnl, var, es, level).z2
    exceeding = np.flatnonzero(core.exceedances_of(pnl, var)).tolist()
    return BacktestResult(
        first=_day(dates[0]),
        last=_day(dates[-1]),
        days=tests.n_observations,
        exceedances=[
            Exceedance(date=_day(dates[day]), pnl_usd=usd(float(pnl[day])), var_usd=usd(float(var[day])))
            for day in exceeding
        ],
        exceedance_count=tests.exceedances,
        expected_count=tests.expected,
        kupiec=_ratio(tests.kupiec),
        christoffersen=_ratio(tests.independence),
        conditional_coverage=_ratio(tests.conditional_coverage),
        traffic_light=tests.zone,
        worst_250_days=tests.worst_250_days,
        acerbi_szekely_z2=z2,
        es_p_value=core.z2_p_value(
            z2, tests.n_observations, level, seed=_SEED, n_samples=_SAMPLES, degrees_of_freedom=4.0
        ),
    )


def _ratio(of: core.LikelihoodRatio) -> LikelihoodRatio:
    return LikelihoodRatio(statistic=of.statistic, p_value=of.p_value)


def _day(day: np.datetime64) -> date:
    return date.fromisoformat(str(day))
