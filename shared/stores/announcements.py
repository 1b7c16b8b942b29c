"""How announcements lie in the outbox: those of a commit together, in as few documents as hold them.

A document for each would make every event cost a write and a delete, and a commit for many accounts several
times as slow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from shared.messaging.attributes import EVENT_ID
from shared.messaging.publisher import OutboundMessage

# A document may have 1 MiB; the rest is for attributes, and for what JSON writes longer.
_BYTES = 500_000


def rows(messages: Sequence[OutboundMessage]) -> Iterator[tuple[str, list[OutboundMessage]]]:
    """The messages of one commit by document, whose ids follow their order.

    The same messages have the same ids: a commit that is repeated after a crash announces nothing anew.
    Others have others, whatever they have in common: none replaces what has not been published yet.
    """
    parts = list(_parts(messages))
    first = _name(messages[0]) if messages else ""
    if len(messages) == 1:
        yield first, [messages[0]]
        return
    names = hashlib.sha256("\n".join(map(_name, messages)).encode()).hexdigest()[:32]
    for number, part in enumerate(parts):
        yield f"{first}~{names}~{number:04d}", part


def encode(messages: Sequence[OutboundMessage]) -> dict[str, Any]:
    """A document's fields, but for when it was written."""
    plain = [
        {
            "topic": message.topic,
            "data": message.data.decode(),
            "ordering_key": message.ordering_key,
            "attributes": dict(message.attributes),
        }
        for message in messages
    ]
    return {"messages": json.dumps(plain, ensure_ascii=False, separators=(",", ":"))}


def decode(fields: Any) -> list[OutboundMessage]:
    """The messages of a document."""
    return [
        OutboundMessage(row["topic"], row["data"].encode(), row["ordering_key"], row["attributes"])
        for row in json.loads(fields["messages"])
    ]


def _name(message: OutboundMessage) -> str:
    return f"{message.topic}~{message.attributes[EVENT_ID]}"


def _parts(messages: Sequence[OutboundMessage]) -> Iterator[list[OutboundMessage]]:
    part: list[OutboundMessage] = []
    size = 0
    for message in messages:
        if part and size + len(message.data) > _BYTES:
            yield part
            part, size = [], 0
        part.append(message)
        size += len(message.data)
    if part:
        yield part
