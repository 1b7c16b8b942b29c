"""Webhook endpoints through GraphQL: registered, changed, switched, rotated; deliveries asked for again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.domain.webhook_deliveries import WebhookAttempt, WebhookDelivery, WebhookDeliveryStatus
from shared.domain.webhooks import EndpointState
from shared.stores import database, webhook_deliveries, webhook_endpoints
from tests.gateway.conftest import Server
from tests.gateway.webhook_records import put_webhook, webhook_delivery, webhook_endpoint
from tests.gateway.world import World, address
from tests.repository.sources import ROOT

URL = "https://hooks.client.example/settlement"


def _operation(name: str) -> str:
    return (ROOT / f"graphql/operations/{name}.graphql").read_text()


def _ask(server: Server, name: str, key: str, **variables: Any) -> Mapping[str, Any]:
    (value,) = server.query(_operation(name), variables, key=key).values()
    result: Mapping[str, Any] = value
    return result


def _register(server: Server, key: str, **fields: Any) -> Mapping[str, Any]:
    return _ask(server, "register_webhook_endpoint", key, endpoint={"url": URL} | fields)


def _failed(world: World, number: int, created_at: datetime, **changes: Any) -> WebhookDelivery:
    """Write a delivery to the endpoint of put_webhook that failed for good."""
    delivery = replace(
        webhook_delivery(world, 1),
        delivery_id=f"whd_{number:040x}",
        status=WebhookDeliveryStatus.FAILED,
        next_attempt_at=None,
        tries=10,
        attempts=(WebhookAttempt(created_at, 500, 7, "the endpoint answered HTTP 500", "oops"),),
        attempt_count=10,
        error="the endpoint answered HTTP 500",
        created_at=created_at,
        **changes,
    )
    commit = database.Commit(world.client)
    commit.put(webhook_deliveries.path(delivery.delivery_id), webhook_deliveries.encode(delivery))
    commit.apply()
    return delivery


def _stored(world: World, delivery: WebhookDelivery) -> WebhookDelivery:
    return webhook_deliveries.find_many(world.client, [delivery.delivery_id])[delivery.delivery_id][0]


def test_a_secret_is_shown_when_it_is_made_and_never_again(server: Server, world: World) -> None:
    key = world.key()
    registered = _register(server, key, accountIds=[address(1)], eventTypes=["ESCROW_CREATED"])
    assert registered["__typename"] == "WebhookEndpointRegistered"
    endpoint_id, first = registered["endpoint"]["id"], registered["secret"]
    assert first.startswith("whsec_")
    assert registered["endpoint"]["accountIds"] == [address(1)]

    rotated = _ask(server, "rotate_webhook_secret", key, endpointId=endpoint_id, overlapS=3600)
    second = rotated["secret"]
    assert second != first
    assert rotated["endpoint"]["previousSecretExpiresAt"] is not None

    found = webhook_endpoints.find(world.client, endpoint_id)
    assert found is not None
    assert found[0].signing_secrets(datetime.now(UTC)) == (second, first)
    answers = [
        _ask(server, "webhook_endpoint", key, endpointId=endpoint_id),
        _ask(server, "webhook_endpoints", key),
        _ask(server, "update_webhook_endpoint", key, endpointId=endpoint_id, change={"description": "d"}),
        _ask(server, "disable_webhook_endpoint", key, endpointId=endpoint_id),
    ]
    assert "whsec_" not in str(answers)


def test_without_names_an_endpoint_is_told_of_what_the_key_may_see(server: Server, world: World) -> None:
    restricted = world.key(accounts=[address(1), address(2)])
    assert _register(server, restricted)["endpoint"]["accountIds"] == [address(1), address(2)]
    assert _register(server, world.key())["endpoint"]["accountIds"] is None


def test_an_endpoint_of_final_events_stays_one(server: Server, world: World) -> None:
    key = world.key()
    registered = _register(server, key, finalOnly=True)["endpoint"]
    assert registered["finalOnly"] is True
    _ask(server, "update_webhook_endpoint", key, endpointId=registered["id"], change={"description": "d"})
    assert _ask(server, "webhook_endpoint", key, endpointId=registered["id"])["finalOnly"] is True
    found = webhook_endpoints.find(world.client, registered["id"])
    assert found is not None
    assert (found[0].final_only, found[0].description) == (True, "d")
    assert _register(server, key)["endpoint"]["finalOnly"] is False


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"url": "ftp://hooks.client.example/"}, "url"),
        ({"url": "https://user:secret@hooks.client.example/"}, "url"),
        ({"url": "https://hooks.client.example/#x"}, "url"),
        ({"url": ""}, "url"),
        ({"description": "x" * 501}, "description"),
    ],
)
def test_what_cannot_be_registered_is_refused_by_field(
    server: Server, world: World, fields: dict[str, Any], field: str
) -> None:
    refused = _register(server, world.key(), **fields)
    assert (refused["__typename"], refused["field"]) == ("WebhookRefused", field)
    assert list(world.client.collection(webhook_endpoints.COLLECTION).stream()) == []


def test_an_endpoint_is_changed_and_switched_and_keeps_what_is_left_out(server: Server, world: World) -> None:
    key = world.key()
    endpoint_id = put_webhook(world, 1)
    change = {"url": URL + "/v2", "eventTypes": ["DVP_SETTLED", "DVP_CREATED"]}
    changed = _ask(server, "update_webhook_endpoint", key, endpointId=endpoint_id, change=change)["endpoint"]
    assert (changed["url"], changed["description"]) == (URL + "/v2", "endpoint 1")
    assert changed["eventTypes"] == ["DVP_CREATED", "DVP_SETTLED"]
    cleared = _ask(server, "update_webhook_endpoint", key, endpointId=endpoint_id, change={"eventTypes": []})
    assert (cleared["endpoint"]["url"], cleared["endpoint"]["eventTypes"]) == (URL + "/v2", [])
    for _ in range(2):
        off = _ask(server, "disable_webhook_endpoint", key, endpointId=endpoint_id)["endpoint"]
        assert (off["state"], off["stateReason"]) == ("DISABLED", "disabled by its owner")
    for _ in range(2):
        on = _ask(server, "enable_webhook_endpoint", key, endpointId=endpoint_id)["endpoint"]
        assert (on["state"], on["stateReason"]) == ("ENABLED", None)


def test_who_was_switched_off_sees_why_and_switches_on(server: Server, world: World) -> None:
    key = world.key(accounts=[address(1)])
    endpoint_id = put_webhook(world, 1, state=EndpointState.GONE, reason="it answered 410 Gone at noon")
    seen = _ask(server, "webhook_endpoint", key, endpointId=endpoint_id)
    assert (seen["state"], seen["stateReason"]) == ("GONE", "it answered 410 Gone at noon")
    on = _ask(server, "enable_webhook_endpoint", key, endpointId=endpoint_id)
    assert on["endpoint"]["state"] == "ENABLED"


def test_an_overlap_that_is_too_long_rotates_nothing(server: Server, world: World) -> None:
    endpoint_id = put_webhook(world, 1)
    refused = _ask(server, "rotate_webhook_secret", world.key(), endpointId=endpoint_id, overlapS=10**6)
    assert (refused["__typename"], refused["field"]) == ("WebhookRefused", "overlapS")
    found = webhook_endpoints.find(world.client, endpoint_id)
    assert found is not None
    assert found[0].previous_secret is None


def test_one_delivery_is_asked_for_again_with_its_log_and_id(server: Server, world: World) -> None:
    key = world.key(accounts=[address(1)])
    put_webhook(world, 1)
    failed = _failed(world, 5, world.now)
    shown = _ask(server, "webhook_delivery", key, deliveryId=failed.delivery_id)
    assert (shown["status"], shown["attemptCount"]) == ("FAILED", 10)
    (attempt,) = shown["attempts"]
    assert (attempt["status"], attempt["latencyMs"], attempt["excerpt"]) == (500, 7, "oops")

    again = _ask(server, "redeliver_webhook", key, deliveryId=failed.delivery_id)
    assert again["delivery"]["status"] == "PENDING"
    assert again["delivery"]["webhookId"] == failed.webhook_id
    stored = _stored(world, failed)
    assert (stored.tries, stored.attempt_count, len(stored.attempts)) == (0, 10, 1)

    twice = _ask(server, "redeliver_webhook", key, deliveryId=failed.delivery_id)
    assert (twice["__typename"], twice["reason"]) == ("WebhookRefused", "names a delivery that is on its way")


def test_what_waits_for_its_next_attempt_can_be_had_at_once(server: Server, world: World) -> None:
    put_webhook(world, 1)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    waiting = replace(webhook_delivery(world, 1), next_attempt_at=tomorrow, tries=9)
    commit = database.Commit(world.client)
    commit.put(webhook_deliveries.path(waiting.delivery_id), webhook_deliveries.encode(waiting))
    commit.apply()
    again = _ask(server, "redeliver_webhook", world.key(), deliveryId=waiting.delivery_id)
    assert again["__typename"] == "WebhookRedelivered"
    stored = _stored(world, waiting)
    assert stored.next_attempt_at is not None
    assert stored.next_attempt_at < tomorrow


def test_all_that_failed_since_a_moment_is_asked_for_again_in_order(server: Server, world: World) -> None:
    put_webhook(world, 1)
    moments = [world.now - timedelta(hours=hours) for hours in (5, 3, 1)]
    old, middle, new = (_failed(world, number, moment) for number, moment in enumerate(moments, start=10))
    done = _failed(world, 20, world.now)
    world.client.document(webhook_deliveries.path(done.delivery_id)).update({"status": "delivered"})

    since = (world.now - timedelta(hours=4)).isoformat()
    asked = _ask(server, "redeliver_failed_webhooks", world.key(), endpointId=old.endpoint_id, since=since)

    assert (asked["count"], asked["remaining"]) == (2, False)
    assert _stored(world, old).status is WebhookDeliveryStatus.FAILED
    assert _stored(world, done).status is WebhookDeliveryStatus.DELIVERED
    first, second = (_stored(world, each).next_attempt_at for each in (middle, new))
    assert first is not None
    assert second is not None
    assert first < second


def test_nothing_is_asked_for_again_while_the_endpoint_is_off(server: Server, world: World) -> None:
    endpoint_id = put_webhook(world, 1, state=EndpointState.DISABLED)
    failed = _failed(world, 5, world.now)
    since = (world.now - timedelta(days=1)).isoformat()
    key = world.key()
    answers = [
        _ask(server, "redeliver_webhook", key, deliveryId=failed.delivery_id),
        _ask(server, "redeliver_failed_webhooks", key, endpointId=endpoint_id, since=since),
    ]
    assert {answer["reason"] for answer in answers} == {"names an endpoint that is disabled: enable it first"}
    assert _stored(world, failed).status is WebhookDeliveryStatus.FAILED


def test_deliveries_and_endpoints_are_paged_the_newest_first(server: Server, world: World) -> None:
    for number in (1, 2, 3):
        put_webhook(world, number, created_at=world.now + timedelta(seconds=number))
    put_webhook(world, 4, accounts=frozenset((address(1), address(9))))
    for number in range(5):
        _failed(world, 100 + number, world.now + timedelta(seconds=number))
    key = world.key(accounts=[address(1), address(3)])

    def ids(name: str, **variables: Any) -> list[str]:
        found: list[str] = []
        after = None
        while True:
            page = _ask(server, name, key, first=2, after=after, **variables)
            found += [edge["node"]["id"] for edge in page["edges"]]
            if not page["pageInfo"]["hasNextPage"]:
                return found
            after = page["pageInfo"]["endCursor"]

    endpoint = webhook_endpoint(world, 1).endpoint_id
    assert ids("webhook_endpoints") == [webhook_endpoint(world, 3).endpoint_id, endpoint]
    failed = ids("webhook_deliveries", endpointId=endpoint, status="FAILED")
    assert failed == [f"whd_{number:040x}" for number in (104, 103, 102, 101, 100)]
    assert len(ids("webhook_deliveries", endpointId=endpoint)) == 6
    assert ids("webhook_deliveries", endpointId=webhook_endpoint(world, 2).endpoint_id) == []


@pytest.mark.parametrize("nonsense", ["", "a/b", "whe_" + "g" * 32, "x" * 5_000])
def test_an_id_that_no_document_can_have_is_not_found(server: Server, world: World, nonsense: str) -> None:
    key = world.key()
    assert _operation("webhook_endpoint")
    for name, variable in (("webhook_endpoint", "endpointId"), ("webhook_delivery", "deliveryId")):
        assert server.query(_operation(name), {variable: nonsense}, key=key) in (
            {"webhookEndpoint": None},
            {"webhookDelivery": None},
        )
    refused = _ask(server, "enable_webhook_endpoint", key, endpointId=nonsense)
    assert (refused["field"], refused["reason"]) == ("id", "names no webhook endpoint")


def test_a_key_changes_nothing_of_an_endpoint_that_it_may_not_see(server: Server, world: World) -> None:
    key = world.key(accounts=[address(1)])
    theirs = put_webhook(world, 2)
    shared = put_webhook(world, 1, accounts=frozenset((address(1), address(2))))
    delivery = webhook_delivery(world, 2)
    documents = [
        *(webhook_endpoints.path(each) for each in (theirs, shared)),
        webhook_deliveries.path(delivery.delivery_id),
    ]
    before = [world.client.document(path).get().to_dict() for path in documents]
    for endpoint_id in (theirs, shared):
        known = {"endpointId": endpoint_id}
        answers = [
            _ask(server, "update_webhook_endpoint", key, **known, change={"url": URL}),
            _ask(server, "enable_webhook_endpoint", key, **known),
            _ask(server, "disable_webhook_endpoint", key, **known),
            _ask(server, "rotate_webhook_secret", key, **known, overlapS=0),
            _ask(server, "redeliver_failed_webhooks", key, **known, since="2026-01-01T00:00:00Z"),
        ]
        assert {answer["reason"] for answer in answers} == {"names no webhook endpoint"}
    refused = _ask(server, "redeliver_webhook", key, deliveryId=delivery.delivery_id)
    assert refused["reason"] == "names no delivery"
    assert [world.client.document(path).get().to_dict() for path in documents] == before
