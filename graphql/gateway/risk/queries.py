"""``marginPreview``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import strawberry

from gateway.context import Info
from gateway.errors import AccountNotFoundError
from gateway.permissions import NeedsAccountsScope, visible_account
from gateway.risk.changes import PositionChange, apply_changes
from gateway.risk.preview import MarginPreview, preview
from gateway.risk.reading import find_holder, latest_market


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
        changed = apply_changes(holder.account, changes, info.context.network, "changes")
        return preview(latest_market(info), holder, changed)
