"""``announced_blocks``: what was announced of each block, until it was read a second time as a final one.

A block with many events has several documents, its parts. The id sorts by chain, block and part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.cloud import firestore

from shared.stores import database

COLLECTION = "announced_blocks"

_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Announcement:
    """One event as it was announced: its message's bytes and ordering key."""

    event_id: str
    data: bytes
    ordering_key: str


@dataclass(frozen=True, slots=True)
class AnnouncedPart:
    """A part of a block's events, in chain order; the parts are numbered from 0."""

    chain_id: int
    block_number: int
    block_hash: str
    part: int
    announcements: Sequence[Announcement]

    @property
    def path(self) -> str:
        """The part's document."""
        return (
            f"{COLLECTION}/{self.chain_id}:{self.block_number:0{_DIGITS}d}:{self.block_hash}:{self.part:04d}"
        )


def encode(part: AnnouncedPart) -> dict[str, Any]:
    """The document's fields."""
    return {
        "chain_id": part.chain_id,
        "block_number": part.block_number,
        "block_hash": part.block_hash,
        "part": part.part,
        "announcements": [
            {"event_id": each.event_id, "data": each.data, "ordering_key": each.ordering_key}
            for each in part.announcements
        ],
    }


def _decode(fields: Mapping[str, Any]) -> AnnouncedPart:
    return AnnouncedPart(
        fields["chain_id"],
        fields["block_number"],
        fields["block_hash"],
        fields["part"],
        [Announcement(row["event_id"], row["data"], row["ordering_key"]) for row in fields["announcements"]],
    )


def list_between(
    client: firestore.Client, chain_id: int, first: int, last: int | None, *, limit: int
) -> list[AnnouncedPart]:
    """Up to ``limit`` parts of blocks ``first`` to ``last`` (None: all above), in chain order."""
    end = f"{chain_id}:~" if last is None else f"{chain_id}:{last + 1:0{_DIGITS}d}"
    statement = (
        client.collection(COLLECTION)
        .order_by("__name__")
        .start_at({"__name__": client.document(f"{COLLECTION}/{chain_id}:{first:0{_DIGITS}d}")})
        .end_before({"__name__": client.document(f"{COLLECTION}/{end}")})
        .limit(limit)
    )
    return [_decode(document.fields) for document in database.query(statement)]
