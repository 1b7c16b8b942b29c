"""``price_ticks``: the latest ticks, in order; BigQuery keeps them all.

A tick is kept here so that a consumer that received tick 7 and then tick 9 can read tick 8 and evaluate
all three in order. Documents expire by Firestore's TTL on ``expires_at``.
"""

from __future__ import annotations

from datetime import timedelta

from google.cloud import firestore

from shared.events.prices import PriceTick, tick_id
from shared.stores import database

COLLECTION = "price_ticks"
KEPT_FOR = timedelta(days=2)


def add(commit: database.Commit, tick: PriceTick) -> None:
    """Write a tick; the commit conflicts if a tick of this sequence exists."""
    commit.create(
        f"{COLLECTION}/{tick_id(tick.sequence)}",
        {"sequence": tick.sequence, "tick": tick.encode(), "expires_at": tick.as_of + KEPT_FOR},
    )


def find_latest(client: firestore.Client) -> PriceTick | None:
    """The tick with the highest sequence, or None before the first."""
    statement = (
        client.collection(COLLECTION).order_by("sequence", direction=firestore.Query.DESCENDING).limit(1)
    )
    for document in database.query(statement):
        return PriceTick.model_validate_json(document.fields["tick"])
    return None


def list_between(client: firestore.Client, after: int, before: int, *, limit: int = 200) -> list[PriceTick]:
    """The first ``limit`` ticks with ``after < sequence < before``, in order."""
    statement = (
        client.collection(COLLECTION)
        .where(filter=firestore.FieldFilter("sequence", ">", after))
        .where(filter=firestore.FieldFilter("sequence", "<", before))
        .order_by("sequence")
        .limit(limit)
    )
    return [PriceTick.model_validate_json(document.fields["tick"]) for document in database.query(statement)]
