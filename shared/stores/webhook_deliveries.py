"""``webhook_deliveries``: every event on its way to a client's endpoint, with the log of its attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.webhook_deliveries import (
    RETENTION,
    WebhookAttempt,
    WebhookDelivery,
    WebhookDeliveryStatus,
)
from shared.stores import database

COLLECTION = "webhook_deliveries"


def path(delivery_id: str) -> str:
    """The document of a delivery."""
    return f"{COLLECTION}/{delivery_id}"


def encode(delivery: WebhookDelivery) -> dict[str, Any]:
    """The document's fields."""
    return {
        "delivery_id": delivery.delivery_id,
        "endpoint_id": delivery.endpoint_id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "body": delivery.body,
        "status": delivery.status.value,
        "attempts": [
            {
                "attempted_at": attempt.attempted_at,
                "status": attempt.status,
                "latency_ms": attempt.latency_ms,
                "error": attempt.error,
                "excerpt": attempt.excerpt,
            }
            for attempt in delivery.attempts
        ],
        "attempt_count": delivery.attempt_count,
        "tries": delivery.tries,
        "next_attempt_at": delivery.next_attempt_at,
        "error": delivery.error,
        "created_at": delivery.created_at,
        "expires_at": delivery.expires_at,
    }


def encode_plan(delivery: WebhookDelivery) -> dict[str, Any]:
    """The fields that say whether and when it is tried: all that changes without an attempt. A commit of
    hundreds of whole documents, with their logs, would be larger than Firestore takes."""
    return {
        "status": delivery.status.value,
        "tries": delivery.tries,
        "next_attempt_at": delivery.next_attempt_at,
        "error": delivery.error,
        "expires_at": delivery.expires_at,
    }


def decode(fields: Mapping[str, Any]) -> WebhookDelivery:
    """The delivery of a document's fields."""
    return WebhookDelivery(
        delivery_id=fields["delivery_id"],
        endpoint_id=fields["endpoint_id"],
        event_id=fields["event_id"],
        event_type=fields["event_type"],
        body=fields["body"],
        status=WebhookDeliveryStatus(fields["status"]),
        attempts=tuple(WebhookAttempt(**attempt) for attempt in fields["attempts"]),
        attempt_count=fields["attempt_count"],
        tries=fields["tries"],
        next_attempt_at=fields["next_attempt_at"],
        error=fields["error"],
        created_at=fields["created_at"],
        # Deliveries that were written before it was kept stay as long as those of today.
        expires_at=fields.get("expires_at", fields["created_at"] + RETENTION),
    )


def find_many(
    client: firestore.Client, delivery_ids: Iterable[str]
) -> dict[str, tuple[WebhookDelivery, Any]]:
    """Deliveries by id, with what a later replacement is conditioned on."""
    documents = database.find_all(client, map(path, delivery_ids))
    return {document.id: (decode(document.fields), document.read_at) for document in documents.values()}


def list_due(client: firestore.Client, moment: datetime, *, limit: int) -> list[tuple[WebhookDelivery, Any]]:
    """Up to ``limit`` deliveries that are to be tried by ``moment``, the longest due first, with what a later
    replacement is conditioned on."""
    statement = (
        client.collection(COLLECTION)
        .where(filter=firestore.FieldFilter("status", "==", WebhookDeliveryStatus.PENDING.value))
        .where(filter=firestore.FieldFilter("next_attempt_at", "<=", moment))
        .order_by("next_attempt_at")
        .limit(limit)
    )
    return [(decode(document.fields), document.read_at) for document in database.query(statement)]


def list_page(
    client: firestore.Client,
    *,
    endpoint_id: str,
    status: WebhookDeliveryStatus | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[WebhookDelivery]:
    """Up to ``limit`` deliveries to an endpoint, the last created first, from the one behind ``before``
    (created_at, delivery id)."""
    statement = database.newest_first(client, COLLECTION, "created_at", before=before, limit=limit)
    statement = _of_endpoint(statement, endpoint_id, status)
    return [decode(document.fields) for document in database.query(statement)]


def list_failed(
    client: firestore.Client, *, endpoint_id: str, since: datetime, limit: int
) -> list[tuple[WebhookDelivery, Any]]:
    """Up to ``limit`` deliveries to an endpoint that were created since a moment and failed for good, newest
    first, with what a later replacement is conditioned on."""
    statement = database.newest_first(client, COLLECTION, "created_at", limit=limit)
    statement = _of_endpoint(statement, endpoint_id, WebhookDeliveryStatus.FAILED)
    statement = statement.where(filter=firestore.FieldFilter("created_at", ">=", since))
    return [(decode(document.fields), document.read_at) for document in database.query(statement)]


def _of_endpoint(statement: Any, endpoint_id: str, status: WebhookDeliveryStatus | None) -> Any:
    """A query restricted to an endpoint's deliveries, and to those of a status."""
    statement = statement.where(filter=firestore.FieldFilter("endpoint_id", "==", endpoint_id))
    if status is None:
        return statement
    return statement.where(filter=firestore.FieldFilter("status", "==", status.value))
