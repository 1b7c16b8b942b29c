"""``chain_cursors``: up to which block each chain has been announced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.cloud import firestore

from shared.stores import database

COLLECTION = "chain_cursors"


@dataclass(frozen=True, slots=True)
class ChainCursor:
    """The last announced block of a chain. ``halted`` says why nothing more may be announced."""

    chain_id: int
    block_number: int
    block_hash: str
    halted: str | None


def path(chain_id: int) -> str:
    """The document of a chain's cursor."""
    return f"{COLLECTION}/{chain_id}"


def encode(cursor: ChainCursor) -> dict[str, Any]:
    """The document's fields."""
    return {
        "chain_id": cursor.chain_id,
        "block_number": cursor.block_number,
        "block_hash": cursor.block_hash,
        "halted": cursor.halted,
    }


def find(client: firestore.Client, chain_id: int) -> tuple[ChainCursor, Any] | None:
    """A chain's cursor, with what a later replacement is conditioned on; None before the first block."""
    document = database.find(client, path(chain_id))
    if document is None:
        return None
    fields = document.fields
    cursor = ChainCursor(fields["chain_id"], fields["block_number"], fields["block_hash"], fields["halted"])
    return cursor, document.read_at
