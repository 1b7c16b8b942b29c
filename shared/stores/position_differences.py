"""``position_differences``: balances that are not their vault's, until they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.cloud import firestore

from shared.domain.reconciliation import PositionDifference, VaultBalance
from shared.stores import database

COLLECTION = "position_differences"


def path(difference_id: str) -> str:
    """The document of a difference."""
    return f"{COLLECTION}/{difference_id}"


def encode(difference: PositionDifference) -> dict[str, Any]:
    """The document's fields."""
    return {
        "chain_id": difference.chain_id,
        "account_id": difference.account_id,
        "asset": difference.asset,
        "block_number": difference.block_number,
        "vault": encode_balance(difference.vault),
        "vault_sequence": difference.vault_sequence,
        "stored": encode_balance(difference.stored),
        "stored_sequence": difference.stored_sequence,
        "found_at": difference.found_at,
        "is_announced": difference.is_announced,
    }


def decode(fields: Mapping[str, Any]) -> PositionDifference:
    """The difference of a document's fields."""
    names = set(PositionDifference.__dataclass_fields__) - {"vault", "stored"}
    return PositionDifference(
        **{name: fields[name] for name in names},
        vault=decode_balance(fields["vault"]),
        stored=decode_balance(fields["stored"]),
    )


def encode_balance(balance: VaultBalance) -> dict[str, str]:
    """A balance; amounts are strings, for Firestore's integers end at 2^63."""
    return {"collateral_base": str(balance.collateral_base), "debt_shares": str(balance.debt_shares)}


def decode_balance(fields: Mapping[str, Any]) -> VaultBalance:
    """The balance of a map."""
    return VaultBalance(int(fields["collateral_base"]), int(fields["debt_shares"]))


def find_many(
    client: firestore.Client, difference_ids: Iterable[str]
) -> dict[str, tuple[PositionDifference, Any]]:
    """Differences that are known, by id, with what a later replacement is conditioned on."""
    documents = database.find_all(client, map(path, difference_ids))
    return {each.id: (decode(each.fields), each.read_at) for each in documents.values()}


def list_of_chain(
    client: firestore.Client, chain_id: int, *, limit: int
) -> list[tuple[PositionDifference, Any]]:
    """Up to ``limit`` differences of a chain, with what a later replacement is conditioned on."""
    statement = (
        client.collection(COLLECTION)
        .where(filter=firestore.FieldFilter("chain_id", "==", chain_id))
        .limit(limit)
    )
    return [(decode(each.fields), each.read_at) for each in database.query(statement)]


def count_announced(client: firestore.Client, chain_id: int) -> int:
    """How many differences of a chain operators were told of and that are still there, by aggregation."""
    return database.count(
        client.collection(COLLECTION)
        .where(filter=firestore.FieldFilter("chain_id", "==", chain_id))
        .where(filter=firestore.FieldFilter("is_announced", "==", True))
    )
