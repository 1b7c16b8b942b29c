"""Webhook endpoints of a world's accounts, and deliveries to them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from shared.domain.webhook_deliveries import WebhookDelivery, WebhookDeliveryStatus, webhook_delivery_id
from shared.domain.webhooks import EndpointState, WebhookEndpoint, format_secret
from shared.stores import database, webhook_deliveries, webhook_endpoints
from tests.gateway.world import World, address


def endpoint_id(number: int) -> str:
    """The id of an account's endpoint."""
    return f"whe_{number:032x}"


def webhook_endpoint(world: World, number: int, **changes: Any) -> WebhookEndpoint:
    """The endpoint of an account."""
    fields: dict[str, Any] = {
        "endpoint_id": endpoint_id(number),
        "url": f"https://hooks.client.example/{number}",
        "description": f"endpoint {number}",
        "accounts": frozenset((address(number),)),
        "event_types": frozenset(),
        "state": EndpointState.ENABLED,
        "reason": None,
        "secret": format_secret(bytes(32)),
        "previous_secret": None,
        "failing_since": None,
        "created_at": world.now,
    }
    return WebhookEndpoint(**fields | changes)


def webhook_delivery(world: World, number: int) -> WebhookDelivery:
    """The delivery ``d<number>`` to the endpoint of an account; it waits for its next attempt."""
    return WebhookDelivery(
        delivery_id=webhook_delivery_id(endpoint_id(number), f"d{number}"),
        endpoint_id=endpoint_id(number),
        event_id=f"d{number}",
        event_type="position_changed",
        body=b'{"type":"position_changed"}',
        status=WebhookDeliveryStatus.PENDING,
        attempts=(),
        attempt_count=0,
        tries=0,
        next_attempt_at=world.now + timedelta(days=1),
        error=None,
        created_at=world.now - timedelta(hours=9),
        expires_at=world.now + timedelta(days=29),
    )


def put_webhook(world: World, number: int, **changes: Any) -> str:
    """Write the endpoint of an account and a delivery to it; the endpoint's id."""
    endpoint, delivery = webhook_endpoint(world, number, **changes), webhook_delivery(world, number)
    commit = database.Commit(world.client)
    commit.put(webhook_endpoints.path(endpoint.endpoint_id), webhook_endpoints.encode(endpoint))
    commit.put(webhook_deliveries.path(delivery.delivery_id), webhook_deliveries.encode(delivery))
    commit.apply()
    return endpoint.endpoint_id
