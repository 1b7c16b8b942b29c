"""``webhook_registrations``: which endpoint an API key registered under a key of the client's own.

They outlive their endpoints, so that a registration that comes late does not bring back one that was deleted,
and expire (``expirations`` in the manifest).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.cloud import firestore

from shared.stores import database

COLLECTION = "webhook_registrations"
KEPT_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Registration:
    """The endpoint that was registered, and the hash of what was asked for."""

    endpoint_id: str
    body_hash: str


def path(key_id: str, client_key: str) -> str:
    """The document of an API key's registration under a client's key."""
    return f"{COLLECTION}/{hashlib.sha256(f'{key_id} {client_key}'.encode()).hexdigest()}"


def encode(registration: Registration, now: datetime) -> dict[str, Any]:
    """The document's fields."""
    return {
        "endpoint_id": registration.endpoint_id,
        "body_hash": registration.body_hash,
        "expires_at": now + KEPT_FOR,
    }


def find(client: firestore.Client, key_id: str, client_key: str) -> Registration | None:
    """What was registered under a client's key; None where nothing was."""
    document = database.find(client, path(key_id, client_key))
    if document is None:
        return None
    return Registration(document.fields["endpoint_id"], document.fields["body_hash"])
