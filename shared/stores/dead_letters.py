"""``dead_letters``: every message that could not be processed, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from google.cloud import firestore

from shared.stores import database

COLLECTION = "dead_letters"


class DeadLetterStatus(StrEnum):
    """``OPEN`` until an operator puts the message back or closes it."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class Dismissal:
    """Who closed a letter without putting it back, and why."""

    dismissed_by: str
    reason: str
    dismissed_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A kept message. ``function`` is None where Pub/Sub gave up before any function took it."""

    dead_letter_id: str
    topic: str
    function: str | None
    reason: str
    field: str | None
    message_id: str
    ordering_key: str
    attributes: Mapping[str, str]
    data: bytes
    recorded_at: datetime
    status: DeadLetterStatus
    dismissal: Dismissal | None = None


def path(dead_letter_id: str) -> str:
    """The document of a dead letter."""
    return f"{COLLECTION}/{dead_letter_id}"


def encode(letter: DeadLetter) -> dict[str, Any]:
    """The document's fields."""
    return {
        "dead_letter_id": letter.dead_letter_id,
        "topic": letter.topic,
        "function": letter.function,
        "reason": letter.reason,
        "field": letter.field,
        "message_id": letter.message_id,
        "ordering_key": letter.ordering_key,
        "attributes": dict(letter.attributes),
        "data": letter.data,
        "recorded_at": letter.recorded_at,
        "status": letter.status.value,
        "dismissal": None if letter.dismissal is None else asdict(letter.dismissal),
    }


def decode(fields: Mapping[str, Any]) -> DeadLetter:
    """The dead letter of a document's fields."""
    dismissal = fields["dismissal"]
    return DeadLetter(
        dead_letter_id=fields["dead_letter_id"],
        topic=fields["topic"],
        function=fields["function"],
        reason=fields["reason"],
        field=fields["field"],
        message_id=fields["message_id"],
        ordering_key=fields["ordering_key"],
        attributes=fields["attributes"],
        data=fields["data"],
        recorded_at=fields["recorded_at"],
        status=DeadLetterStatus(fields["status"]),
        dismissal=None if dismissal is None else Dismissal(**dismissal),
    )


def find_many(client: firestore.Client, dead_letter_ids: Iterable[str]) -> dict[str, tuple[DeadLetter, Any]]:
    """Letters by id, with what a replacement is conditioned on; those that do not exist are left out."""
    documents = database.find_all(client, map(path, dead_letter_ids))
    return {document.id: (decode(document.fields), document.read_at) for document in documents.values()}


def list_open(
    client: firestore.Client, *, topic: str | None = None, limit: int
) -> list[tuple[DeadLetter, Any]]:
    """Up to ``limit`` letters that wait, with what a replacement is conditioned on."""
    statement = client.collection(COLLECTION).where(
        filter=firestore.FieldFilter("status", "==", DeadLetterStatus.OPEN.value)
    )
    if topic is not None:
        statement = statement.where(filter=firestore.FieldFilter("topic", "==", topic))
    return [
        (decode(document.fields), document.read_at) for document in database.query(statement.limit(limit))
    ]


def count_open(client: firestore.Client) -> int:
    """How many letters wait for an operator."""
    return database.count(
        client.collection(COLLECTION).where(
            filter=firestore.FieldFilter("status", "==", DeadLetterStatus.OPEN.value)
        )
    )
