"""``webhookEndpoint``, ``webhookEndpoints``, ``webhookDelivery`` and ``webhookDeliveries``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import strawberry

from gateway.context import Info
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.pagination import Connection, decode_moment_cursor, encode_cursor, page
from gateway.permissions import NeedsWebhooksScope
from gateway.webhooks.types import (
    WebhookDelivery,
    WebhookDeliveryStatus,
    WebhookEndpoint,
    delivery_type,
    endpoint_type,
)
from shared.domain import webhook_deliveries as rules
from shared.stores import webhook_deliveries, webhook_endpoints


@strawberry.type
class WebhookQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsWebhooksScope], description="One endpoint; null if none was found."
    )
    async def webhook_endpoint(self, info: Info, id: strawberry.ID) -> WebhookEndpoint | None:  # noqa: A002
        stored = await info.context.loaders.webhook_endpoint.load(str(id))
        return None if stored is None else endpoint_type(stored)

    @strawberry.field(
        permission_classes=[NeedsWebhooksScope], description="Endpoints, the last registered first."
    )
    async def webhook_endpoints(
        self, info: Info, first: int = DEFAULT_PAGE_SIZE, after: str | None = None
    ) -> Connection[WebhookEndpoint]:
        check_page_size(first)
        rows = await info.context.stores.read(
            webhook_endpoints.list_page,
            account_ids=info.context.key.accounts,
            before=decode_moment_cursor(after),
            limit=first + 1,
        )
        return page(
            rows,
            first=first,
            after=after,
            node=endpoint_type,
            cursor=lambda stored: encode_cursor(stored.created_at, stored.endpoint_id),
        )

    @strawberry.field(
        permission_classes=[NeedsWebhooksScope], description="One delivery; null if none was found."
    )
    async def webhook_delivery(self, info: Info, id: strawberry.ID) -> WebhookDelivery | None:  # noqa: A002
        delivery_id = str(id)
        if not rules.is_delivery_id(delivery_id):
            return None
        found = await info.context.stores.read(webhook_deliveries.find_many, [delivery_id])
        if delivery_id not in found:
            return None
        delivery, _ = found[delivery_id]
        endpoint = await info.context.loaders.webhook_endpoint.load(delivery.endpoint_id)
        return None if endpoint is None else delivery_type(delivery)

    @strawberry.field(
        permission_classes=[NeedsWebhooksScope],
        description="An endpoint's deliveries, the last created first.",
    )
    async def webhook_deliveries(
        self,
        info: Info,
        endpoint_id: strawberry.ID,
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
        status: WebhookDeliveryStatus | None = None,  # type: ignore[valid-type]
    ) -> Connection[WebhookDelivery]:
        check_page_size(first)
        before = decode_moment_cursor(after)
        endpoint = await info.context.loaders.webhook_endpoint.load(str(endpoint_id))
        rows: list[rules.WebhookDelivery] = []
        if endpoint is not None:
            rows = await info.context.stores.read(
                webhook_deliveries.list_page,
                endpoint_id=endpoint.endpoint_id,
                # Strawberry hands on an enum variable's bare value.
                status=None if status is None else rules.WebhookDeliveryStatus(status),
                before=before,
                limit=first + 1,
            )
        return page(
            rows,
            first=first,
            after=after,
            node=delivery_type,
            cursor=lambda stored: encode_cursor(stored.created_at, stored.delivery_id),
        )
