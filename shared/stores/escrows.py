"""``escrows``: every escrow's steps and what they add up to. The id is ``chain_id:address``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.escrows import (
    Approved,
    Created,
    Escrow,
    EscrowRole,
    EscrowStatus,
    EscrowStep,
    Refunded,
    Released,
    ReleasePolicy,
    StepRecord,
    Withdrawn,
    fold_records,
)
from shared.stores import database

COLLECTION = "escrows"

_PLAIN_STEPS: Mapping[str, type[Released | Refunded | Withdrawn]] = {
    "released": Released,
    "refunded": Refunded,
    "withdrawn": Withdrawn,
}


def escrow_id(chain_id: int, address: str) -> str:
    """The id of an escrow across chains."""
    return f"{chain_id}:{address}"


def path(escrow: str) -> str:
    """The document of an escrow id."""
    return f"{COLLECTION}/{escrow}"


def encode_step(step: EscrowStep) -> dict[str, Any]:
    """One step as it is stored."""
    if isinstance(step, Created):
        return {
            "kind": "created",
            "payer": step.payer,
            "payee": step.payee,
            "arbiter": step.arbiter,
            "asset": step.asset,
            "decimals": step.decimals,
            "amount_base": str(step.amount_base),
            "release_time": step.release_time,
            "refund_time": step.refund_time,
            "policy": step.policy.value,
        }
    if isinstance(step, Approved):
        return {"kind": "approved", "role": step.role.value}
    return {"kind": type(step).__name__.lower()}


def decode_step(row: Mapping[str, Any]) -> EscrowStep:
    """The step of a stored row."""
    if row["kind"] == "created":
        return Created(
            payer=row["payer"],
            payee=row["payee"],
            arbiter=row["arbiter"],
            asset=row["asset"],
            decimals=row["decimals"],
            amount_base=int(row["amount_base"]),
            release_time=row["release_time"],
            refund_time=row["refund_time"],
            policy=ReleasePolicy(row["policy"]),
        )
    if row["kind"] == "approved":
        return Approved(EscrowRole(row["role"]))
    return _PLAIN_STEPS[row["kind"]]()


def encode(identifier: str, chain_id: int, address: str, records: Mapping[int, StepRecord]) -> dict[str, Any]:
    """The document's fields, the folded state beside the steps so that queries can use it.

    Raises:
        EscrowStepError: where a step contradicts the ones before it.
    """
    escrow = fold_records(records)
    fields: dict[str, Any] = {
        "escrow_id": identifier,
        "chain_id": chain_id,
        "address": address,
        "steps": {
            str(number): {
                "step": None if record.step is None else encode_step(record.step),
                "revision": record.revision,
                "retracted": record.retracted,
            }
            for number, record in sorted(records.items())
        },
        "status": escrow.status.value if escrow else None,
        "step": escrow.step if escrow else 0,
        "parties": sorted({escrow.terms.payer, escrow.terms.payee, escrow.terms.arbiter}) if escrow else [],
    }
    return fields


def decode_records(fields: Mapping[str, Any]) -> dict[int, StepRecord]:
    """What a document's fields know of each step."""
    return {
        int(number): StepRecord(
            step=None if row["step"] is None else decode_step(row["step"]),
            revision=row["revision"],
            retracted=row["retracted"],
        )
        for number, row in fields["steps"].items()
    }


@dataclass(frozen=True, slots=True)
class StoredEscrow:
    """An escrow and where it lives."""

    escrow_id: str
    chain_id: int
    address: str
    escrow: Escrow
    updated_at: datetime


def _decode(fields: Mapping[str, Any]) -> StoredEscrow | None:
    escrow = fold_records(decode_records(fields))
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
    found: list[StoredEscrow] = []
    while len(found) < limit:
        statement: Any = client.collection(COLLECTION).order_by("escrow_id").limit(limit)
        if status is not None:
            statement = statement.where(filter=firestore.FieldFilter("status", "==", status.value))
        if after is not None:
            statement = statement.start_after({"escrow_id": after})
        documents = database.query_among(statement, "parties", parties, operator="array_contains_any")
        documents.sort(key=lambda document: document.fields["escrow_id"])
        decoded = [_decode(document.fields) for document in documents[:limit]]
        found += [stored for stored in decoded if stored is not None]
        if len(documents) < limit:
            break
        after = documents[limit - 1].fields["escrow_id"]
    return found[:limit]
