"""``contacts``: how each account's people and systems, and the operators, are reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.cloud import firestore

from shared.stores import database

COLLECTION = "contacts"
OPERATIONS = "operations"


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where signed webhooks go. ``secret`` is a Standard Webhooks secret (``whsec_…``)."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contact:
    """How one recipient (an account, or the operators) is reached; a channel left out is not used."""

    recipient_id: str
    email: str | None
    webhook: WebhookEndpoint | None


def path(recipient_id: str) -> str:
    """The document of a recipient."""
    return f"{COLLECTION}/{recipient_id}"


def encode(contact: Contact) -> dict[str, Any]:
    """The document's fields."""
    webhook = contact.webhook
    return {
        "recipient_id": contact.recipient_id,
        "email": contact.email,
        "webhook": None if webhook is None else {"url": webhook.url, "secret": webhook.secret},
    }


def decode(fields: Mapping[str, Any]) -> Contact:
    """The contact of a document's fields."""
    webhook = fields["webhook"]
    return Contact(
        recipient_id=fields["recipient_id"],
        email=fields["email"],
        webhook=None if webhook is None else WebhookEndpoint(webhook["url"], webhook["secret"]),
    )


def find(client: firestore.Client, recipient_id: str) -> Contact | None:
    """The contact of a recipient, or None where there is none."""
    document = database.find(client, path(recipient_id))
    return None if document is None else decode(document.fields)
