"""``webhook_endpoints``: where clients receive settlement events.

The secrets must be known to sign with, so they are kept as they are, like those of ``contacts``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.webhooks import EndpointState, PreviousSecret, WebhookEndpoint, WebhookEventType
from shared.stores import database

COLLECTION = "webhook_endpoints"
_ALL = "*"


def path(endpoint_id: str) -> str:
    """The document of an endpoint."""
    return f"{COLLECTION}/{endpoint_id}"


def encode(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """The document's fields. ``accounts`` holds ``*`` for every account, so that one query finds both."""
    previous = endpoint.previous_secret
    return {
        "endpoint_id": endpoint.endpoint_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "accounts": [_ALL] if endpoint.accounts is None else sorted(endpoint.accounts),
        "event_types": sorted(each.value for each in endpoint.event_types),
        "state": endpoint.state.value,
        "reason": endpoint.reason,
        "secret": endpoint.secret,
        "previous_secret": None
        if previous is None
        else {"secret": previous.secret, "expires_at": previous.expires_at},
        "failing_since": endpoint.failing_since,
        "created_at": endpoint.created_at,
        "off_since": endpoint.off_since,
        "final_only": endpoint.final_only,
    }


def decode(fields: Mapping[str, Any]) -> WebhookEndpoint:
    """The endpoint of a document's fields."""
    previous = fields["previous_secret"]
    return WebhookEndpoint(
        endpoint_id=fields["endpoint_id"],
        url=fields["url"],
        description=fields["description"],
        accounts=None if fields["accounts"] == [_ALL] else frozenset(fields["accounts"]),
        event_types=frozenset(map(WebhookEventType, fields["event_types"])),
        state=EndpointState(fields["state"]),
        reason=fields["reason"],
        secret=fields["secret"],
        previous_secret=None
        if previous is None
        else PreviousSecret(previous["secret"], previous["expires_at"]),
        failing_since=fields["failing_since"],
        created_at=fields["created_at"],
        # Endpoints that were written before these were kept have none.
        off_since=fields.get("off_since"),
        final_only=fields.get("final_only", False),
    )


def find(client: firestore.Client, endpoint_id: str) -> tuple[WebhookEndpoint, Any] | None:
    """An endpoint, with what a later replacement is conditioned on; None where it does not exist."""
    document = database.find(client, path(endpoint_id))
    return None if document is None else (decode(document.fields), document.read_at)


def find_many(
    client: firestore.Client, endpoint_ids: Iterable[str]
) -> dict[str, tuple[WebhookEndpoint, Any]]:
    """The endpoints that exist, by id, with what a later replacement is conditioned on."""
    documents = database.find_all(client, map(path, endpoint_ids))
    return {document.id: (decode(document.fields), document.read_at) for document in documents.values()}


def has_any(client: firestore.Client) -> bool:
    """Whether anybody has ever registered one."""
    return bool(database.query(client.collection(COLLECTION).limit(1)))


def list_concerned(client: firestore.Client, account_ids: Iterable[str]) -> list[WebhookEndpoint]:
    """Every endpoint of one of these accounts, and those of every account, in order of id."""
    statement = client.collection(COLLECTION)
    documents = database.query_among(
        statement, "accounts", {_ALL, *account_ids}, operator="array_contains_any"
    )
    found = [decode(document.fields) for document in documents]
    return sorted(found, key=lambda endpoint: endpoint.endpoint_id)


def list_page(
    client: firestore.Client,
    *,
    account_ids: Iterable[str] | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[WebhookEndpoint]:
    """Up to ``limit`` endpoints, the last created first, from the one behind ``before`` (created_at, id).

    ``account_ids`` restricts them to those that are told of nothing but these accounts; None means all.
    """
    allowed = None if account_ids is None else frozenset(account_ids)
    found: list[WebhookEndpoint] = []
    while len(found) < limit:
        statement = database.newest_first(client, COLLECTION, "created_at", before=before, limit=limit)
        documents = database.query_among(statement, "accounts", allowed, operator="array_contains_any")
        documents.sort(key=lambda document: (document.fields["created_at"], document.id), reverse=True)
        page = documents[:limit]
        decoded = [decode(document.fields) for document in page]
        found += [
            endpoint
            for endpoint in decoded
            if allowed is None or (endpoint.accounts is not None and endpoint.accounts <= allowed)
        ]
        if len(page) < limit:
            break
        before = (page[-1].fields["created_at"], page[-1].id)
    return found[:limit]
