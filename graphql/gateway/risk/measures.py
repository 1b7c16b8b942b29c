"""An account's VaR and ES at the latest tick, with what they rest on.

Definitions: docs/methodology/var-and-es.md, scenarios.md, parametric.md, monte-carlo.md, components.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal as Number

import strawberry

from gateway.errors import BadUserInputError
from gateway.scalars import DateTime, Decimal, format_date_time
from shared.domain.closes import Coverage, ModelledHistory
from shared.domain.market import Holder, Market, Valuation, value_accounts
from shared.domain.money import usd
from shared.domain.risk_block import domain_reason, exposures_of, unmeasured_reason
from shared.risk import basis as core
from shared.risk.measurement_policy import RiskMethod as Method
from shared.risk.positions import Float64Array
from shared.risk.tail import InsufficientHistoryError

RiskMethod = strawberry.enum(
    Method,
    name="RiskMethod",
    description="How VaR and ES are measured; FILTERED (filtered historical simulation) is the default.",
)
DEFAULT_LEVEL = Number("0.99")
MAX_HORIZON_DAYS = 30


@strawberry.type(description="What a measure rests on.")
class RiskBasis:
    as_of: DateTime = strawberry.field(description="The moment of the marks.")
    definition: str = strawberry.field(description="The id of the measure's definition.")
    scenario_set_id: str = strawberry.field(
        description="A digest of the scenarios, or of the covariance: equal ones have equal ids."
    )
    scenario_definition: str
    horizon_days: int
    history_first: date | None = strawberry.field(description="The day of the first return.")
    history_last: date | None
    observations: int
    missing_assets: list[str] = strawberry.field(description="Listed assets without enough history.")


@strawberry.type(description="How much of the daily closes that are needed an asset has.")
class HistoryCoverage:
    asset: str
    closes: int
    needed: int
    first: date | None
    last: date | None
    missing_days: int = strawberry.field(description="Days between the first and the last without a close.")
    sufficient: bool


@strawberry.type(description="One asset's part of an account's risk; the parts sum to VaR and ES.")
class RiskComponent:
    asset: str
    exposure_usd: Decimal = strawberry.field(description="What is held less what is owed, without factors.")
    component_var_usd: Decimal
    component_es_usd: Decimal


@strawberry.type(
    description=(
        "Value at risk and expected shortfall of an account's positions at the latest tick; losses are "
        "positive. Null where they cannot be measured, and unmeasuredReason says why."
    )
)
class AccountRisk:
    account_id: strawberry.ID
    method: RiskMethod  # type: ignore[valid-type]
    level: Decimal
    horizon_days: int
    var_usd: Decimal | None
    es_usd: Decimal | None
    unmeasured_reason: str | None
    net_usd: Decimal | None = strawberry.field(description="Exposure of all assets together.")
    gross_usd: Decimal | None = strawberry.field(description="The sum of the exposures' sizes.")
    components: list[RiskComponent] | None = strawberry.field(
        description="Null where there is no result, and for CORNISH_FISHER, which has none."
    )
    history: list[HistoryCoverage] = strawberry.field(description="Of the assets that it holds or owes.")
    basis: RiskBasis | None = strawberry.field(description="Null where no asset has enough history.")
    position_version: int


def level_argument(level: Number, argument: str = "level") -> float:
    """A confidence level.

    Raises:
        BadUserInputError: it is below 0.5, or not below 1.
    """
    if not Number("0.5") <= level < 1:
        raise BadUserInputError(argument, f"must be at least 0.5 and below 1 (0.99 is 99 %), got {level}")
    return float(level)


def horizon_argument(horizon_days: int, argument: str = "horizonDays") -> int:
    """A horizon.

    Raises:
        BadUserInputError: it is out of range.
    """
    if not 1 <= horizon_days <= MAX_HORIZON_DAYS:
        raise BadUserInputError(argument, f"must be from 1 to {MAX_HORIZON_DAYS}, got {horizon_days}")
    return horizon_days


def short_tail(error: InsufficientHistoryError) -> BadUserInputError:
    """The level asks for more scenarios than the method has."""
    return BadUserInputError(
        "level",
        f"has a tail of less than one scenario: {error.needed} are needed, there are {error.available:g}",
    )


@dataclass(frozen=True, slots=True)
class RiskQuestion:
    """Which risk of an account is asked for; ``level`` and ``horizon_days`` have been checked."""

    account_id: str
    method: Method
    level: Number
    horizon_days: int


def measure_accounts(
    market: Market,
    history: ModelledHistory,
    holders: Sequence[Holder],
    *,
    method: Method,
    level: Number,
    horizon_days: int,
) -> list[AccountRisk]:
    """The risk of accounts, in order, measured together.

    Raises:
        BadUserInputError: naming the level, where its tail is empty.
    """
    exposures = exposures_of(market, holders)
    results = [
        _unmeasured(market, history, valuation, exposures[number], method, level, horizon_days)
        for number, valuation in enumerate(value_accounts(market, holders))
    ]
    if history.models is None:
        for result in results:
            result.unmeasured_reason = result.unmeasured_reason or "no asset has enough history"
        return results
    confidence, as_of = float(level), format_date_time(market.as_of)
    try:
        risk = history.models.measure(
            method, exposures, (confidence,), horizon_days=horizon_days, as_of=as_of
        )
        parts = history.models.components(
            method, exposures, confidence, horizon_days=horizon_days, as_of=as_of
        )
    except InsufficientHistoryError as error:
        raise short_tail(error) from None
    rests_on = basis(market, risk.basis)
    for number, (result, holder) in enumerate(zip(results, holders, strict=True)):
        result.basis = rests_on
        if result.unmeasured_reason is None and risk.unmeasured[number]:
            result.unmeasured_reason = domain_reason(method)
        if result.unmeasured_reason is not None:
            continue
        result.var_usd = usd(float(risk.var_usd[0, number]))
        result.es_usd = usd(float(risk.es_usd[0, number]))
        if parts is not None:
            result.components = [
                RiskComponent(
                    asset=asset,
                    exposure_usd=usd(float(exposures[number, place])),
                    component_var_usd=usd(float(parts.component_var_usd[number, place])),
                    component_es_usd=usd(float(parts.component_es_usd[number, place])),
                )
                for asset in holder.held_assets
                for place in (market.index(asset),)
            ]
    return results


def _unmeasured(  # noqa: PLR0917 one account's part of measure_accounts
    market: Market,
    history: ModelledHistory,
    valuation: Valuation,
    exposures: Float64Array,
    method: Method,
    level: Number,
    horizon_days: int,
) -> AccountRisk:
    holder = valuation.holder
    return AccountRisk(
        account_id=holder.account.account_id,  # type: ignore[arg-type]
        method=method,
        level=level,
        horizon_days=horizon_days,
        var_usd=None,
        es_usd=None,
        unmeasured_reason=unmeasured_reason(market, history, valuation),
        net_usd=usd(float(exposures.sum())) if valuation.is_valued else None,
        gross_usd=usd(float(abs(exposures).sum())) if valuation.is_valued else None,
        components=None,
        history=[coverage(history.coverage[a]) for a in holder.held_assets if a in history.coverage],
        basis=None,
        position_version=holder.account.version,
    )


def basis(market: Market, of: core.Basis) -> RiskBasis:
    """What the core says that a result rests on, with assets by name."""
    return RiskBasis(
        as_of=market.as_of,
        definition=of.definition,
        scenario_set_id=of.scenario_set_id,
        scenario_definition=of.scenario_definition,
        horizon_days=of.horizon_days,
        history_first=_day(of.history_first),
        history_last=_day(of.history_last),
        observations=of.n_observations,
        missing_assets=_names(market, of.missing_assets),
    )


def coverage(of: Coverage) -> HistoryCoverage:
    """An asset's coverage."""
    return HistoryCoverage(
        asset=of.asset,
        closes=of.closes,
        needed=of.needed,
        first=of.first,
        last=of.last,
        missing_days=of.missing_days,
        sufficient=of.has_returns,
    )


def _names(market: Market, numbers: Sequence[int]) -> list[str]:
    return [market.assets[number] for number in numbers if number < len(market.assets)]


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
