"""``escrows``: every escrow's steps and what they add up to. The id is ``chain_id:address``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from google.cloud import firestore

from shared.domain.escrows import Escrow, EscrowStatus, EscrowStep, fold_records
from shared.domain.steps import StepRecord
from shared.stores import database, steps

COLLECTION = "escrows"
_KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in get_args(EscrowStep)}


def escrow_id(chain_id: int, address: str) -> str:
    """The id of an escrow, of either kind, across chains."""
    return f"{chain_id}:{address}"


def path(escrow: str) -> str:
    """The document of an escrow id."""
    return f"{COLLECTION}/{escrow}"


def encode(chain_id: int, address: str, records: Mapping[int, StepRecord[EscrowStep]]) -> dict[str, Any]:
    """The document's fields, the folded state beside the steps so that queries can use it."""
    escrow, _ = fold_records(records)
    return {
        "escrow_id": escrow_id(chain_id, address),
        "chain_id": chain_id,
        "address": address,
        "steps": steps.encode_records(records),
        "status": escrow.status.value if escrow else None,
        "step": escrow.step if escrow else 0,
        "parties": sorted(escrow.parties) if escrow else [],
    }


def decode_records(fields: Mapping[str, Any]) -> dict[int, StepRecord[EscrowStep]]:
    """What a document's fields know of each step."""
    return steps.decode_records(fields["steps"], _KINDS)


@dataclass(frozen=True, slots=True)
class StoredEscrow:
    """An escrow and where it lives."""

    escrow_id: str
    chain_id: int
    address: str
    escrow: Escrow
    updated_at: datetime


def _decode(fields: Mapping[str, Any]) -> StoredEscrow | None:
    escrow, _ = fold_records(decode_records(fields))
    if escrow is None:
        return None
    return StoredEscrow(
        fields["escrow_id"], fields["chain_id"], fields["address"], escrow, fields["updated_at"]
    )


def find_many(client: firestore.Client, escrow_ids: Iterable[str]) -> dict[str, StoredEscrow]:
    """Escrows by id; those that do not exist, or whose creation has not been seen, are left out."""
    documents = database.find_all(client, map(path, escrow_ids))
    decoded = (_decode(document.fields) for document in documents.values())
    return {stored.escrow_id: stored for stored in decoded if stored is not None}


def list_page(
    client: firestore.Client,
    *,
    after: str | None,
    limit: int,
    status: EscrowStatus | None = None,
    parties: Iterable[str] | None = None,
) -> list[StoredEscrow]:
    """Up to ``limit`` escrows in order of id, from the one behind ``after``.

    ``parties`` restricts them to those in which one of these addresses is payer, payee or arbiter; None
    means all. An escrow whose creation has not been seen has no status and is not listed.
    """

    def ask(behind: str | None) -> list[database.Document]:
        statement = steps.page_statement(client, COLLECTION, status=status, after=behind, limit=limit)
        return database.query_among(statement, "parties", parties, operator="array_contains_any")

    return steps.list_decoded(ask, _decode, after=after, limit=limit)
