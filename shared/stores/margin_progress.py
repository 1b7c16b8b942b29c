"""``margin_progress``: up to which tick each shard has been evaluated, and whether ticks have stopped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.sharding import WHOLE, Shard
from shared.stores import database

COLLECTION = "margin_progress"


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


def path(shard: Shard = WHOLE) -> str:
    """The document of a shard's progress."""
    return f"{COLLECTION}/{'book' if shard == WHOLE else f'book-{shard.number}-of-{shard.count}'}"


def encode(tick_sequence: int, *, prices_stopped: bool, shard: Shard = WHOLE) -> dict[str, Any]:
    """The document's fields."""
    return {
        "tick_sequence": tick_sequence,
        "prices_stopped": prices_stopped,
        "shard": shard.number,
        "shards": shard.count,
    }


def read(client: firestore.Client, shard: Shard = WHOLE) -> Progress:
    """A shard's progress; nothing evaluated where none is recorded."""
    document, seen_at = database.find_at(client, path(shard))
    if document is None:
        return Progress(0, prices_stopped=False, read_at=None, seen_at=seen_at)
    fields = document.fields
    return Progress(fields["tick_sequence"], fields["prices_stopped"], document.read_at, seen_at)


def find_evaluated(client: firestore.Client) -> int | None:
    """The last tick that every account has been evaluated at; None before the first.

    Whatever the number of shards is or was: of each number of which every shard has a progress, that of the
    shard that is least far; of these, the furthest.
    """
    sequences: dict[int, dict[int, int]] = {}
    for document in database.query(client.collection(COLLECTION)):
        fields = document.fields
        sequences.setdefault(fields["shards"], {})[fields["shard"]] = fields["tick_sequence"]
    whole = [min(found.values()) for shards, found in sequences.items() if len(found) == shards]
    return max(whole, default=None)
