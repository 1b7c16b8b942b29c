"""Accounts under shocked marks, and the fall that brings them to a threshold. No clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from enum import StrEnum

import numpy as np
import strawberry

from gateway.errors import BadUserInputError
from gateway.margin.types import MarginState
from gateway.risk.requirements import finite
from gateway.risk.scenarios import AssetShock, Stress, StressScenario, asset_shock, stress_scenario
from gateway.scalars import DateTime, Decimal, format_date_time
from shared.domain.margin import State, state_of
from shared.domain.market import Holder, Market, Valuation, value_accounts
from shared.domain.money import usd
from shared.risk.book import Book
from shared.risk.margin import decide_states, health_pct
from shared.risk.positions import FactorTable
from shared.risk.states import MarginState as MarginCode
from shared.risk.stress import REVERSE_STRESS_DEFINITION, reverse_stress, stress_book


@strawberry.type(description="What a result rests on.")
class StressBasis:
    as_of: DateTime = strawberry.field(description="The tick's moment; before the first, the answer's.")
    tick_sequence: int | None = strawberry.field(description="Null before the first tick.")
    definition: str = strawberry.field(description="The id of the measure's definition.")
    scenario_set_id: str = strawberry.field(description="A digest of the returns: equal ones have equal ids.")
    scenario_definition: str
    horizon_days: int = strawberry.field(description="Days that the returns are over.")
    history_first: date | None = strawberry.field(description="Null without a named scenario.")
    history_last: date | None = strawberry.field(description="Null without a named scenario.")
    missing_assets: list[str] = strawberry.field(
        description="Listed assets without a return; who holds one is UNVALUED after the shock."
    )


@strawberry.type(description="An account at some marks; the numbers are null while it is UNVALUED.")
class StressedMargin:
    state: MarginState  # type: ignore[valid-type]
    collateral_usd: Decimal | None = strawberry.field(description="After collateral factors.")
    debt_usd: Decimal | None = strawberry.field(description="After borrow factors.")
    health_pct: float | None = strawberry.field(description="Null without debt.")


@strawberry.type(description="One account before and after the shock.")
class AccountStress:
    account_id: strawberry.ID
    before: StressedMargin
    after: StressedMargin = strawberry.field(
        description="With the hysteresis of the state before, as if the shock came at the next tick."
    )
    pnl_usd: Decimal | None = strawberry.field(
        description="The change of what it holds less what it owes, without factors; null while UNVALUED."
    )
    unvalued_assets: list[str] = strawberry.field(description="Held assets whose mark or return is missing.")


@strawberry.type(description="Accounts revalued at mark · (1 + shock).")
class StressTest:
    scenario: StressScenario | None = strawberry.field(description="Null where only shocks were given.")
    shocks: list[AssetShock] = strawberry.field(description="What was applied to listed assets.")
    accounts: list[AccountStress]
    shortfall_usd: Decimal = strawberry.field(
        description="Debt above collateral after the shock, factors included, over the valued accounts."
    )
    basis: StressBasis


@strawberry.enum(description="A line that health must not fall below.")
class MarginThreshold(StrEnum):
    MARGIN_CALL = "MARGIN_CALL"
    LIQUIDATION = "LIQUIDATION"


@strawberry.type(description="How far the named assets must fall together for one account.")
class AccountReverseStress:
    account_id: strawberry.ID
    fall_pct: float | None = strawberry.field(
        description="0 where breached; null where no fall meets the threshold, and while UNVALUED."
    )
    breached: bool = strawberry.field(description="Health is below the threshold already.")
    unvalued_assets: list[str]


@strawberry.type(description="The smallest common fall of some assets' marks that meets a threshold.")
class ReverseStress:
    assets: list[str] = strawberry.field(description="Those that fall; all others stand still.")
    threshold: MarginThreshold
    accounts: list[AccountReverseStress]
    definition: str
    tick_sequence: int | None = strawberry.field(description="Null before the first tick.")
    as_of: DateTime


def stress_test(market: Market, stress: Stress, holders: Sequence[Holder]) -> StressTest:
    """Accounts under a stress."""
    befores = value_accounts(market, holders)
    numbers = range(len(holders))
    n_assets = len(market.factors)
    book = Book.from_rows([before.row for before in befores], n_assets)
    result = stress_book(
        book, market.valued_at.values, stress.returns, market.policy, as_of=format_date_time(market.as_of)
    )
    rows = book.rows_of(numbers)
    collateral, debt = result.collateral_usd[0][rows], result.debt_usd[0][rows]
    previous = [before.state.code if before.is_valued else before.holder.previous for before in befores]
    states = decide_states(collateral, debt, market.policy, previous)
    health = health_pct(collateral, debt)
    gains = _gains(market, stress, holders)
    missing = {market.assets[i] for i in stress.returns.missing if i < len(market.assets)}
    accounts = []
    for i, before in enumerate(befores):
        is_valued = before.is_valued and states[i] != MarginCode.UNVALUED
        accounts.append(
            AccountStress(
                account_id=before.holder.account.account_id,  # type: ignore[arg-type]
                before=_stressed(before.state, before.collateral_usd, before.debt_usd, before.health_pct),
                after=_stressed(
                    state_of(int(states[i])) if is_valued else State.UNVALUED,
                    float(collateral[i]),
                    float(debt[i]),
                    float(health[i]),
                ),
                pnl_usd=usd(gains[i]) if is_valued else None,
                unvalued_assets=[
                    asset
                    for asset in before.holder.held_assets
                    if asset in missing or asset in before.unvalued_assets
                ],
            )
        )
    first, last = result.basis.history_first, result.basis.history_last
    return StressTest(
        scenario=stress_scenario(stress.scenario, market.assets) if stress.scenario else None,
        shocks=[
            asset_shock(asset, float(stress.returns.returns[0, i]))
            for i, asset in enumerate(market.assets)
            if asset not in missing
        ],
        accounts=accounts,
        shortfall_usd=usd(float(result.shortfall_usd[0])),
        basis=StressBasis(
            as_of=market.as_of,
            tick_sequence=market.tick_sequence,
            definition=result.basis.definition,
            scenario_set_id=result.basis.scenario_set_id,
            scenario_definition=result.basis.scenario_definition,
            horizon_days=result.basis.horizon_days,
            history_first=None if first is None else date.fromisoformat(first),
            history_last=None if last is None else date.fromisoformat(last),
            missing_assets=sorted(missing),
        ),
    )


def _gains(market: Market, stress: Stress, holders: Sequence[Holder]) -> list[float]:
    """The change of each account's net value, without haircuts; NaN where it is not known."""
    plain = FactorTable.without_haircuts(len(market.factors))
    book = Book.from_rows(
        [plain.row(market.core_positions(h.account.positions.values())) for h in holders],
        len(market.factors),
    )
    now = book.revalue(market.marks)
    then = stress_book(
        book, market.marks, stress.returns, market.policy, as_of=format_date_time(market.as_of)
    )
    gains = (then.collateral_usd[0] - then.debt_usd[0]) - (now.collateral_usd - now.debt_usd)
    in_order: list[float] = gains[book.rows_of(range(len(holders)))].tolist()
    return in_order


