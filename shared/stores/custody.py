"""``custody``: the accounts whose key we hold, by address. ``key_version`` names the key in Cloud KMS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.cloud import firestore

from shared.stores import database

COLLECTION = "custody"


@dataclass(frozen=True, slots=True)
class Custody:
    """An account that we sign for. Without a ``key_version`` its key is in the setting (development)."""

    account_id: str
    key_version: str | None


def path(account_id: str) -> str:
    """The document of an account."""
    return f"{COLLECTION}/{account_id}"


def encode(custody: Custody) -> dict[str, Any]:
    """The document's fields."""
    return {"account_id": custody.account_id, "key_version": custody.key_version}


def decode(fields: Mapping[str, Any]) -> Custody:
    """The record of a document's fields."""
    return Custody(fields["account_id"], fields["key_version"])


def find(client: firestore.Client, account_id: str) -> Custody | None:
    """How we sign for an account; None where we do not."""
    document = database.find(client, path(account_id))
    return None if document is None else decode(document.fields)


def put(client: firestore.Client, custody: Custody) -> None:
    """Take an account into custody, or name another key for it."""
    commit = database.Commit(client)
    commit.put(path(custody.account_id), encode(custody))
    commit.apply()
