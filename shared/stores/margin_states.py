"""``margin_states``: every account's margin state as it was last recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from google.cloud import firestore

from shared.domain.margin import MarginRecord, RecordedValuation, State
from shared.domain.sharding import slot_of
from shared.stores import database

COLLECTION = "margin_states"


def path(account_id: str) -> str:
    """The document of an account's margin state."""
    return f"{COLLECTION}/{account_id}"


def encode(record: MarginRecord) -> dict[str, Any]:
    """The document's fields."""
    valuation = record.valuation
    return {
        "account_id": record.account_id,
        "slot": slot_of(record.account_id),
        "state": record.state.value,
        "valued_state": record.valued_state.value if record.valued_state else None,
        "transitions": record.transitions,
        "unvalued_assets": list(record.unvalued_assets),
        "valuation": None
        if valuation is None
        else {
            "collateral_usd": format(valuation.collateral_usd, "f"),
            "debt_usd": format(valuation.debt_usd, "f"),
            "health_pct": valuation.health_pct,
        },
        "tick_sequence": record.tick_sequence,
        "position_version": record.position_version,
        "as_of": record.as_of,
    }


def decode(fields: Mapping[str, Any]) -> MarginRecord:
    """The record of a document's fields."""
    valuation = fields["valuation"]
    return MarginRecord(
        account_id=fields["account_id"],
        state=State(fields["state"]),
        valued_state=State(fields["valued_state"]) if fields["valued_state"] else None,
        transitions=fields["transitions"],
        unvalued_assets=tuple(fields["unvalued_assets"]),
        valuation=None
        if valuation is None
        else RecordedValuation(
            Decimal(valuation["collateral_usd"]),
            Decimal(valuation["debt_usd"]),
            valuation["health_pct"],
        ),
        tick_sequence=fields["tick_sequence"],
        position_version=fields["position_version"],
        as_of=fields["as_of"],
    )


def find_many(client: firestore.Client, account_ids: Iterable[str]) -> dict[str, tuple[MarginRecord, Any]]:
    """Records by account id, with what a later replacement is conditioned on."""
    documents = database.find_all(client, map(path, account_ids))
    return {document.id: (decode(document.fields), document.read_at) for document in documents.values()}


def list_updated_since(
    client: firestore.Client, moment: datetime | None, slots: Iterable[int] | None = None
) -> list[tuple[MarginRecord, Any, datetime]]:
    """Records written at or after ``moment`` (all where None), of these slots, oldest write first.

    Each comes with what a later replacement is conditioned on, and the time of its write.
    """
    statement = database.in_slots(client.collection(COLLECTION), slots)
    if moment is not None:
        statement = statement.where(filter=firestore.FieldFilter("updated_at", ">=", moment))
    return [
        (decode(document.fields), document.read_at, document.fields["updated_at"])
        for document in database.query_in_pages(client, COLLECTION, statement, "updated_at")
    ]


def list_in_state(
    client: firestore.Client, state: State, *, after: str | None, limit: int
) -> list[MarginRecord]:
    """Up to ``limit`` records in a state, in order of account id, from the one behind ``after``."""
    statement = (
        client.collection(COLLECTION)
        .where(filter=firestore.FieldFilter("state", "==", state.value))
        .order_by("account_id")
        .limit(limit)
    )
    if after is not None:
        statement = statement.start_after({"account_id": after})
    return [decode(document.fields) for document in database.query(statement)]


def count_by_state(client: firestore.Client) -> dict[State, int]:
    """How many accounts are in each state, by aggregation (no document is read)."""
    counts: dict[State, int] = {}
    for state in State:
        statement = client.collection(COLLECTION).where(
            filter=firestore.FieldFilter("state", "==", state.value)
        )
        counts[state] = database.count(statement)
    return counts
