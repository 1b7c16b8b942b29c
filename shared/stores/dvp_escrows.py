"""``dvp_escrows``: every delivery-versus-payment escrow's steps and what they add up to.

The id is ``chain_id:address``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from google.cloud import firestore

from shared.domain.dvp import DvpEscrow, DvpStatus, DvpStep, fold_records
from shared.domain.steps import StepRecord
from shared.stores import database, steps
from shared.stores.escrows import escrow_id

COLLECTION = "dvp_escrows"
_KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in get_args(DvpStep)}


def path(escrow: str) -> str:
    """The document of an escrow id."""
    return f"{COLLECTION}/{escrow}"


def encode(chain_id: int, address: str, records: Mapping[int, StepRecord[DvpStep]]) -> dict[str, Any]:
    """The document's fields, the folded state beside the steps so that queries can use it."""
    dvp, _ = fold_records(records)
    return {
        "escrow_id": escrow_id(chain_id, address),
        "chain_id": chain_id,
        "address": address,
        "steps": steps.encode_records(records),
        "status": dvp.status.value if dvp else None,
        "step": dvp.step if dvp else 0,
        "parties": sorted(dvp.parties) if dvp else [],
    }


def decode_records(fields: Mapping[str, Any]) -> dict[int, StepRecord[DvpStep]]:
    """What a document's fields know of each step."""
    return steps.decode_records(fields["steps"], _KINDS)


@dataclass(frozen=True, slots=True)
class StoredDvpEscrow:
    """A delivery-versus-payment escrow and where it lives."""

    escrow_id: str
    chain_id: int
    address: str
    escrow: DvpEscrow
    updated_at: datetime


def _decode(fields: Mapping[str, Any]) -> StoredDvpEscrow | None:
    dvp, _ = fold_records(decode_records(fields))
    if dvp is None:
        return None
    return StoredDvpEscrow(
        fields["escrow_id"], fields["chain_id"], fields["address"], dvp, fields["updated_at"]
    )


def find_many(client: firestore.Client, escrow_ids: Iterable[str]) -> dict[str, StoredDvpEscrow]:
    """Escrows by id; those that do not exist, or whose creation has not been seen, are left out."""
    documents = database.find_all(client, map(path, escrow_ids))
    decoded = (_decode(document.fields) for document in documents.values())
    return {stored.escrow_id: stored for stored in decoded if stored is not None}


def list_page(
    client: firestore.Client,
    *,
    after: str | None,
    limit: int,
    status: DvpStatus | None = None,
    parties: Iterable[str] | None = None,
) -> list[StoredDvpEscrow]:
    """Up to ``limit`` escrows in order of id, from the one behind ``after``.

    ``parties`` restricts them to those in which one of these addresses is seller or buyer; None means all.
    """

    def ask(behind: str | None) -> list[database.Document]:
        statement = steps.page_statement(client, COLLECTION, status=status, after=behind, limit=limit)
        return database.query_among(statement, "parties", parties, operator="array_contains_any")

    return steps.list_decoded(ask, _decode, after=after, limit=limit)
