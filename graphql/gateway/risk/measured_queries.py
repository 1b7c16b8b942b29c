"""``riskHistory``, ``backtest``, ``houseRisk``, ``houseStress``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import strawberry

from gateway.context import Info
from gateway.errors import AccountNotFoundError, BadUserInputError
from gateway.history.reading import account_history
from gateway.limits import DEFAULT_PAGE_SIZE
from gateway.pagination import Connection
from gateway.permissions import (
    NeedsAccountsScope,
    NeedsHistoryScope,
    NeedsOperationsScope,
    visible_account,
)
from gateway.risk.backtests import Backtest, backtest_account, days_argument
from gateway.risk.measures import DEFAULT_LEVEL, RiskMethod, horizon_argument, level_argument
from gateway.risk.reading import find_holder, latest_market
from gateway.risk.recorded import HouseRisk, HouseStress, RiskPoint, house_risk, house_stress, risk_point
from gateway.scalars import DateTime, Decimal
from shared.risk.measurement_policy import RiskMethod as Method
from shared.risk.measurement_policy import measurement_policy
from shared.runtime import clock
from shared.warehouse import risk_results

_LAST_RUN_WITHIN = timedelta(days=31)


@strawberry.type
class MeasuredRiskQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsHistoryScope],
        description="An account's recorded VaR and ES with from <= asOf < to, oldest first.",
    )
    async def risk_history(  # noqa: PLR0917 GraphQL passes arguments by name
        self,
        info: Info,
        account_id: strawberry.ID,
        start: Annotated[DateTime, strawberry.argument(name="from")],
        finish: Annotated[DateTime, strawberry.argument(name="to")],
        level: Decimal = DEFAULT_LEVEL,
        horizon_days: int = 1,
        method: RiskMethod = Method.FILTERED,  # type: ignore[valid-type]
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
    ) -> Connection[RiskPoint]:
        policy = measurement_policy()
        _check_recorded("level", level_argument(level), policy.levels)
        _check_recorded("horizonDays", horizon_argument(horizon_days), policy.horizons_days)
        _check_recorded("method", Method(method), policy.recorded_methods)
        return await account_history(
            info,
            risk_results.list_risk_page,
            account_id=account_id,
            start=start,
            finish=finish,
            first=first,
            after=after,
            node=risk_point,
            method=Method(method),
            horizon_days=horizon_days,
            level=float(level),
        )

    @strawberry.field(
        permission_classes=[NeedsAccountsScope],
        description="One-day forecasts for an account's present exposures against the days that followed.",
    )
    async def backtest(
        self,
        info: Info,
        account_id: strawberry.ID,
        level: Decimal = DEFAULT_LEVEL,
        method: RiskMethod = Method.FILTERED,  # type: ignore[valid-type]
        days: int = 250,
    ) -> Backtest:
        wanted = visible_account(info, account_id, "accountId")
        level_argument(level)
        policy = measurement_policy()
        n_returns = policy.n_returns + days_argument(days)
        holder = await find_holder(info, wanted)
        if holder is None:
            raise AccountNotFoundError(wanted, "accountId")
        history = await info.context.histories.at(n_returns)
        return await asyncio.to_thread(
            backtest_account, latest_market(info), history, holder, Method(method), level, policy=policy
        )

    @strawberry.field(
        permission_classes=[NeedsOperationsScope],
        description="The house's risk at the last run, at a recorded level; null before the first run.",
    )
    async def house_risk(self, info: Info, level: Decimal = DEFAULT_LEVEL) -> HouseRisk | None:
        wanted = level_argument(level)
        _check_recorded("level", wanted, measurement_policy().levels)
        found = await info.context.stores.read_warehouse(
            risk_results.find_house, level=wanted, since=clock.now() - _LAST_RUN_WITHIN
        )
        return None if found is None else house_risk(found)

    @strawberry.field(
        permission_classes=[NeedsOperationsScope],
        description="The whole book under each named scenario, at the last run; empty before the first.",
    )
    async def house_stress(self, info: Info) -> list[HouseStress]:
        found = await info.context.stores.read_warehouse(
            risk_results.list_house_stress, since=clock.now() - _LAST_RUN_WITHIN
        )
        return [house_stress(row) for row in found]


def _check_recorded(argument: str, value: float | str, recorded: tuple[float | str, ...]) -> None:
    if value not in recorded:
        listed = ", ".join(Method(each).name if isinstance(each, str) else f"{each:g}" for each in recorded)
        asked = Method(value).name if isinstance(value, str) else f"{value:g}"
        raise BadUserInputError(argument, f"is not recorded: {asked}; recorded are {listed}")
