"""Registering, changing, switching and deleting webhook endpoints, rotating their secrets, and asking for
deliveries again."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import strawberry

from gateway.context import Info
from gateway.permissions import NeedsWebhooksWriteScope, visible_account
from gateway.scalars import DateTime
from gateway.webhooks.types import (
    ChangeWebhookEndpointResult,
    DeleteWebhookEndpointResult,
    FailedWebhooksRedelivered,
    RedeliverFailedWebhooksResult,
    RedeliverWebhookResult,
    RegisterWebhookEndpointInput,
    RegisterWebhookEndpointResult,
    RotateWebhookSecretResult,
    UpdateWebhookEndpointInput,
    WebhookEndpointChanged,
    WebhookEndpointDeleted,
    WebhookEndpointRegistered,
    WebhookEndpointRepeated,
    WebhookRedelivered,
    WebhookRefused,
    WebhookSecretRotated,
    delivery_type,
    endpoint_type,
)
from shared.domain.webhooks import SECRET_OVERLAP, WebhookEndpoint, WebhookEventType, WebhookRefusedError
from shared.runtime import webhook_registry
from shared.runtime.webhook_registry import EndpointChange, Registered

Found = TypeVar("Found")
Answer = TypeVar("Answer")

_OVERLAP_S = int(SECRET_OVERLAP.total_seconds())


@strawberry.type
class WebhookMutations:
    """Mixed into the schema's Mutation."""

    @strawberry.mutation(
        permission_classes=[NeedsWebhooksWriteScope],
        description="Have settlement events sent to an address; the answer shows its secret, once.",
    )
    async def register_webhook_endpoint(
        self,
        info: Info,
        input: RegisterWebhookEndpointInput,  # noqa: A002 the name of a mutation's argument by convention
    ) -> RegisterWebhookEndpointResult:
        named = [
            visible_account(info, value, f"input.accountIds.{place}")
            for place, value in enumerate(input.account_ids or ())
        ]
        asked = info.context.stores.apply(
            webhook_registry.register,
            info.context.key,
            url=input.url,
            description=input.description,
            account_ids=named,
            # Strawberry hands on an enum variable's bare value.
            event_types=frozenset(map(WebhookEventType, input.event_types or ())),
            final_only=input.final_only,
            client_key=input.client_key,
            now=datetime.now(UTC),
        )
        return await _answered(asked, _registered)

    @strawberry.mutation(
        permission_classes=[NeedsWebhooksWriteScope],
        description="Change an endpoint's address, description or choice of events.",
    )
    async def update_webhook_endpoint(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
        input: UpdateWebhookEndpointInput,  # noqa: A002
    ) -> ChangeWebhookEndpointResult:
        types = None if input.event_types is None else frozenset(map(WebhookEventType, input.event_types))
        wanted = EndpointChange(input.url, input.description, types)
        asked = info.context.stores.apply(webhook_registry.change, info.context.key, str(id), wanted)
        return await _answered(asked, _changed)

    @strawberry.mutation(
        permission_classes=[NeedsWebhooksWriteScope],
        description="Send to an endpoint again, whatever had switched it off.",
    )
    async def enable_webhook_endpoint(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
    ) -> ChangeWebhookEndpointResult:
        return await _switch(info, str(id), on=True)

    @strawberry.mutation(
        permission_classes=[NeedsWebhooksWriteScope],
        description="Send nothing more to an endpoint. What is on its way fails, and what happens in the next"
        " seven days is kept as failed: redeliverFailedWebhooks sends it once the endpoint is enabled.",
    )
    async def disable_webhook_endpoint(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
    ) -> ChangeWebhookEndpointResult:
        return await _switch(info, str(id), on=False)

    @strawberry.mutation(
        permission_classes=[NeedsWebhooksWriteScope],
        description="A new secret, shown once; for overlapS seconds (0 to 604800) both of them sign.",
    )
    async def rotate_webhook_secret(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
        overlap_s: int = _OVERLAP_S,
    ) -> RotateWebhookSecretResult:
        asked = info.context.stores.apply(
            webhook_registry.rotate, info.context.key, str(id), overlap_s=overlap_s, now=datetime.now(UTC)
        )
        return await _answered(
            asked,
            lambda endpoint: WebhookSecretRotated(endpoint=endpoint_type(endpoint), secret=endpoint.secret),
        )

    @strawberry.mutation(
        permission_classes=[NeedsWebhooksWriteScope],
        description="Forget an endpoint and its secrets. What is on its way to it fails.",
    )
    async def delete_webhook_endpoint(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
    ) -> DeleteWebhookEndpointResult:
        asked = info.context.stores.apply(webhook_registry.delete, info.context.key, str(id))
        return await _answered(asked, lambda _: WebhookEndpointDeleted(id=id))

    @strawberry.mutation(
        permission_classes=[NeedsWebhooksWriteScope],
        description="Send a delivery again, under the same webhook-id.",
    )
    async def redeliver_webhook(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
    ) -> RedeliverWebhookResult:
        asked = info.context.stores.apply(
            webhook_registry.redeliver, info.context.key, str(id), now=datetime.now(UTC)
        )
        return await _answered(asked, lambda delivery: WebhookRedelivered(delivery=delivery_type(delivery)))

    @strawberry.mutation(
        permission_classes=[NeedsWebhooksWriteScope],
        description="Send again what failed of the deliveries that were created since a moment.",
    )
    async def redeliver_failed_webhooks(
        self, info: Info, endpoint_id: strawberry.ID, since: DateTime
    ) -> RedeliverFailedWebhooksResult:
        asked = info.context.stores.apply(
            webhook_registry.redeliver_failed,
            info.context.key,
            str(endpoint_id),
            since=since,
            now=datetime.now(UTC),
        )
        return await _answered(
            asked, lambda found: FailedWebhooksRedelivered(count=found[0], remaining=found[1])
        )


async def _switch(info: Info, endpoint_id: str, *, on: bool) -> WebhookEndpointChanged | WebhookRefused:
    asked = info.context.stores.apply(
        webhook_registry.switch, info.context.key, endpoint_id, on=on, now=datetime.now(UTC)
    )
    return await _answered(asked, _changed)


async def _answered(asked: Awaitable[Found], answer: Callable[[Found], Answer]) -> Answer | WebhookRefused:
    """The answer made of what came of a request, or why it was refused."""
    try:
        return answer(await asked)
    except WebhookRefusedError as error:
        return WebhookRefused(field=error.field, reason=error.reason)


def _registered(registered: Registered) -> WebhookEndpointRegistered | WebhookEndpointRepeated:
    endpoint = registered.endpoint
    if registered.repeated:
        return WebhookEndpointRepeated(endpoint=endpoint_type(endpoint))
    return WebhookEndpointRegistered(endpoint=endpoint_type(endpoint), secret=endpoint.secret)


def _changed(endpoint: WebhookEndpoint) -> WebhookEndpointChanged:
    return WebhookEndpointChanged(endpoint=endpoint_type(endpoint))
