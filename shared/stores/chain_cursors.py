"""``chain_cursors``: up to which block each chain has been announced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.cloud import firestore

from shared.domain.chain_progress import ChainProgress
from shared.stores import database

COLLECTION = "chain_cursors"


def path(chain_id: int) -> str:
    """The document of a chain's cursor."""
    return f"{COLLECTION}/{chain_id}"


def encode(progress: ChainProgress) -> dict[str, Any]:
    """The document's fields."""
    return {
        "chain_id": progress.chain_id,
        "block_number": progress.block_number,
        "block_hash": progress.block_hash,
        "window": progress.window,
        "final_number": progress.final_number,
        "verified_number": progress.verified_number,
        "revisions": [{"revision": revision, "first_block": first} for revision, first in progress.revisions],
        "partial": progress.partial,
        "halted": progress.halted,
        "differences": progress.differences,
    }


def decode(fields: Mapping[str, Any]) -> ChainProgress:
    """The progress of a document's fields."""
    return ChainProgress(
        chain_id=fields["chain_id"],
        block_number=fields["block_number"],
        window=fields["window"],
        final_number=fields["final_number"],
        verified_number=fields["verified_number"],
        revisions=tuple((row["revision"], row["first_block"]) for row in fields["revisions"]),
        partial=fields["partial"],
        halted=fields["halted"],
        differences=fields["differences"],
    )


def find(client: firestore.Client, chain_id: int) -> tuple[ChainProgress, Any] | None:
    """A chain's progress, with what a later replacement is conditioned on; None before the first block."""
    document = database.find(client, path(chain_id))
    return None if document is None else (decode(document.fields), document.read_at)
