"""``margin_progress``: up to which tick the book has been evaluated."""

from __future__ import annotations

from typing import Any

from google.cloud import firestore

from shared.stores import database

COLLECTION = "margin_progress"
BOOK = "book"


def path(shard: str = BOOK) -> str:
    """The document of a shard's progress."""
    return f"{COLLECTION}/{shard}"


def find(client: firestore.Client, shard: str = BOOK) -> tuple[int, Any] | None:
    """The sequence of the last evaluated tick, with what a later replacement is conditioned on."""
    document = database.find(client, path(shard))
    return None if document is None else (document.fields["tick_sequence"], document.read_at)
