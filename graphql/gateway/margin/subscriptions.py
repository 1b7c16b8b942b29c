"""``marginHealth``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from collections.abc import AsyncIterator

import strawberry

from gateway.context import Info
from gateway.margin.types import MarginHealth
from gateway.permissions import NeedsAccountsScope, visible_accounts


@strawberry.type
class MarginSubscriptions:
    """Mixed into the schema's Subscription."""

    @strawberry.subscription(
        permission_classes=[NeedsAccountsScope],
        description="The margin of some accounts now, then whenever it changes: at every tick at least.",
    )
    async def margin_health(
        self, info: Info, account_ids: list[strawberry.ID]
    ) -> AsyncIterator[MarginHealth]:
        wanted = visible_accounts(info, account_ids, "accountIds")
        return await info.context.live.margin_stream(wanted, "accountIds")  # type: ignore[return-value]
