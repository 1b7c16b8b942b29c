"""``margin_states``: every account's margin state as it was last recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from google.cloud import firestore

from shared.domain.margin import State
from shared.stores import database

COLLECTION = "margin_states"


@dataclass(frozen=True, slots=True)
class RecordedValuation:
    """USD amounts and health when the state was recorded; ``health_pct`` is None without debt."""

    collateral_usd: Decimal
    debt_usd: Decimal
    health_pct: float | None


@dataclass(frozen=True, slots=True)
class MarginRecord:
    """An account's margin state.

    ``state`` is what the account is now; ``valued_state`` is its last state while every asset had a mark
    (they differ only while ``state`` is UNVALUED). ``transitions`` counts the margin transitions announced.
    """

    account_id: str
    state: State
    valued_state: State | None
    transitions: int
    unvalued_assets: tuple[str, ...]
    valuation: RecordedValuation | None
    tick_sequence: int
    position_version: int
    as_of: datetime


def path(account_id: str) -> str:
    """The document of an account's margin state."""
    return f"{COLLECTION}/{account_id}"


def encode(record: MarginRecord) -> dict[str, Any]:
    """The document's fields."""
    valuation = record.valuation
    return {
        "account_id": record.account_id,
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


def list_all(client: firestore.Client) -> list[tuple[MarginRecord, Any]]:
    """Every record, with what a later replacement is conditioned on."""
    documents = database.query(client.collection(COLLECTION).order_by("account_id"))
    return [(decode(document.fields), document.read_at) for document in documents]


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
