"""``accounts``: every account's positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.positions import Account, Position
from shared.domain.sharding import slot_of
from shared.stores import database

COLLECTION = "accounts"


def path(account_id: str) -> str:
    """The document of an account."""
    return f"{COLLECTION}/{account_id}"


def encode(account: Account) -> dict[str, Any]:
    """The document's fields. Amounts are strings, for Firestore's integers end at 2^63."""
    return {
        "account_id": account.account_id,
        "slot": slot_of(account.account_id),
        "version": account.version,
        "as_of": account.as_of,
        "positions": {
            key: {
                "chain_id": position.chain_id,
                "asset": position.asset,
                "decimals": position.decimals,
                "collateral_base": str(position.collateral_base),
                "debt_shares": str(position.debt_shares),
                "sequence": position.sequence,
                "revision": position.revision,
                "retracted": position.retracted,
            }
            for key, position in account.positions.items()
        },
    }


def decode(fields: Mapping[str, Any]) -> Account:
    """The account of a document's fields."""
    return Account(
        account_id=fields["account_id"],
        version=fields["version"],
        as_of=fields["as_of"],
        positions={
            key: Position(
                chain_id=row["chain_id"],
                asset=row["asset"],
                decimals=row["decimals"],
                collateral_base=int(row["collateral_base"]),
                debt_shares=int(row["debt_shares"]),
                sequence=row["sequence"],
                revision=row["revision"],
                retracted=row["retracted"],
            )
            for key, row in fields["positions"].items()
        },
    )


def find_many(client: firestore.Client, account_ids: Iterable[str]) -> dict[str, Account]:
    """Accounts by id; those that do not exist are left out."""
    documents = database.find_all(client, map(path, account_ids))
    return {document.id: decode(document.fields) for document in documents.values()}


def list_page(
    client: firestore.Client, *, after: str | None, limit: int, only: Iterable[str] | None = None
) -> list[Account]:
    """Up to ``limit`` accounts in order of id, from the one behind ``after``.

    ``only`` restricts the page to these ids (an API key's allow-list).
    """
    if only is not None:
        wanted = sorted(account_id for account_id in only if after is None or account_id > after)
        found: list[Account] = []
        for start in range(0, len(wanted), 100):
            page = find_many(client, wanted[start : start + 100])
            found += [page[account_id] for account_id in sorted(page)]
            if len(found) >= limit:
                break
        return found[:limit]
    statement = client.collection(COLLECTION).order_by("account_id").limit(limit)
    if after is not None:
        statement = statement.start_after({"account_id": after})
    return [decode(document.fields) for document in database.query(statement)]


def list_up_to(
    client: firestore.Client, *, after: str | None, until: str | None, limit: int
) -> list[Account]:
    """Up to ``limit`` accounts in order of id, from the one behind ``after`` to ``until`` (None: to the
    last)."""
    statement = client.collection(COLLECTION).order_by("account_id").limit(limit)
    if after is not None:
        statement = statement.start_after({"account_id": after})
    if until is not None:
        statement = statement.end_at({"account_id": until})
    return [decode(document.fields) for document in database.query(statement)]


def list_versions_since(
    client: firestore.Client, moment: datetime, slots: Iterable[int] | None = None
) -> dict[str, int]:
    """The version of each account written at or after ``moment``, by id; the positions are not read.

    ``slots`` restricts it to accounts of these slots, as everywhere below.
    """
    statement = (
        database.in_slots(client.collection(COLLECTION), slots)
        .where(filter=firestore.FieldFilter("updated_at", ">=", moment))
        .select(["account_id", "version", "updated_at"])
    )
    return {
        document.fields["account_id"]: document.fields["version"]
        for document in database.query_in_pages(client, COLLECTION, statement, "updated_at")
    }


def list_updated_since(
    client: firestore.Client, moment: datetime | None, slots: Iterable[int] | None = None
) -> list[tuple[Account, datetime]]:
    """Accounts written at or after ``moment`` (all where None), oldest write first, with the write's time."""
    statement = database.in_slots(client.collection(COLLECTION), slots)
    if moment is not None:
        statement = statement.where(filter=firestore.FieldFilter("updated_at", ">=", moment))
    return [
        (decode(document.fields), document.fields["updated_at"])
        for document in database.query_in_pages(client, COLLECTION, statement, "updated_at")
    ]


def count(client: firestore.Client, slots: Iterable[int] | None = None) -> int:
    """How many accounts there are, by aggregation."""
    return database.count(database.in_slots(client.collection(COLLECTION), slots))
