"""``alerts``: every margin transition that was announced. The id is that of the transition."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from google.cloud import firestore

from shared.events.margin import MarginTransition
from shared.stores import database

COLLECTION = "alerts"


def add(commit: database.Commit, transition: MarginTransition) -> None:
    """Write a transition; the commit conflicts if one of this number exists for the account."""
    commit.create(
        f"{COLLECTION}/{transition.event_id}",
        {
            "account_id": transition.account_id,
            "created_at": transition.as_of,
            "notify": transition.notify,
            "transition": transition.encode(),
        },
    )


def _decode(document: database.Document) -> MarginTransition:
    return MarginTransition.model_validate_json(document.fields["transition"])


def find_many(client: firestore.Client, alert_ids: Iterable[str]) -> dict[str, MarginTransition]:
    """Alerts by id; those that do not exist are left out."""
    documents = database.find_all(client, (f"{COLLECTION}/{alert_id}" for alert_id in alert_ids))
    return {document.id: _decode(document) for document in documents.values()}


def list_page(
    client: firestore.Client,
    *,
    account_ids: Iterable[str] | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[MarginTransition]:
    """Up to ``limit`` alerts, newest first, from the one behind ``before`` (created_at, alert id).

    ``account_ids`` restricts them to these accounts; None means all.
    """
    statement = database.newest_first(client, COLLECTION, "created_at", before=before, limit=limit)
    documents = database.query_among(statement, "account_id", account_ids)
    found = sorted(map(_decode, documents), key=lambda alert: (alert.as_of, alert.event_id), reverse=True)
    return found[:limit]


def list_since(
    client: firestore.Client, moment: datetime, *, after: str | None = None, limit: int
) -> list[MarginTransition]:
    """Up to ``limit`` alerts of transitions at or after ``moment``, oldest first.

    ``after`` is the alert id behind which to begin among those of ``moment`` itself.
    """
    statement = (
        client.collection(COLLECTION)
        .where(filter=firestore.FieldFilter("created_at", ">=", moment))
        .order_by("created_at")
        .order_by("__name__")
        .limit(limit)
    )
    if after is not None:
        statement = statement.start_after(
            {"created_at": moment, "__name__": client.document(f"{COLLECTION}/{after}")}
        )
    return [_decode(document) for document in database.query(statement)]
