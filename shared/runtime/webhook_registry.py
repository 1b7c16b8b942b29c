"""Registering webhook endpoints, changing them, and asking for deliveries again, on behalf of an API key.

What a key may not see is refused like what does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.config import Settings
from shared.domain.api_keys import ApiKey
from shared.domain.webhook_deliveries import (
    CLAIM,
    WebhookDelivery,
    WebhookDeliveryStatus,
    is_delivery_id,
    is_endpoint_id,
)
from shared.domain.webhooks import (
    SECRET_BYTES,
    EndpointState,
    WebhookEndpoint,
    WebhookEventType,
    WebhookRefusedError,
    check_client_key,
    check_description,
    check_url,
    format_secret,
    registration_hash,
    scope_of,
    sees_endpoint,
)
from shared.errors import ConflictError
from shared.runtime import clock
from shared.stores import database, webhook_deliveries, webhook_endpoints, webhook_registrations

REDELIVERIES_AT_ONCE = 400
"""How many failed deliveries one request asks for again: what one commit holds."""

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Registered:
    """An endpoint, and whether it had been registered before under the same client key."""

    endpoint: WebhookEndpoint
    repeated: bool


@dataclass(frozen=True, slots=True)
class EndpointChange:
    """What is to be changed of an endpoint; None leaves a field as it is."""

    url: str | None
    description: str | None
    event_types: frozenset[WebhookEventType] | None


def register(
    settings: Settings,
    key: ApiKey,
    *,
    url: str,
    description: str,
    account_ids: Sequence[str],
    event_types: frozenset[WebhookEventType],
    final_only: bool,
    client_key: str | None,
    now: datetime,
) -> Registered:
    """A new endpoint, with its secret. The key must see the accounts; without any they are the key's own.

    The same again under the same ``client_key``, which belongs to the API key, is the same endpoint.

    Raises:
        WebhookRefusedError: naming the field to blame.
        RetryableError: Firestore failed; sent again without a client key it may register a second one.
    """
    check_url(url, local=settings.environment.emulated)
    check_description(description)
    client = database.connect(settings)
    body_hash = registration_hash(url, description, account_ids, event_types, final_only=final_only)
    if client_key is not None:
        check_client_key(client_key)
        known = _find_registered(client, key, client_key, body_hash)
        if known is not None:
            return Registered(known, repeated=True)
    endpoint = WebhookEndpoint(
        endpoint_id=f"whe_{clock.new_id()}",
        url=url,
        description=description,
        accounts=scope_of(key, account_ids),
        event_types=event_types,
        state=EndpointState.ENABLED,
        reason=None,
        secret=format_secret(clock.random_bytes(SECRET_BYTES)),
        previous_secret=None,
        failing_since=None,
        created_at=now,
        final_only=final_only,
    )
    commit = database.Commit(client)
    commit.create(webhook_endpoints.path(endpoint.endpoint_id), webhook_endpoints.encode(endpoint))
    if client_key is not None:
        registration = webhook_registrations.Registration(endpoint.endpoint_id, body_hash)
        path = webhook_registrations.path(key.key_id, client_key)
        commit.create(path, webhook_registrations.encode(registration, now))
    try:
        commit.apply()
    except ConflictError:
        # The same client key came twice at once.
        known = None if client_key is None else _find_registered(client, key, client_key, body_hash)
        if known is None:
            raise
        return Registered(known, repeated=True)
    return Registered(endpoint, repeated=False)


def _find_registered(
    client: database.Client, key: ApiKey, client_key: str, body_hash: str
) -> WebhookEndpoint | None:
    """The endpoint that a client's key names already."""
    registration = webhook_registrations.find(client, key.key_id, client_key)
    if registration is None:
        return None
    if registration.body_hash != body_hash:
        raise WebhookRefusedError("clientKey", "already names another registration: use a new one")
    found = webhook_endpoints.find(client, registration.endpoint_id)
    if found is None or not sees_endpoint(key, found[0]):
        raise WebhookRefusedError("clientKey", "names an endpoint that was deleted: use a new one")
    return found[0]


def delete(settings: Settings, key: ApiKey, endpoint_id: str) -> None:
    """Forget an endpoint and its secrets. What is on its way is given up; its log is kept until it expires.

    Raises:
        WebhookRefusedError: there is none of this id.
        RetryableError: Firestore failed; the same may be sent again.
    """
    client = database.connect(settings)
    _find(client, key, endpoint_id)
    commit = database.Commit(client)
    commit.delete(webhook_endpoints.path(endpoint_id))
    commit.apply()


def change(settings: Settings, key: ApiKey, endpoint_id: str, wanted: EndpointChange) -> WebhookEndpoint:
    """The endpoint with another address, description or choice of events.

    Raises:
        WebhookRefusedError: naming the field to blame.
        RetryableError: Firestore failed; the same may be sent again.
    """
    if wanted.url is not None:
        check_url(wanted.url, local=settings.environment.emulated)
    if wanted.description is not None:
        check_description(wanted.description)

    def changed(endpoint: WebhookEndpoint) -> WebhookEndpoint:
        return replace(
            endpoint,
            url=endpoint.url if wanted.url is None else wanted.url,
            description=endpoint.description if wanted.description is None else wanted.description,
            event_types=endpoint.event_types if wanted.event_types is None else wanted.event_types,
        )

    return _rewrite(settings, key, endpoint_id, changed)


