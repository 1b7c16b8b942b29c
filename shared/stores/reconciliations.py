"""``reconciliations``: how far each chain's vault has been compared with the accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.cloud import firestore

from shared.domain.reconciliation import Reconciliation
from shared.stores import database
from shared.stores.position_differences import decode_balance, encode_balance

COLLECTION = "reconciliations"


def path(chain_id: int) -> str:
    """The document of a chain."""
    return f"{COLLECTION}/{chain_id}"


def encode(reconciliation: Reconciliation) -> dict[str, Any]:
    """The document's fields."""
    fields = {name: getattr(reconciliation, name) for name in Reconciliation.__dataclass_fields__}
    return fields | {
        "totals": {asset: encode_balance(balance) for asset, balance in reconciliation.totals.items()}
    }


def decode(fields: Mapping[str, Any]) -> Reconciliation:
    """The reconciliation of a document's fields."""
    values = {name: fields[name] for name in Reconciliation.__dataclass_fields__}
    totals = {asset: decode_balance(balance) for asset, balance in fields["totals"].items()}
    return Reconciliation(**(values | {"totals": totals}))


def find(client: firestore.Client, chain_id: int) -> tuple[Reconciliation, Any] | None:
    """A chain's reconciliation, with what a later replacement is conditioned on; None before the first."""
    document = database.find(client, path(chain_id))
    return None if document is None else (decode(document.fields), document.read_at)
