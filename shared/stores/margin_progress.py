"""``margin_progress``: up to which tick the book has been evaluated, and whether ticks have stopped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.stores import database

COLLECTION = "margin_progress"
BOOK = "book"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a shard is.

    ``tick_sequence`` is that of the last evaluated tick, 0 before the first. ``prices_stopped`` is True from
    when operators were told that ticks stopped until they are told that they come again. ``read_at`` is what
    a later replacement is conditioned on. ``seen_at`` is Firestore's time of this read: whatever was
    committed before it is seen by every later read.
    """

    tick_sequence: int
    prices_stopped: bool
    read_at: Any
    seen_at: datetime


def path(shard: str = BOOK) -> str:
    """The document of a shard's progress."""
    return f"{COLLECTION}/{shard}"


def encode(tick_sequence: int, *, prices_stopped: bool) -> dict[str, Any]:
    """The document's fields."""
    return {"tick_sequence": tick_sequence, "prices_stopped": prices_stopped}


def read(client: firestore.Client, shard: str = BOOK) -> Progress:
    """A shard's progress; nothing evaluated where none is recorded."""
    document, seen_at = database.find_at(client, path(shard))
    if document is None:
        return Progress(0, prices_stopped=False, read_at=None, seen_at=seen_at)
    fields = document.fields
    return Progress(fields["tick_sequence"], fields["prices_stopped"], document.read_at, seen_at)


def find(client: firestore.Client, shard: str = BOOK) -> tuple[int, Any] | None:
    """The sequence of the last evaluated tick, with what a later replacement is conditioned on."""
    document = database.find(client, path(shard))
    return None if document is None else (document.fields["tick_sequence"], document.read_at)
