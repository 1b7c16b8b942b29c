"""What a client's webhook endpoint is sent: a settlement event in the envelope of Standard Webhooks."""

from __future__ import annotations

from datetime import datetime

from shared.events.base import Instant, Record
from shared.events.settlement import AnyContractEvent, EventRetracted, SettlementEvent


class WebhookBody(Record):
    """``type`` is the event's kind, ``timestamp`` when it happened (of a retraction: when it was announced),
    ``data`` the message of ``settlement.events.v1`` or ``settlement.finalized.v1``."""

    type: str
    timestamp: Instant
    data: SettlementEvent


def webhook_body(event: AnyContractEvent | EventRetracted, *, happened_at: datetime) -> bytes:
    """The body that is sent of an event (JSON)."""
    return WebhookBody(type=event.kind, timestamp=happened_at, data=event).model_dump_json().encode()
