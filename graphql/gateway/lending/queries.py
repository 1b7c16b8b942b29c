"""``markets``, ``market`` and ``supplies``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import strawberry

from gateway.context import Info
from gateway.lending.reading import supplies_of
from gateway.lending.types import LendingMarket, Supply, from_market
from gateway.permissions import NeedsAccountsScope, NeedsMarksScope, account_argument
from shared.domain.positions import position_key
from shared.runtime import clock
from shared.stores import markets


@strawberry.type
class LendingQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsMarksScope],
        description="The vaults' lending markets that have reported, in order of chain and asset.",
    )
    async def markets(self, info: Info) -> list[LendingMarket]:
        found = await info.context.stores.read(markets.list_all)
        now = clock.now()
        return [from_market(market, now) for market in found]

    @strawberry.field(
        permission_classes=[NeedsMarksScope],
        description="One asset's market on one chain; null before its first report and for an unknown asset.",
    )
    async def market(self, info: Info, chain_id: int, asset: str) -> LendingMarket | None:
        # Only a known name may become part of a document's path.
        if asset not in info.context.network.assets:
            return None
        found = await info.context.loaders.lending_market.load(position_key(chain_id, asset))
        return None if found is None else from_market(found, clock.now())

    @strawberry.field(
        permission_classes=[NeedsAccountsScope],
        description=(
            "What an account has lent, in order of chain and asset; a lender need not be among accounts."
        ),
    )
    async def supplies(self, info: Info, account_id: strawberry.ID) -> list[Supply]:
        return await supplies_of(info, account_argument(account_id, "accountId"))
