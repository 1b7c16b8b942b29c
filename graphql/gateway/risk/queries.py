"""``marginPreview``, ``stressTest``, ``reverseStress``, ``stressScenarios``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import asyncio

import strawberry

from gateway.context import Info
from gateway.errors import AccountNotFoundError
from gateway.permissions import NeedsAccountsScope, visible_account
from gateway.risk.changes import PositionChange, apply_changes
from gateway.risk.preview import MarginPreview, preview
from gateway.risk.reading import find_holder, latest_market, read_holders
from gateway.risk.scenarios import ShockInput, StressScenario, named_scenarios, stress_of, stress_scenario
from gateway.risk.stress import (
    MarginThreshold,
    ReverseStress,
    StressTest,
    reverse_stress_test,
    stress_test,
)


@strawberry.type
class RiskQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsAccountsScope],
        description="What a trade would do to an account's margin, at its positions and the marks of now.",
    )
    async def margin_preview(
        self, info: Info, account_id: strawberry.ID, changes: list[PositionChange]
    ) -> MarginPreview:
        wanted = visible_account(info, account_id, "accountId")
        holder = await find_holder(info, wanted)
        if holder is None:
            raise AccountNotFoundError(wanted, "accountId")
        changed = apply_changes(holder.account, changes, info.context.network, latest_market(info), "changes")
        return await asyncio.to_thread(preview, latest_market(info), holder, changed)

    @strawberry.field(
        permission_classes=[NeedsAccountsScope],
        description=(
            "Up to 100 accounts under a named scenario, under shocks, or under a scenario with shocks for "
            "the assets that it lacks. An asset that neither covers is reported, its holders are UNVALUED."
        ),
    )
    async def stress_test(
        self,
        info: Info,
        account_ids: list[strawberry.ID],
        scenario: str | None = None,
        shocks: list[ShockInput] | None = None,
    ) -> StressTest:
        holders = await read_holders(info, account_ids, "accountIds")
        market = latest_market(info)
        stress = stress_of(market, scenario, shocks)
        return await asyncio.to_thread(stress_test, market, stress, holders)

    @strawberry.field(
        permission_classes=[NeedsAccountsScope],
        description="The smallest common fall of some assets that brings up to 100 accounts to a threshold.",
    )
    async def reverse_stress(
        self,
        info: Info,
        account_ids: list[strawberry.ID],
        assets: list[str],
        threshold: MarginThreshold = MarginThreshold.LIQUIDATION,
    ) -> ReverseStress:
        holders = await read_holders(info, account_ids, "accountIds")
        # Strawberry hands on an enum variable's bare value.
        return await asyncio.to_thread(
            reverse_stress_test, latest_market(info), assets, MarginThreshold(threshold), holders
        )

    @strawberry.field(
        permission_classes=[NeedsAccountsScope], description="The named scenarios of stressTest."
    )
    def stress_scenarios(self, info: Info) -> list[StressScenario]:
        listed = sorted(info.context.network.assets)
        return [stress_scenario(scenario, listed) for scenario in named_scenarios()]
