"""``notifications.deliveries.v1``: what became of each notification."""

from __future__ import annotations

from shared.domain.notifications import Channel, DeliveryStatus
from shared.events.base import Event, Identifier, Instant, PositiveInt


class DeliveryChanged(Event):
    """A delivery reached a new status."""

    delivery_id: Identifier
    alert_id: Identifier
    recipient_id: Identifier
    channel: Channel
    status: DeliveryStatus
    attempt: PositiveInt
    error: str | None
    as_of: Instant


def delivery_event_id(delivery_id: str, attempt: int, status: DeliveryStatus) -> str:
    """The event id of a delivery's status after an attempt."""
    return f"{delivery_id}#{attempt}:{status}"
