"""``markets`` and ``market_changes``: the lending markets' books, and every report of them.

A change's document is named after market and number and is kept, for a reorganisation may take back the one
that came after it, however long it stood. Numbers are strings, for Firestore's integers end at 2^63.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields as fields_of
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.interest import Market
from shared.domain.lending import LendingMarket
from shared.domain.positions import position_key
from shared.domain.steps import StepRecord
from shared.stores import database

COLLECTION = "markets"
CHANGES = "market_changes"

_CHANGES_TOGETHER = 20


def path(chain_id: int, asset: str) -> str:
    """The document of a market."""
    return f"{COLLECTION}/{position_key(chain_id, asset)}"


def change_path(chain_id: int, asset: str, sequence: int) -> str:
    """The document of one of a market's changes."""
    return f"{CHANGES}/{position_key(chain_id, asset)}:{sequence:012d}"


def encode(chain_id: int, asset: str, decimals: int, books: Market | None) -> dict[str, Any]:
    """The document's fields; without books where every report was taken back."""
    return {
        "chain_id": chain_id,
        "asset": asset,
        "decimals": decimals,
        "books": None if books is None else _encode_books(books),
    }


def decode(fields: Mapping[str, Any]) -> LendingMarket | None:
    """The market of a document's fields; None where every report was taken back."""
    if fields["books"] is None:
        return None
    return LendingMarket(
        fields["chain_id"], fields["asset"], fields["decimals"], _decode_books(fields["books"])
    )


def encode_change(sequence: int, record: StepRecord[Market]) -> dict[str, Any]:
    """The fields of a change's document."""
    return {
        "sequence": sequence,
        "books": None if record.step is None else _encode_books(record.step),
        "revision": record.revision,
        "retracted": record.retracted,
    }


def decode_change(fields: Mapping[str, Any]) -> StepRecord[Market]:
    """What is known of a change."""
    return StepRecord(
        None if fields["books"] is None else _decode_books(fields["books"]),
        fields["revision"],
        fields["retracted"],
    )


def find_standing_before(client: firestore.Client, chain_id: int, asset: str, sequence: int) -> Market | None:
    """The books of the latest report below ``sequence`` that stands; None where there is none."""
    while sequence > 1:
        first = max(1, sequence - _CHANGES_TOGETHER)
        paths = [change_path(chain_id, asset, number) for number in range(sequence - 1, first - 1, -1)]
        found = database.find_all(client, paths)
        for each in paths:
            books = decode_change(found[each].fields).live if each in found else None
            if books is not None:
                return books
        sequence = first
    return None


def list_all(client: firestore.Client) -> list[LendingMarket]:
    """Every market that has books, in order of chain and asset."""
    documents = database.query(client.collection(COLLECTION))
    decoded = [decode(document.fields) for document in documents]
    return sorted(
        (market for market in decoded if market is not None), key=lambda each: (each.chain_id, each.asset)
    )


def list_updated_since(
    client: firestore.Client, moment: datetime | None
) -> list[tuple[str, LendingMarket | None, datetime]]:
    """Key and market of each document written at or after ``moment`` (all where None), with the write's time;
    None for a market whose every report was taken back."""
    statement: Any = client.collection(COLLECTION)
    if moment is not None:
        statement = statement.where(filter=firestore.FieldFilter("updated_at", ">=", moment))
    return [
        (document.id, decode(document.fields), document.fields["updated_at"])
        for document in database.query(statement)
    ]


def find_many(client: firestore.Client, keys: Iterable[str]) -> dict[str, LendingMarket]:
    """Markets by key; those without books are left out."""
    found = database.find_all(client, [f"{COLLECTION}/{key}" for key in keys])
    decoded = [decode(document.fields) for document in found.values()]
    return {market.key: market for market in decoded if market is not None}


def _encode_books(books: Market) -> dict[str, str]:
    return {each.name: str(getattr(books, each.name)) for each in fields_of(books)}


def _decode_books(row: Mapping[str, str]) -> Market:
    return Market(**{name: int(value) for name, value in row.items()})