def switch(settings: Settings, key: ApiKey, endpoint_id: str, *, on: bool, now: datetime) -> WebhookEndpoint:
    """The endpoint enabled, whatever had switched it off, or disabled.

    Raises:
        WebhookRefusedError: there is none of this id.
        RetryableError: Firestore failed; the same may be sent again.
    """
    return _rewrite(settings, key, endpoint_id, lambda endpoint: endpoint.switched(now, on=on))


def rotate(
    settings: Settings, key: ApiKey, endpoint_id: str, *, overlap_s: int, now: datetime
) -> WebhookEndpoint:
    """The endpoint with a new secret; the one before still signs for ``overlap_s``.

    Raises:
        WebhookRefusedError: there is none of this id, or the overlap is too long.
        RetryableError: Firestore failed; sent again it may rotate twice.
    """
    secret = format_secret(clock.random_bytes(SECRET_BYTES))
    overlap = timedelta(seconds=overlap_s)
    return _rewrite(settings, key, endpoint_id, lambda endpoint: endpoint.rotated(secret, now, overlap))


def redeliver(settings: Settings, key: ApiKey, delivery_id: str, *, now: datetime) -> WebhookDelivery:
    """Have a delivery tried again now, whatever became of it, under the same webhook id.

    Raises:
        WebhookRefusedError: there is none of this id, it is on its way, or its endpoint is not enabled.
        RetryableError: Firestore failed; the same may be sent again.
    """
    client = database.connect(settings)
    found = webhook_deliveries.find_many(client, [delivery_id]) if is_delivery_id(delivery_id) else {}
    absent = WebhookRefusedError("id", "names no delivery")
    if delivery_id not in found:
        raise absent
    delivery, read_at = found[delivery_id]
    stored = webhook_endpoints.find(client, delivery.endpoint_id)
    if stored is None or not sees_endpoint(key, stored[0]):
        raise absent
    _check_enabled(stored[0])
    due = delivery.next_attempt_at
    if delivery.status is WebhookDeliveryStatus.PENDING and due is not None and due <= now + CLAIM:
        raise WebhookRefusedError("id", "names a delivery that is on its way")
    again = delivery.asked_again(now)
    commit = database.Commit(client)
    commit.replace(
        webhook_deliveries.path(delivery_id), webhook_deliveries.encode_plan(again), read_at=read_at
    )
    commit.apply()
    return again


def redeliver_failed(
    settings: Settings, key: ApiKey, endpoint_id: str, *, since: datetime, now: datetime
) -> tuple[int, bool]:
    """Have what failed for good since a moment tried again, the newest first; how many, and whether more
    remain.

    Raises:
        WebhookRefusedError: there is no endpoint of this id, or it is not enabled.
        RetryableError: Firestore failed; the same may be sent again.
    """
    client = database.connect(settings)
    endpoint, _ = _find(client, key, endpoint_id, field="endpointId")
    _check_enabled(endpoint, field="endpointId")
    failed = webhook_deliveries.list_failed(
        client, endpoint_id=endpoint_id, since=since, limit=REDELIVERIES_AT_ONCE + 1
    )
    commit = database.Commit(client)
    for place, (delivery, read_at) in enumerate(reversed(failed[:REDELIVERIES_AT_ONCE])):
        # In the order in which they were created.
        again = delivery.asked_again(now + place * timedelta(microseconds=1))
        path = webhook_deliveries.path(delivery.delivery_id)
        commit.replace(path, webhook_deliveries.encode_plan(again), read_at=read_at)
    commit.apply()
    return len(commit), len(failed) > REDELIVERIES_AT_ONCE


def _check_enabled(endpoint: WebhookEndpoint, *, field: str = "id") -> None:
    if not endpoint.enabled:
        raise WebhookRefusedError(field, f"names an endpoint that is {endpoint.state}: enable it first")


def _find(
    client: database.Client, key: ApiKey, endpoint_id: str, *, field: str = "id"
) -> tuple[WebhookEndpoint, Any]:
    found = webhook_endpoints.find(client, endpoint_id) if is_endpoint_id(endpoint_id) else None
    if found is None or not sees_endpoint(key, found[0]):
        raise WebhookRefusedError(field, "names no webhook endpoint")
    return found


def _rewrite(
    settings: Settings,
    key: ApiKey,
    endpoint_id: str,
    changed: Callable[[WebhookEndpoint], WebhookEndpoint],
) -> WebhookEndpoint:
    client = database.connect(settings)
    for remaining in reversed(range(_ATTEMPTS)):
        before, read_at = _find(client, key, endpoint_id)
        after = changed(before)
        if after == before:
            return after
        commit = database.Commit(client)
        commit.replace(webhook_endpoints.path(endpoint_id), webhook_endpoints.encode(after), read_at=read_at)
        try:
            commit.apply()
        except ConflictError:
            # Whoever sends may have noted a failure meanwhile: decide again on that.
            if remaining == 0:
                raise
        else:
            return after
    raise AssertionError("the last attempt returns or raises")
