"""``alerts``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import strawberry

from gateway.alerts.types import Alert, from_transition
from gateway.context import Info
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.pagination import Connection, decode_moment_cursor, encode_cursor, page
from gateway.permissions import NeedsAlertsScope, account_argument
from shared.stores import alerts


@strawberry.type
class AlertQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(permission_classes=[NeedsAlertsScope], description="Alerts, newest first.")
    async def alerts(
        self,
        info: Info,
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
        account_id: strawberry.ID | None = None,
    ) -> Connection[Alert]:
        check_page_size(first)
        before = decode_moment_cursor(after)
        account_ids = info.context.key.accounts
        if account_id is not None:
            wanted = account_argument(account_id, "accountId")
            account_ids = frozenset((wanted,)) if info.context.key.sees(wanted) else frozenset()
        rows = await info.context.stores.read(
            alerts.list_page, account_ids=account_ids, before=before, limit=first + 1
        )
        return page(
            rows,
            first=first,
            after=after,
            node=from_transition,
            cursor=lambda transition: encode_cursor(transition.as_of, transition.event_id),
        )
