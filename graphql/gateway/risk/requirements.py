"""What margin requires of one account, what it leaves free, and the prices at which that ends.

Definitions: docs/methodology/margin.md and trigger-prices.md.
"""

# Strawberry's field decorator is untyped where it takes arguments.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import strawberry

from gateway.context import Info
from gateway.errors import BadUserInputError
from gateway.margin.types import MarginState
from gateway.scalars import DateTime, Decimal
from shared.domain.market import Market, Valuation, price_decimal
from shared.domain.money import usd
from shared.risk.prices import TriggerPrices, call_prices, liquidation_prices
from shared.risk.requirements import REQUIREMENTS_DEFINITION, Requirements, buying_power, requirements
from shared.risk.states import MarginState as MarginCode


@strawberry.enum(description="Which move of a mark lowers an account's health.")
class Direction(StrEnum):
    FALLS = "FALLS"
    RISES = "RISES"


@strawberry.type(
    description=(
        "The mark of one held asset at which the account's health meets a threshold, all other marks held."
    )
)
class TriggerPrice:
    asset: str
    mark: Decimal = strawberry.field(description="The present one, USD per whole token.")
    price: Decimal | None = strawberry.field(
        description="To 12 significant digits; null where no positive mark of this asset meets the threshold."
    )
    direction: Direction | None = strawberry.field(
        description="The move towards worse health; null where price is."
    )
    distance_pct: float | None = strawberry.field(
        description="(price / mark − 1) · 100, so negative for a fall; null where price is."
    )
    breached: bool = strawberry.field(
        description="Health is below the threshold already; price is where it would be met again."
    )


@dataclass(frozen=True, slots=True, eq=False)
class TriggerQuestion:
    """At which marks a valued account would enter ``state``: MARGIN_CALL or LIQUIDATION."""

    market: Market
    valuation: Valuation
    state: MarginCode


@strawberry.type(
    description=(
        "What margin requires of an account and what it leaves free, at one tick. While it is UNVALUED every "
        "number and list is null, and unvaluedAssets names the assets whose mark is missing, stale or not "
        "positive."
    )
)
class MarginRequirements:
    valuation: strawberry.Private[Valuation]
    market: strawberry.Private[Market]
    account_id: strawberry.ID
    state: MarginState  # type: ignore[valid-type]
    unvalued_assets: list[str]
    collateral_usd: Decimal | None = strawberry.field(description="After collateral factors.")
    debt_usd: Decimal | None = strawberry.field(description="After borrow factors.")
    health_pct: float | None = strawberry.field(
        description="(collateral − debt) / debt · 100; null without debt, and while UNVALUED."
    )
    initial_margin_usd: Decimal | None = strawberry.field(
        description="Equity needed to open or enlarge a borrowed position: warning threshold · debt."
    )
    maintenance_margin_usd: Decimal | None = strawberry.field(
        description="Equity below which the account is called: margin call threshold · debt."
    )
    free_collateral_usd: Decimal | None = strawberry.field(
        description="Collateral value that may leave: equity above the initial margin, at least 0."
    )
    leverage: float | None = strawberry.field(
        description="Collateral / equity; null where equity is not positive, and while UNVALUED."
    )
    definition: str = strawberry.field(description="The id of the definitions used.")
    tick_sequence: int | None = strawberry.field(description="Null before the first tick.")
    position_version: int = strawberry.field(description="The version of the account's positions.")
    as_of: DateTime = strawberry.field(description="The tick's moment; before the first, the answer's.")

    @strawberry.field(
        description=(
            "The largest purchase of an asset wholly on credit, in USD, after which the initial margin is "
            "just met; where an asset is not given, for one without a haircut."
        )
    )
    def buying_power_usd(self, asset: str | None = None, borrowed_asset: str | None = None) -> Decimal | None:
        factors = self.market.factors.factors
        bought = factors[self._listed(asset, "asset")].collateral_factor if asset is not None else 1
        borrowed = (
            factors[self._listed(borrowed_asset, "borrowedAsset")].borrow_factor
            if borrowed_asset is not None
            else 1
        )
        if not self.valuation.is_valued:
            return None
        power = buying_power(
            self.valuation.collateral_usd,
            self.valuation.debt_usd,
            self.market.policy,
            collateral_factor=float(bought),
            borrow_factor=float(borrowed),
        )
        return usd(float(power))

    @strawberry.field(description="Where each held asset's mark meets the margin call threshold.")
    async def call_prices(self, info: Info) -> list[TriggerPrice] | None:
        return await self._triggers(info, MarginCode.MARGIN_CALL)

    @strawberry.field(description="Where each held asset's mark meets the liquidation threshold.")
    async def liquidation_prices(self, info: Info) -> list[TriggerPrice] | None:
        return await self._triggers(info, MarginCode.LIQUIDATION)

    def _listed(self, asset: str, argument: str) -> int:
        if asset not in self.market.assets:
            raise BadUserInputError(argument, f"is not a listed asset: {asset!r}")
        return self.market.index(asset)

    async def _triggers(self, info: Info, first_breached: MarginCode) -> list[TriggerPrice] | None:
        if not self.valuation.is_valued:
            return None
        question = TriggerQuestion(self.market, self.valuation, first_breached)
        found = await info.context.loaders.trigger_prices.load(question)
        # Decided exactly, as the state is; the core's own flag is the float64 reading.
        breached = self.valuation.threshold_state >= first_breached
        return [self._trigger(found, asset, breached) for asset in self.valuation.holder.held_assets]

    def _trigger(self, found: TriggerPrices, asset: str, breached: bool) -> TriggerPrice:
        index = self.market.index(asset)
        mark = self.market.prices[asset]
        price = float(found.price[index])
        if math.isnan(price):
            return TriggerPrice(
                asset=asset, mark=mark, price=None, direction=None, distance_pct=None, breached=breached
            )
        return TriggerPrice(
            asset=asset,
            mark=mark,
            price=price_decimal(price),
            direction=Direction.RISES if found.triggers_on_rise[index] else Direction.FALLS,
            distance_pct=(price / float(mark) - 1.0) * 100.0,
            breached=breached,
        )


