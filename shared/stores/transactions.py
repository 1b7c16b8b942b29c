"""``transactions`` and ``signer_nonces``: what each nonce of our signers is used for, and the next free one.

The next nonce moves in the same commit in which its transaction is written, so that none is given out twice
and none is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.cloud import firestore

from shared.domain.fees import Fees
from shared.domain.transactions import Attempt, Mined, Transaction, TransactionStatus
from shared.stores import database

COLLECTION = "transactions"
NONCES = "signer_nonces"

_OPEN = (TransactionStatus.PENDING.value, TransactionStatus.MINED.value)


def path(transaction_id: str) -> str:
    """The document of a transaction."""
    return f"{COLLECTION}/{transaction_id}"


def nonce_path(chain_id: int, signer: str) -> str:
    """The document of a signer's next nonce on a chain."""
    return f"{NONCES}/{chain_id}:{signer}"


def encode_nonce(next_nonce: int) -> dict[str, Any]:
    """The fields of a signer's next nonce."""
    return {"next_nonce": next_nonce}


def find_next_nonce(client: firestore.Client, chain_id: int, signer: str) -> tuple[int, Any]:
    """The next nonce that was not given out (0 where none was), with what its change is conditioned on."""
    document = database.find(client, nonce_path(chain_id, signer))
    return (0, None) if document is None else (document.fields["next_nonce"], document.read_at)


def encode(transaction: Transaction) -> dict[str, Any]:
    """The document's fields; amounts in wei are strings."""
    mined = transaction.mined
    return {
        "transaction_id": transaction.transaction_id,
        "chain_id": transaction.chain_id,
        "signer": transaction.signer,
        "nonce": transaction.nonce,
        "command_id": transaction.command_id,
        "to": transaction.to,
        "data": transaction.data,
        "value_base": str(transaction.value_base),
        "gas_limit": transaction.gas_limit,
        "deadline": transaction.deadline,
        "attempts": [
            {
                "hash": attempt.hash,
                "raw": attempt.raw,
                "max_fee_wei": str(attempt.fees.max_fee_wei),
                "max_priority_fee_wei": str(attempt.fees.max_priority_fee_wei),
                "no_op": attempt.no_op,
                "signed_at": attempt.signed_at,
                "resent_at": attempt.resent_at,
            }
            for attempt in transaction.attempts
        ],
        "status": transaction.status.value,
        "mined": None
        if mined is None
        else {
            "hash": mined.hash,
            "block_number": mined.block_number,
            "block_hash": mined.block_hash,
            "succeeded": mined.succeeded,
        },
        "abandoned": transaction.abandoned,
        "trouble": transaction.trouble,
        "alerted": transaction.alerted,
        "created_at": transaction.created_at,
    }


def decode(fields: Mapping[str, Any]) -> Transaction:
    """The transaction of a document's fields."""
    mined = fields["mined"]
    return Transaction(
        chain_id=fields["chain_id"],
        signer=fields["signer"],
        nonce=fields["nonce"],
        command_id=fields["command_id"],
        to=fields["to"],
        data=fields["data"],
        value_base=int(fields["value_base"]),
        gas_limit=fields["gas_limit"],
        deadline=fields["deadline"],
        attempts=tuple(
            Attempt(
                hash=row["hash"],
                raw=row["raw"],
                fees=Fees(int(row["max_fee_wei"]), int(row["max_priority_fee_wei"])),
                no_op=row["no_op"],
                signed_at=row["signed_at"],
                resent_at=row["resent_at"],
            )
            for row in fields["attempts"]
        ),
        status=TransactionStatus(fields["status"]),
        mined=None
        if mined is None
        else Mined(mined["hash"], mined["block_number"], mined["block_hash"], mined["succeeded"]),
        abandoned=fields["abandoned"],
        trouble=fields["trouble"],
        alerted=fields["alerted"],
        created_at=fields["created_at"],
    )


def find_many(client: firestore.Client, transaction_ids: Iterable[str]) -> dict[str, Transaction]:
    """Transactions by id; those that do not exist are left out."""
    documents = database.find_all(client, map(path, transaction_ids))
    return {document.id: decode(document.fields) for document in documents.values()}


def list_open(
    client: firestore.Client, *, after: str | None = None, limit: int
) -> list[tuple[Transaction, Any]]:
    """Up to ``limit`` transactions that are not concluded, in order of id behind ``after``, with what a later
    replacement is conditioned on. Those of one signer on one chain stand together."""
    statement = (
        client.collection(COLLECTION)
        .where(filter=firestore.FieldFilter("status", "in", _OPEN))
        .order_by("__name__")
        .limit(limit)
    )
    if after is not None:
        statement = statement.start_after({"__name__": client.document(path(after))})
    return [(decode(document.fields), document.read_at) for document in database.query(statement)]
