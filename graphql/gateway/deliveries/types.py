"""A delivery: one notification on its way to one recipient over one channel."""

from __future__ import annotations

import strawberry

from gateway.scalars import DateTime
from shared.domain import notifications
from shared.stores import deliveries

Channel = strawberry.enum(notifications.Channel, name="Channel", description="How a recipient is reached.")
DeliveryStatus = strawberry.enum(
    notifications.DeliveryStatus,
    name="DeliveryStatus",
    description="FAILED will be tried again, REJECTED will not.",
)


@strawberry.type(description="What became of one notification.")
class Delivery:
    id: strawberry.ID
    alert_id: strawberry.ID
    recipient_id: str = strawberry.field(description="An account's id, or 'operations'.")
    channel: Channel  # type: ignore[valid-type]
    status: DeliveryStatus  # type: ignore[valid-type]
    attempt: int
    error: str | None
    created_at: DateTime
    updated_at: DateTime | None


def from_stored(stored: deliveries.Delivery) -> Delivery:
    """The delivery of a stored one."""
    return Delivery(
        id=stored.delivery_id,  # type: ignore[arg-type]
        alert_id=stored.alert_id,  # type: ignore[arg-type]
        recipient_id=stored.recipient_id,
        channel=stored.channel,
        status=stored.status,
        attempt=stored.attempt,
        error=stored.error,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )
