"""``supplies``: what each account has lent to the vaults' markets, in shares. It is no collateral."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.cloud import firestore

from shared.domain.lending import Supply
from shared.domain.steps import StepRecord
from shared.stores import database

COLLECTION = "supplies"


def path(account_id: str) -> str:
    """The document of an account."""
    return f"{COLLECTION}/{account_id}"


def encode(account_id: str, supplies: Mapping[str, Supply]) -> dict[str, Any]:
    """The document's fields, in the order of keys and numbers. Shares are strings, for Firestore's integers
    end at 2^63."""
    return {
        "account_id": account_id,
        "supplies": {
            key: {
                "chain_id": supply.chain_id,
                "asset": supply.asset,
                "decimals": supply.decimals,
                "is_complete": supply.is_complete,
                "reports": {
                    str(number): {
                        "shares": None if record.step is None else str(record.step),
                        "revision": record.revision,
                        "retracted": record.retracted,
                    }
                    for number, record in sorted(supply.records.items())
                },
            }
            for key, supply in sorted(supplies.items())
        },
    }


def decode(fields: Mapping[str, Any]) -> dict[str, Supply]:
    """An account's supplies by market."""
    return {
        key: Supply(
            row["chain_id"],
            row["asset"],
            row["decimals"],
            {
                int(number): StepRecord(
                    None if report["shares"] is None else int(report["shares"]),
                    report["revision"],
                    report["retracted"],
                )
                for number, report in row["reports"].items()
            },
            row["is_complete"],
        )
        for key, row in fields["supplies"].items()
    }


def find_many(client: firestore.Client, account_ids: Iterable[str]) -> dict[str, dict[str, Supply]]:
    """Supplies by account and market; accounts that never lent are left out."""
    found = database.find_all(client, map(path, account_ids))
    return {document.id: decode(document.fields) for document in found.values()}
