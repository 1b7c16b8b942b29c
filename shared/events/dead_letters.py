"""How a message that could not be processed is kept (attributes on a ``*.dead`` topic)."""

from __future__ import annotations

REASON = "dead_letter_reason"
FIELD = "dead_letter_field"
FUNCTION = "dead_letter_function"
SOURCE_TOPIC = "dead_letter_topic"
SOURCE_MESSAGE_ID = "dead_letter_message_id"

_MAX_REASON_CHARACTERS = 900
"""An attribute holds 1,024 bytes."""


def describe(*, reason: str, field: str | None, function: str, topic: str, message_id: str) -> dict[str, str]:
    """The attributes that say why a message is a dead letter and where it came from."""
    return {
        REASON: reason.encode()[:_MAX_REASON_CHARACTERS].decode(errors="ignore"),
        FIELD: field or "",
        FUNCTION: function,
        SOURCE_TOPIC: topic,
        SOURCE_MESSAGE_ID: message_id,
    }
