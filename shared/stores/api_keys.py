"""``api_keys``: keys by id; the secret itself is never stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.cloud import firestore

from shared.domain.api_keys import ApiKey, parse_scopes
from shared.stores import database

COLLECTION = "api_keys"


def path(key_id: str) -> str:
    """The document of a key."""
    return f"{COLLECTION}/{key_id}"


def encode(key: ApiKey) -> dict[str, Any]:
    """The document's fields."""
    return {
        "key_id": key.key_id,
        "secret_hash": key.secret_hash,
        "name": key.name,
        "scopes": sorted(scope.value for scope in key.scopes),
        "accounts": None if key.accounts is None else sorted(key.accounts),
        "expires_at": key.expires_at,
        "enabled": key.enabled,
    }


def decode(fields: Mapping[str, Any]) -> ApiKey:
    """The key of a document's fields."""
    accounts = fields["accounts"]
    return ApiKey(
        key_id=fields["key_id"],
        secret_hash=fields["secret_hash"],
        name=fields["name"],
        scopes=parse_scopes(fields["scopes"]),
        accounts=None if accounts is None else frozenset(accounts),
        expires_at=fields["expires_at"],
        enabled=fields["enabled"],
    )


def find(client: firestore.Client, key_id: str) -> ApiKey | None:
    """A key by id, or None where it does not exist."""
    document = database.find(client, path(key_id))
    return None if document is None else decode(document.fields)


def put(client: firestore.Client, key: ApiKey) -> None:
    """Write a key, new or changed."""
    commit = database.Commit(client)
    commit.put(path(key.key_id), encode(key))
    commit.apply()
