"""``outbox``: announcements that were committed and may not have been published yet."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from google.cloud import firestore

from shared.combining import Combiner
from shared.errors import RetryableError
from shared.messaging.publisher import OutboundMessage, Publisher
from shared.stores import database

COLLECTION = "outbox"

_CALLERS_PER_PUBLICATION = 64

_log = logging.getLogger(__name__)


def publish(client: firestore.Client, publisher: Publisher, announced: Mapping[str, OutboundMessage]) -> int:
    """Publish announcements and clear them from the outbox; returns how many were published.

    What Pub/Sub did not take stays in the outbox, and so does what was published but not cleared: the
    sweep publishes it (again), with the same event id. Invocations that publish at the same time share
    their requests.
    """
    if not announced:
        return 0
    return _publications(client, publisher).do(announced)


@lru_cache(maxsize=16)
def _publications(
    client: firestore.Client, publisher: Publisher
) -> Combiner[Mapping[str, OutboundMessage], int]:
    def publish_all(batch: Sequence[Mapping[str, OutboundMessage]]) -> list[int]:
        messages = {key: message for announced in batch for key, message in announced.items()}
        published = _publish(client, publisher, messages)
        return [len(published.intersection(announced)) for announced in batch]

    return Combiner(publish_all, limit=_CALLERS_PER_PUBLICATION)


def _publish(
    client: firestore.Client, publisher: Publisher, messages: Mapping[str, OutboundMessage]
) -> set[str]:
    outcomes = publisher.publish(list(messages.values()))
    published = {key for key, error in zip(messages, outcomes, strict=True) if error is None}
    failed = [error for error in outcomes if error is not None]
    if failed:
        _log.warning(
            "announcements stay in the outbox",
            extra={"count": len(failed), "first_error": repr(failed[0])},
        )
    try:
        database.delete_all(client, (f"{COLLECTION}/{key}" for key in published))
    except RetryableError as error:
        _log.warning("published announcements stay in the outbox", extra={"error": repr(error)})
    return published


def list_before(
    client: firestore.Client, moment: datetime, *, after: tuple[datetime, str] | None = None, limit: int
) -> tuple[dict[str, OutboundMessage], tuple[datetime, str] | None]:
    """Announcements written before ``moment`` and behind ``after``, oldest first, and the place of the last.

    A place is a time and an outbox id: those of one commit share their time.
    """
    statement = (
        client.collection(COLLECTION)
        .where(filter=firestore.FieldFilter("created_at", "<", moment))
        .order_by("created_at")
        .order_by("__name__")
        .limit(limit)
    )
    if after is not None:
        statement = statement.start_after(
            {"created_at": after[0], "__name__": client.document(f"{COLLECTION}/{after[1]}")}
        )
    found: dict[str, OutboundMessage] = {}
    last: tuple[datetime, str] | None = None
    for document in database.query(statement):
        row = document.fields
        last = (row["created_at"], document.id)
        found[document.id] = OutboundMessage(
            row["topic"], row["data"], row["ordering_key"], row["attributes"]
        )
    return found, last


def find_oldest(client: firestore.Client) -> datetime | None:
    """When the oldest announcement that is still here was written; None where the outbox is empty."""
    statement = client.collection(COLLECTION).order_by("created_at").limit(1)
    for document in database.query(statement):
        created_at: datetime = document.fields["created_at"]
        return created_at
    return None
