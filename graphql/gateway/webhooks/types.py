"""A webhook endpoint, a delivery to it with the log of its attempts, and the answers to changing them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import strawberry

from gateway.scalars import Address, DateTime
from shared.domain import webhook_deliveries, webhooks

WebhookEventType = strawberry.enum(
    webhooks.WebhookEventType,
    name="WebhookEventType",
    description="The kind of an event. Whoever is told of an event is also told if it is retracted.",
)
WebhookEndpointState = strawberry.enum(
    webhooks.EndpointState,
    name="WebhookEndpointState",
    description="DISABLED by its owner; GONE: it answered 410; FAILING: it took nothing for five days.",
)
WebhookDeliveryStatus = strawberry.enum(
    webhook_deliveries.WebhookDeliveryStatus,
    name="WebhookDeliveryStatus",
    description="PENDING is tried at nextAttemptAt; FAILED is tried again only where somebody asks for it.",
)


@strawberry.type(description="Where a client receives settlement events.")
class WebhookEndpoint:
    id: strawberry.ID
    url: str
    description: str
    account_ids: list[Address] | None = strawberry.field(
        description="The accounts whose events it is told of; null for every account."
    )
    event_types: list[WebhookEventType] = strawberry.field(  # type: ignore[valid-type]
        description="What it is told of; empty for everything."
    )
    final_only: bool = strawberry.field(
        description="Whether it is told of events only once they are final, and so of no retraction."
    )
    state: WebhookEndpointState  # type: ignore[valid-type]
    state_reason: str | None = strawberry.field(description="Why it is not enabled.")
    failing_since: DateTime | None = strawberry.field(
        description="The first failure since something was last taken."
    )
    previous_secret_expires_at: DateTime | None = strawberry.field(
        description="Until when the secret before the present one signs beside it."
    )
    created_at: DateTime


def endpoint_type(stored: webhooks.WebhookEndpoint) -> WebhookEndpoint:
    """The type of a stored endpoint; its secrets stay behind."""
    previous = stored.previous_secret
    return WebhookEndpoint(
        id=stored.endpoint_id,  # type: ignore[arg-type]
        url=stored.url,
        description=stored.description,
        account_ids=None if stored.accounts is None else [Address(each) for each in sorted(stored.accounts)],
        event_types=sorted(stored.event_types),
        final_only=stored.final_only,
        state=stored.state,
        state_reason=stored.reason,
        failing_since=stored.failing_since,
        previous_secret_expires_at=None if previous is None else previous.expires_at,
        created_at=stored.created_at,
    )


@strawberry.type(description="One attempt: what was answered, or why nothing was.")
class WebhookAttempt:
    attempted_at: DateTime
    status: int | None = strawberry.field(description="The HTTP status; null where there was no answer.")
    latency_ms: int
    error: str | None
    excerpt: str = strawberry.field(description="The first 512 bytes of the answer's body.")


@strawberry.type(description="One event on its way to one endpoint.")
class WebhookDelivery:
    id: strawberry.ID
    endpoint_id: strawberry.ID
    webhook_id: str = strawberry.field(description="The header webhook-id, the same at every attempt.")
    event_id: str
    event_type: str = strawberry.field(description="The kind of the event, or event_retracted.")
    status: WebhookDeliveryStatus  # type: ignore[valid-type]
    attempt_count: int
    attempts: list[WebhookAttempt] = strawberry.field(description="The newest twenty, in order.")
    next_attempt_at: DateTime | None
    error: str | None = strawberry.field(description="What last stood in its way.")
    body: str
    created_at: DateTime
    expires_at: DateTime = strawberry.field(description="Until when it can be seen and asked for again.")


def delivery_type(stored: webhook_deliveries.WebhookDelivery) -> WebhookDelivery:
    """The type of a stored delivery."""
    return WebhookDelivery(
        id=stored.delivery_id,  # type: ignore[arg-type]
        endpoint_id=stored.endpoint_id,  # type: ignore[arg-type]
        webhook_id=stored.webhook_id,
        event_id=stored.event_id,
        event_type=stored.event_type,
        status=stored.status,
        attempt_count=stored.attempt_count,
        attempts=[
            WebhookAttempt(
                attempted_at=attempt.attempted_at,
                status=attempt.status,
                latency_ms=attempt.latency_ms,
                error=attempt.error,
                excerpt=attempt.excerpt,
            )
            for attempt in stored.attempts
        ],
        next_attempt_at=stored.next_attempt_at,
        error=stored.error,
        body=stored.body.decode(),
        created_at=stored.created_at,
        expires_at=stored.expires_at,
    )


@strawberry.input
class RegisterWebhookEndpointInput:
    url: str = strawberry.field(description="An https URL; names that resolve to private networks fail.")
    description: str = ""
    account_ids: list[Address] | None = strawberry.field(
        default=None, description="Without any: those that the key may see now, or every account."
    )
    event_types: list[WebhookEventType] | None = strawberry.field(  # type: ignore[valid-type]
        default=None, description="Without any: everything."
    )
    final_only: bool = strawberry.field(
        default=False,
        description="Send events only once they are final, never a retraction. It stays as it is registered.",
    )
    client_key: str | None = strawberry.field(
        default=None,
        description="Names the registration for 30 days: the same key and endpoint are registered once.",
    )


@strawberry.input(description="What is left out stays as it is.")
class UpdateWebhookEndpointInput:
    url: str | None = None
    description: str | None = None
    event_types: list[WebhookEventType] | None = strawberry.field(  # type: ignore[valid-type]
        default=None, description="An empty list for everything."
    )


@strawberry.type(description="The endpoint was registered. Its secret is shown this once.")
class WebhookEndpointRegistered:
    endpoint: WebhookEndpoint
    secret: str


@strawberry.type(
    description="The endpoint was registered before under this client key, and nothing was done again. Its"
    " secret was shown then: rotate it if it never came."
)
class WebhookEndpointRepeated:
    endpoint: WebhookEndpoint


@strawberry.type(description="There is no such endpoint any more.")
class WebhookEndpointDeleted:
    id: strawberry.ID


@strawberry.type(description="The endpoint is now as it was asked for.")
class WebhookEndpointChanged:
    endpoint: WebhookEndpoint


@strawberry.type(description="The endpoint has a new secret, which is shown this once.")
class WebhookSecretRotated:
    endpoint: WebhookEndpoint
    secret: str


@strawberry.type(description="The delivery is tried again at once.")
class WebhookRedelivered:
    delivery: WebhookDelivery


@strawberry.type(description="So many deliveries are tried again at once.")
class FailedWebhooksRedelivered:
    count: int
    remaining: bool = strawberry.field(description="Whether more failed since then: ask again.")


@strawberry.type(description="What was asked for cannot be done.")
class WebhookRefused:
    field: str
    reason: str


RegisterWebhookEndpointResult: TypeAlias = Annotated[
    WebhookEndpointRegistered | WebhookEndpointRepeated | WebhookRefused,
    strawberry.union("RegisterWebhookEndpointResult"),
]
DeleteWebhookEndpointResult: TypeAlias = Annotated[
    WebhookEndpointDeleted | WebhookRefused,
    strawberry.union("DeleteWebhookEndpointResult"),
]
ChangeWebhookEndpointResult: TypeAlias = Annotated[
    WebhookEndpointChanged | WebhookRefused,
    strawberry.union("ChangeWebhookEndpointResult"),
]
RotateWebhookSecretResult: TypeAlias = Annotated[
    WebhookSecretRotated | WebhookRefused,
    strawberry.union("RotateWebhookSecretResult"),
]
RedeliverWebhookResult: TypeAlias = Annotated[
    WebhookRedelivered | WebhookRefused,
    strawberry.union("RedeliverWebhookResult"),
]
RedeliverFailedWebhooksResult: TypeAlias = Annotated[
    FailedWebhooksRedelivered | WebhookRefused,
    strawberry.union("RedeliverFailedWebhooksResult"),
]
