"""``outbox``: announcements that were committed and may not have been published yet."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice

from google.cloud import firestore

from shared.combining import Combiner
from shared.errors import ConflictError, RetryableError
from shared.messaging.publisher import OutboundMessage, Publisher
from shared.stores import announcements, database

COLLECTION = database.OUTBOX

_CALLERS_PER_PUBLICATION = 64

Announced = Mapping[str, Sequence[OutboundMessage]]
"""Announcements by the outbox document that has them."""

_log = logging.getLogger(__name__)


def publish(client: firestore.Client, publisher: Publisher, announced: Announced) -> int:
    """Publish announcements and clear them from the outbox; returns how many were published.

    What Pub/Sub did not take stays in the outbox, and so does what was published but not cleared: the
    sweep publishes it (again), with the same event id. Invocations that publish at the same time share
    their requests.
    """
    if not announced:
        return 0
    return _publications(client, publisher).do(announced)


@lru_cache(maxsize=16)
def _publications(client: firestore.Client, publisher: Publisher) -> Combiner[Announced, int]:
    def publish_all(batch: Sequence[Announced]) -> list[int]:
        together = {outbox_id: messages for announced in batch for outbox_id, messages in announced.items()}
        failed = _publish(client, publisher, together)
        return [
            sum(len(messages) - failed.get(outbox_id, 0) for outbox_id, messages in announced.items())
            for announced in batch
        ]

    return Combiner(publish_all, limit=_CALLERS_PER_PUBLICATION)


def _publish(client: firestore.Client, publisher: Publisher, announced: Announced) -> dict[str, int]:
    """Publish and clear; how many failed of the documents of which some did."""
    outcomes = iter(publisher.publish([message for messages in announced.values() for message in messages]))
    left: dict[str, list[OutboundMessage]] = {}
    errors: list[Exception] = []
    for outbox_id, messages in announced.items():
        for message, error in zip(messages, islice(outcomes, len(messages)), strict=True):
            if error is not None:
                left.setdefault(outbox_id, []).append(message)
                errors.append(error)
    if errors:
        _log.warning(
            "announcements stay in the outbox",
            extra={"count": len(errors), "first_error": repr(errors[0])},
        )
    try:
        database.delete_all(
            client, (f"{COLLECTION}/{outbox_id}" for outbox_id in announced if outbox_id not in left)
        )
        for outbox_id, messages in left.items():
            if len(messages) < len(announced[outbox_id]):
                _keep(client, outbox_id, messages)
    except RetryableError as error:
        _log.warning("published announcements stay in the outbox", extra={"error": repr(error)})
    return {outbox_id: len(messages) for outbox_id, messages in left.items()}


def _keep(client: firestore.Client, outbox_id: str, messages: Sequence[OutboundMessage]) -> None:
    """Leave only these in a document, unless another has cleared it."""
    commit = database.Commit(client)
    commit.amend(f"{COLLECTION}/{outbox_id}", announcements.encode(messages))
    with contextlib.suppress(ConflictError):
        commit.apply()


def list_before(
    client: firestore.Client, moment: datetime, *, after: tuple[datetime, str] | None = None, limit: int
) -> tuple[dict[str, list[OutboundMessage]], tuple[datetime, str] | None]:
    """Announcements written before ``moment`` and behind ``after``, oldest first, and the place of the last.

    ``limit`` counts documents, each of up to half a megabyte. A place is a time and an outbox id: those of
    one commit share their time.
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
    found: dict[str, list[OutboundMessage]] = {}
    last: tuple[datetime, str] | None = None
    for document in database.query(statement):
        last = (document.fields["created_at"], document.id)
        found[document.id] = announcements.decode(document.fields)
    return found, last


def find_oldest(client: firestore.Client) -> datetime | None:
    """When the oldest announcement that is still here was written; None where the outbox is empty."""
    statement = client.collection(COLLECTION).order_by("created_at").limit(1)
    for document in database.query(statement):
        created_at: datetime = document.fields["created_at"]
        return created_at
    return None