def _stressed(state: State, collateral: float, debt: float, health: float) -> StressedMargin:
    if state is State.UNVALUED:
        return StressedMargin(state=state, collateral_usd=None, debt_usd=None, health_pct=None)
    return StressedMargin(
        state=state, collateral_usd=usd(collateral), debt_usd=usd(debt), health_pct=finite(health)
    )


def reverse_stress_test(
    market: Market, assets: Sequence[str], threshold: MarginThreshold, holders: Sequence[Holder]
) -> ReverseStress:
    """The common fall of ``assets`` that brings each account to a threshold.

    Raises:
        BadUserInputError: naming the asset that is not listed, or the empty list.
    """
    if not assets:
        raise BadUserInputError("assets", "must name at least one asset")
    for number, asset in enumerate(assets):
        if asset not in market.assets:
            raise BadUserInputError(f"assets.{number}", f"is not a listed asset: {asset!r}")
    direction = np.zeros(len(market.factors))
    direction[[market.index(asset) for asset in assets]] = 1.0
    level = {
        MarginThreshold.MARGIN_CALL: market.policy.margin_call_t,
        MarginThreshold.LIQUIDATION: market.policy.liquidation_t,
    }[threshold]
    valuations = value_accounts(market, holders)
    book = Book.from_rows([valuation.row for valuation in valuations], len(market.factors))
    falls = reverse_stress(book, market.valued_at.values, direction, level)[book.rows_of(range(len(holders)))]
    return ReverseStress(
        assets=list(dict.fromkeys(assets)),
        threshold=threshold,
        accounts=[
            _reversed(valuation, float(fall), threshold)
            for valuation, fall in zip(valuations, falls, strict=True)
        ],
        definition=REVERSE_STRESS_DEFINITION,
        tick_sequence=market.tick_sequence,
        as_of=market.as_of,
    )


def _reversed(valuation: Valuation, fall: float, threshold: MarginThreshold) -> AccountReverseStress:
    # Decided exactly, as the state is.
    breached = valuation.is_valued and valuation.threshold_state >= MarginCode[threshold.value]
    reached = 0.0 if breached else fall
    return AccountReverseStress(
        account_id=valuation.holder.account.account_id,  # type: ignore[arg-type]
        fall_pct=None if math.isnan(reached) else reached * 100.0,
        breached=breached,
        unvalued_assets=list(valuation.unvalued_assets),
    )
