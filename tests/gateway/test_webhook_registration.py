"""Registering a webhook endpoint more than once, deleting it, and what happened while it was off."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain.webhook_deliveries import WebhookDeliveryStatus, new_delivery
from shared.stores import database, webhook_deliveries, webhook_endpoints
from tests.gateway.conftest import Server
from tests.gateway.webhook_records import endpoint_id, put_webhook
from tests.gateway.world import World, address
from tests.repository.sources import ROOT

URL = "https://hooks.client.example/settlement"


def _ask(server: Server, name: str, key: str, **variables: Any) -> Mapping[str, Any]:
    operation = (ROOT / f"graphql/operations/{name}.graphql").read_text()
    (value,) = server.query(operation, variables, key=key).values()
    result: Mapping[str, Any] = value
    return result


def _register(server: Server, key: str, **fields: Any) -> Mapping[str, Any]:
    endpoint = {"url": URL, "clientKey": "hook-1"} | fields
    return _ask(server, "register_webhook_endpoint", key, endpoint=endpoint)


def _count(world: World) -> int:
    return len(list(world.client.collection(webhook_endpoints.COLLECTION).stream()))


def test_the_same_client_key_registers_one_endpoint_and_shows_its_secret_once(
    server: Server, world: World
) -> None:
    key = world.key()
    first = _register(server, key, accountIds=[address(1), address(2)])
    again = _register(server, key, accountIds=[address(2), address(1)])
    assert (first["__typename"], again["__typename"]) == (
        "WebhookEndpointRegistered",
        "WebhookEndpointRepeated",
    )
    assert again["endpoint"]["id"] == first["endpoint"]["id"]
    assert "whsec_" not in str(again)
    assert _count(world) == 1


def test_another_endpoint_under_the_same_client_key_is_refused(server: Server, world: World) -> None:
    key = world.key()
    _register(server, key)
    for fields in ({"url": URL + "/v2"}, {"accountIds": [address(1)]}, {"eventTypes": ["DVP_CREATED"]}):
        refused = _register(server, key, **fields)
        assert (refused["__typename"], refused["field"]) == ("WebhookRefused", "clientKey")
    assert _count(world) == 1


def test_client_keys_of_two_api_keys_are_not_the_same(server: Server, world: World) -> None:
    ids = {_register(server, world.key())["endpoint"]["id"] for _ in range(2)}
    assert len(ids) == _count(world) == 2


def test_many_at_once_register_one_endpoint(server: Server, world: World) -> None:
    key = world.key()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: _register(server, key), range(6)))
    names = sorted(answer["__typename"] for answer in answers)
    assert names == ["WebhookEndpointRegistered"] + ["WebhookEndpointRepeated"] * 5
    assert _count(world) == 1


def test_a_client_key_that_names_nothing_is_refused(server: Server, world: World) -> None:
    for nonsense in ("", "two words", "x" * 129):
        refused = _register(server, world.key(), clientKey=nonsense)
        assert (refused["__typename"], refused["field"]) == ("WebhookRefused", "clientKey")
    assert _count(world) == 0


def test_a_deleted_endpoint_is_gone_and_no_late_registration_brings_it_back(
    server: Server, world: World
) -> None:
    key = world.key()
    deleted = _register(server, key)["endpoint"]["id"]
    answer = _ask(server, "delete_webhook_endpoint", key, deletedEndpointId=deleted)
    assert answer == {"__typename": "WebhookEndpointDeleted", "id": deleted}
    assert _count(world) == 0
    assert _ask(server, "webhook_endpoints", key)["edges"] == []
    again = _ask(server, "delete_webhook_endpoint", key, deletedEndpointId=deleted)
    assert (again["field"], again["reason"]) == ("id", "names no webhook endpoint")
    late = _register(server, key)
    assert (late["field"], late["reason"]) == (
        "clientKey",
        "names an endpoint that was deleted: use a new one",
    )
    assert _register(server, key, clientKey="hook-2")["__typename"] == "WebhookEndpointRegistered"


def test_nobody_deletes_an_endpoint_that_it_may_not_see(server: Server, world: World) -> None:
    theirs = put_webhook(world, 2)
    refused = _ask(
        server, "delete_webhook_endpoint", world.key(accounts=[address(1)]), deletedEndpointId=theirs
    )
    assert refused["reason"] == "names no webhook endpoint"
    assert _count(world) == 1


def test_what_happened_while_an_endpoint_was_off_is_sent_once_its_owner_asks(
    server: Server, world: World
) -> None:
    key, now = world.key(), datetime.now(UTC)
    put_webhook(world, 1)
    off = _ask(server, "disable_webhook_endpoint", key, endpointId=endpoint_id(1))
    assert off["endpoint"]["state"] == "DISABLED"
    held = [
        replace(
            new_delivery(endpoint_id(1), f"held-{number}", "position_changed", b"{}", now),
            status=WebhookDeliveryStatus.FAILED,
            next_attempt_at=None,
            created_at=now + timedelta(seconds=number),
        )
        for number in range(3)
    ]
    commit = database.Commit(world.client)
    for each in held:
        commit.put(webhook_deliveries.path(each.delivery_id), webhook_deliveries.encode(each))
    commit.apply()

    _ask(server, "enable_webhook_endpoint", key, endpointId=endpoint_id(1))
    since = (now - timedelta(seconds=1)).isoformat()
    asked = _ask(server, "redeliver_failed_webhooks", key, endpointId=endpoint_id(1), since=since)

    assert (asked["count"], asked["remaining"]) == (3, False)
    found = webhook_deliveries.find_many(world.client, [each.delivery_id for each in held])
    assert {delivery.status for delivery, _ in found.values()} == {WebhookDeliveryStatus.PENDING}
    due = [found[each.delivery_id][0].next_attempt_at for each in held]
    assert due == sorted(due, key=lambda moment: moment or now)
