"""What a client of ours has: a registered endpoint, and deliveries on their way to it."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud import firestore

from shared.domain.webhook_deliveries import WebhookDelivery, WebhookDeliveryStatus, webhook_delivery_id
from shared.domain.webhooks import EndpointState, WebhookEndpoint, WebhookEventType, format_secret
from shared.stores import database, webhook_deliveries, webhook_endpoints


def put_endpoint(
    store: firestore.Client,
    url: str,
    *,
    accounts: list[str] | None = None,
    event_types: tuple[WebhookEventType, ...] = (),
    **changes: Any,
) -> WebhookEndpoint:
    """Write an endpoint that was registered an hour ago."""
    fields: dict[str, Any] = {
        "endpoint_id": f"whe_{secrets.token_hex(16)}",
        "url": url,
        "description": "",
        "accounts": None if accounts is None else frozenset(accounts),
        "event_types": frozenset(event_types),
        "state": EndpointState.ENABLED,
        "reason": None,
        "secret": format_secret(secrets.token_bytes(32)),
        "previous_secret": None,
        "failing_since": None,
        "created_at": datetime.now(UTC) - timedelta(hours=1),
    }
    endpoint = WebhookEndpoint(**fields | changes)
    commit = database.Commit(store)
    commit.put(webhook_endpoints.path(endpoint.endpoint_id), webhook_endpoints.encode(endpoint))
    commit.apply()
    return endpoint


def put_delivery(
    store: firestore.Client, endpoint: WebhookEndpoint, number: int = 1, **changes: Any
) -> WebhookDelivery:
    """Write a delivery that has been due for a while; lower numbers for longer."""
    due = datetime.now(UTC) - timedelta(minutes=1) + timedelta(seconds=number)
    fields: dict[str, Any] = {
        "delivery_id": webhook_delivery_id(endpoint.endpoint_id, f"event-{number}"),
        "endpoint_id": endpoint.endpoint_id,
        "event_id": f"event-{number}",
        "event_type": "position_changed",
        "body": b'{"number":%d}' % number,
        "status": WebhookDeliveryStatus.PENDING,
        "attempts": (),
        "attempt_count": 0,
        "tries": 0,
        "next_attempt_at": due,
        "expires_at": datetime.now(UTC) + timedelta(days=30),
        "error": None,
        "created_at": due,
    }
    delivery = WebhookDelivery(**fields | changes)
    commit = database.Commit(store)
    commit.put(webhook_deliveries.path(delivery.delivery_id), webhook_deliveries.encode(delivery))
    commit.apply()
    return delivery


def stored_delivery(store: firestore.Client, delivery: WebhookDelivery) -> WebhookDelivery:
    """The delivery as it is now."""
    return webhook_deliveries.find_many(store, [delivery.delivery_id])[delivery.delivery_id][0]


def stored_endpoint(store: firestore.Client, endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """The endpoint as it is now."""
    found = webhook_endpoints.find(store, endpoint.endpoint_id)
    assert found is not None
    return found[0]


def all_deliveries(store: firestore.Client) -> list[WebhookDelivery]:
    """Every delivery, in the order of creation."""
    documents = store.collection(webhook_deliveries.COLLECTION).stream()
    decoded = [webhook_deliveries.decode(document.to_dict() or {}) for document in documents]
    return sorted(decoded, key=lambda delivery: delivery.created_at)


def make_due(store: firestore.Client, delivery: WebhookDelivery) -> None:
    """Let the time of a delivery's next attempt come."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    store.document(webhook_deliveries.path(delivery.delivery_id)).update({"next_attempt_at": past})