def trigger_prices(questions: Sequence[TriggerQuestion]) -> list[TriggerPrices]:
    """The answers, in order: one pass for all that ask for one threshold in one market."""
    together: dict[tuple[int, MarginCode], list[TriggerQuestion]] = {}
    for question in questions:
        together.setdefault((id(question.market), question.state), []).append(question)
    found: dict[TriggerQuestion, TriggerPrices] = {}
    for (_, state), asked in together.items():
        market = asked[0].market
        prices = call_prices if state is MarginCode.MARGIN_CALL else liquidation_prices
        rows = [question.valuation.row for question in asked]
        found.update(zip(asked, prices(rows, market.valued_at.values, market.policy), strict=True))
    return [found[question] for question in questions]


def from_valuation(market: Market, valuation: Valuation) -> MarginRequirements:
    """The requirements of a valued account, or of one that is not."""
    required: Requirements | None = None
    if valuation.is_valued:
        required = requirements(valuation.collateral_usd, valuation.debt_usd, market.policy)
    return MarginRequirements(
        valuation=valuation,
        market=market,
        account_id=valuation.holder.account.account_id,  # type: ignore[arg-type]
        state=valuation.state,
        unvalued_assets=list(valuation.unvalued_assets),
        collateral_usd=usd(valuation.collateral_usd) if required else None,
        debt_usd=usd(valuation.debt_usd) if required else None,
        health_pct=finite(valuation.health_pct) if required else None,
        initial_margin_usd=usd(float(required.initial_margin_usd)) if required else None,
        maintenance_margin_usd=usd(float(required.maintenance_margin_usd)) if required else None,
        free_collateral_usd=usd(float(required.free_collateral_usd)) if required else None,
        leverage=finite(float(required.leverage)) if required else None,
        definition=REQUIREMENTS_DEFINITION,
        tick_sequence=market.tick_sequence,
        position_version=valuation.holder.account.version,
        as_of=market.as_of,
    )


def finite(value: float) -> float | None:
    """The number, or None where it is infinite or not a number."""
    return value if math.isfinite(value) else None
