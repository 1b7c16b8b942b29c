"""``deliveries``: what became of each notification, per alert, channel and recipient.

A delivery is leased before anything is sent and concluded after it. If the process dies in between, the
lease ends and the same delivery is sent again under the same id, which the channel shows to the receiver
(webhook id, Message-ID).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.notifications import Channel, DeliveryStatus
from shared.stores import database

COLLECTION = "deliveries"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on its way. ``leased_until`` is set while ``status`` is SENDING."""

    delivery_id: str
    alert_id: str
    recipient_id: str
    channel: Channel
    status: DeliveryStatus
    attempt: int
    error: str | None
    leased_until: datetime | None
    created_at: datetime
    updated_at: datetime | None = None


def path(delivery_id: str) -> str:
    """The document of a delivery."""
    return f"{COLLECTION}/{delivery_id}"


def encode(delivery: Delivery) -> dict[str, Any]:
    """The document's fields."""
    return {
        "delivery_id": delivery.delivery_id,
        "alert_id": delivery.alert_id,
        "recipient_id": delivery.recipient_id,
        "channel": delivery.channel.value,
        "status": delivery.status.value,
        "attempt": delivery.attempt,
        "error": delivery.error,
        "leased_until": delivery.leased_until,
        "created_at": delivery.created_at,
    }


def decode(fields: Mapping[str, Any]) -> Delivery:
    """The delivery of a document's fields."""
    return Delivery(
        delivery_id=fields["delivery_id"],
        alert_id=fields["alert_id"],
        recipient_id=fields["recipient_id"],
        channel=Channel(fields["channel"]),
        status=DeliveryStatus(fields["status"]),
        attempt=fields["attempt"],
        error=fields["error"],
        leased_until=fields["leased_until"],
        created_at=fields["created_at"],
        updated_at=fields["updated_at"],
    )


def find_many(client: firestore.Client, delivery_ids: Iterable[str]) -> dict[str, tuple[Delivery, Any]]:
    """Deliveries by id, with what a later replacement is conditioned on."""
    documents = database.find_all(client, map(path, delivery_ids))
    return {document.id: (decode(document.fields), document.read_at) for document in documents.values()}


def list_of_alerts(client: firestore.Client, alert_ids: Iterable[str]) -> dict[str, list[Delivery]]:
    """Deliveries by alert id, in order of id; an alert without any has an empty list."""
    wanted = list(dict.fromkeys(alert_ids))
    found: dict[str, list[Delivery]] = {alert_id: [] for alert_id in wanted}
    for start in range(0, len(wanted), 30):
        statement = client.collection(COLLECTION).where(
            filter=firestore.FieldFilter("alert_id", "in", wanted[start : start + 30])
        )
        for document in database.query(statement):
            delivery = decode(document.fields)
            found[delivery.alert_id].append(delivery)
    for of_alert in found.values():
        of_alert.sort(key=lambda delivery: delivery.delivery_id)
    return found


def list_page(
    client: firestore.Client,
    *,
    recipient_ids: Iterable[str] | None,
    alert_id: str | None = None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Delivery]:
    """Up to ``limit`` deliveries, the last changed first, from the one behind ``before``
    (updated_at, delivery id).

    ``recipient_ids`` restricts them to these recipients; None means all.
    """
    statement = database.newest_first(client, COLLECTION, "updated_at", before=before, limit=limit)
    if alert_id is not None:
        statement = statement.where(filter=firestore.FieldFilter("alert_id", "==", alert_id))
    documents = database.query_among(statement, "recipient_id", recipient_ids)
    documents.sort(key=lambda document: (document.fields["updated_at"], document.id), reverse=True)
    return [decode(document.fields) for document in documents[:limit]]
