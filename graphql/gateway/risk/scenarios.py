"""What a stress test assumes: a named scenario of the past, returns given in the request, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache

import strawberry

from gateway.errors import BadUserInputError
from gateway.scalars import Decimal
from shared.domain.market import Market
from shared.risk.scenarios import ScenarioSet, shock_scenarios
from shared.risk.stress import HistoricalScenario, historical_stress_scenarios

MAX_SHOCK = 100
# No asset has this name, so that holders of what is not listed are unvalued in every scenario.
_UNLISTED = ""

named_scenarios = cache(historical_stress_scenarios)


@strawberry.input(description="The simple return of one asset's mark: -0.4 is a fall of 40 %.")
class ShockInput:
    asset: str
    shock: Decimal = strawberry.field(description="From -1 to 100; 0 for an asset that stands still.")


@strawberry.type(description="The simple return of one asset's mark: -0.4 is a fall of 40 %.")
class AssetShock:
    asset: str
    shock: Decimal


@strawberry.type(description="Returns between two daily closes of the past.")
class StressScenario:
    name: str
    title: str
    first: date = strawberry.field(description="The day of the close that the returns begin at.")
    last: date = strawberry.field(description="The day of the close that they end at.")
    source: str
    shocks: list[AssetShock]
    missing_assets: list[str] = strawberry.field(
        description="Listed assets that it has no return of; a stress test must be given theirs."
    )


@dataclass(frozen=True, slots=True)
class Stress:
    """The returns of a stress test, in the order of a market's assets."""

    scenario: HistoricalScenario | None
    returns: ScenarioSet


def stress_scenario(scenario: HistoricalScenario, listed: Sequence[str]) -> StressScenario:
    """A named scenario, against the assets that are listed."""
    return StressScenario(
        name=scenario.name,
        title=scenario.title,
        first=date.fromisoformat(scenario.first),
        last=date.fromisoformat(scenario.last),
        source=scenario.source,
        shocks=[asset_shock(asset, shock) for asset, shock in sorted(scenario.shocks.items())],
        missing_assets=[asset for asset in listed if asset not in scenario.shocks],
    )


def asset_shock(asset: str, shock: float) -> AssetShock:
    """A return in the fewest digits that name the float64."""
    return AssetShock(asset=asset, shock=Decimal(repr(shock)))


def stress_of(market: Market, name: str | None, shocks: Sequence[ShockInput] | None) -> Stress:
    """The stress that a request describes. An asset that it gives no return of is missing, never 0.

    Raises:
        BadUserInputError: naming the argument, or the field of the shock.
    """
    if name is None and not shocks:
        raise BadUserInputError("scenario", "must be given where there are no shocks")
    scenario = None if name is None else _named(name)
    covered = {} if scenario is None else scenario.shocks
    given: dict[str, float] = {}
    for number, entry in enumerate(shocks or ()):
        path = f"shocks.{number}"
        if entry.asset not in market.assets:
            raise BadUserInputError(f"{path}.asset", f"is not a listed asset: {entry.asset!r}")
        if entry.asset in given:
            raise BadUserInputError(f"{path}.asset", f"has a shock already: {entry.asset}")
        if entry.asset in covered:
            raise BadUserInputError(
                f"{path}.asset", f"has a return of {covered[entry.asset]} in the scenario: {entry.asset}"
            )
        if not -1 <= entry.shock <= MAX_SHOCK:
            raise BadUserInputError(f"{path}.shock", f"must be from -1 to {MAX_SHOCK}, got {entry.shock}")
        given[entry.asset] = float(entry.shock)
    symbols = (*market.assets, _UNLISTED)
    if scenario is not None:
        return Stress(scenario, scenario.scenario_set(symbols, given))
    returns = shock_scenarios([[given.get(symbol, 0.0) for symbol in symbols]], "request")
    missing = tuple(i for i, symbol in enumerate(symbols) if symbol not in given)
    return Stress(None, replace(returns, missing=missing))


def _named(name: str) -> HistoricalScenario:
    known = {scenario.name: scenario for scenario in named_scenarios()}
    if name not in known:
        raise BadUserInputError("scenario", f"is not one of {', '.join(known)}: {name!r}")
    return known[name]
