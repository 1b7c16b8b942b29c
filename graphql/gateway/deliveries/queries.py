"""``deliveries``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from datetime import UTC, datetime

import strawberry

from gateway.context import Info
from gateway.deliveries.types import Delivery, from_stored
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.pagination import Connection, decode_moment_cursor, encode_cursor, page
from gateway.permissions import NeedsDeliveriesScope
from shared.stores import deliveries

_NEVER = datetime.fromtimestamp(0, UTC)


@strawberry.type
class DeliveryQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsDeliveriesScope], description="Deliveries, the last changed first."
    )
    async def deliveries(
        self,
        info: Info,
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
        recipient_id: str | None = None,
        alert_id: strawberry.ID | None = None,
    ) -> Connection[Delivery]:
        check_page_size(first)
        before = decode_moment_cursor(after)
        recipients = info.context.key.accounts
        if recipient_id is not None:
            wanted = recipient_id.lower()
            recipients = frozenset((wanted,)) if info.context.key.sees(wanted) else frozenset()
        rows = await info.context.stores.read(
            deliveries.list_page,
            recipient_ids=recipients,
            alert_id=None if alert_id is None else str(alert_id),
            before=before,
            limit=first + 1,
        )
        return page(
            rows,
            first=first,
            after=after,
            node=from_stored,
            cursor=lambda stored: encode_cursor(stored.updated_at or _NEVER, stored.delivery_id),
        )
