"""Who may see what: every root field and nested protected field, against every kind of key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphql import GraphQLObjectType
from websockets.exceptions import ConnectionClosed

from gateway.authentication import REMEMBERED_FOR_S
from gateway.schema import build_schema
from gateway.sessions import CHECK_INTERVAL_S
from shared.domain.api_keys import Scope
from tests.eventually import eventually
from tests.gateway.accesses import accesses
from tests.gateway.conftest import Server, running
from tests.gateway.escrow_records import put_dvp, put_escrow
from tests.gateway.lending_records import put_lending
from tests.gateway.webhook_records import put_webhook
from tests.gateway.world import ALL_SCOPES, TABLES_READ, World, address

OURS, THEIRS = 1, 2


FIELDS = [access.field for access in accesses(OURS)]


def ask(server: Server, query: str, key: str | None) -> dict[str, Any]:
    """The answer to a query, or the first message of a subscription, as a response."""
    if not query.startswith("subscription"):
        body: dict[str, Any] = server.post(query, key=key).json()
        return body
    with server.socket(init=False) as socket:
        socket.send({"type": "connection_init", "payload": {"apiKey": key} if key else None})
        try:
            assert socket.receive()["type"] == "connection_ack"
        except ConnectionClosed:
            code, reason = socket.closed()
            return {"errors": [{"message": reason, "extensions": {"code": code}}]}
        socket.subscribe("1", query)
        message = socket.receive()
        if message["type"] == "error":
            return {"errors": message["payload"]}
        assert message["type"] == "next"
        payload: dict[str, Any] = message["payload"]
        return payload


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    """One world for all tests: they make keys of their own; what else they change, no other looks at."""
    return module_world


@pytest.fixture(scope="module")
def filled(world: World) -> Iterator[Server]:
    """A gateway over two accounts that have one of everything."""
    world.project.provision_warehouse(*TABLES_READ)
    with running() as server:
        for number in (OURS, THEIRS):
            world.put_accounts(world.account(number))
            world.put_alerts(world.transition(number, 1))
            put_escrow(world, 500 + number, payer=number, payee=100 + number, arbiter=200 + number)
            put_dvp(world, 500 + number, seller=number, buyer=100 + number)
            world.put_delivery(number)
            world.put_command(number)
            put_webhook(world, number)
            # To be deleted.
            put_webhook(world, number + 1_000, accounts=frozenset((address(number),)))
            put_lending(world, number)
        world.announce_tick(world.tick(1))
        eventually(lambda: server.query("{ marks { sequence } }", key=world.key())["marks"])
        yield server


def test_the_matrix_covers_every_root_field() -> None:
    schema = build_schema()
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    offered = {
        f"{root.name}.{name}" for root in roots if isinstance(root, GraphQLObjectType) for name in root.fields
    }
    assert offered <= set(FIELDS)


def test_without_a_valid_key_nothing_is_answered(filled: Server, world: World) -> None:
    good = world.key()
    past = datetime.now(UTC) - timedelta(seconds=1)
    keys: Mapping[str, str | None] = {
        "none": None,
        "malformed": "fp_nonsense",
        "unknown": "fp_000000000000_" + "A" * 43,
        "wrong secret": good[:-43] + "A" * 43,
        "disabled": world.key(enabled=False),
        "expired": world.key(expires_at=past),
    }
    for kind, key in keys.items():
        for access in accesses(OURS):
            body = ask(filled, access.query, key)
            assert "data" not in body, (kind, access.field)
            assert body["errors"][0]["extensions"]["code"] in ("UNAUTHENTICATED", 4403), (kind, access.field)
            assert address(OURS) not in str(body), (kind, access.field)
        introspection = ask(filled, "{ __schema { queryType { name } } }", key)
        assert "data" not in introspection, kind


def test_each_field_needs_its_scopes_and_no_others(filled: Server, world: World) -> None:
    sufficient: dict[frozenset[Scope], str] = {}
    for access in accesses(OURS):
        key = sufficient.setdefault(access.scopes, world.key(access.scopes))
        assert "errors" not in ask(filled, access.query, key), access.field
        for missing in access.scopes:
            without = sufficient.setdefault(ALL_SCOPES - {missing}, world.key(ALL_SCOPES - {missing}))
            body = ask(filled, access.query, without)
            assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"], access.field
            assert body["errors"][0]["extensions"]["scope"] == missing.value, access.field
            data = body.get("data")
            assert data is None or set(data.values()) == {None}, access.field


@pytest.mark.parametrize("field", FIELDS)
def test_another_account_looks_like_one_that_does_not_exist(filled: Server, world: World, field: str) -> None:
    key = world.key(accounts=[address(OURS)])
    by_field = [{access.field: access for access in accesses(number)} for number in (OURS, THEIRS, 999)]
    ours, theirs, absent = (accesses_of[field] for accesses_of in by_field)
    if ours.needs_unrestricted_key:
        assert ask(filled, ours.query, key)["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        return
    seen = ask(filled, ours.query, key)
    assert "errors" not in seen
    hidden = ask(filled, theirs.query, key)
    assert address(THEIRS) not in str(hidden.get("data"))
    assert f"d{THEIRS}" not in str(hidden.get("data"))
    nonexistent = ask(filled, absent.query, key)
    as_absent = str(hidden).replace(address(THEIRS), address(999)).replace(address(502), address(1499))
    assert as_absent == str(nonexistent)


def test_lists_without_an_account_show_only_allowed_ones(filled: Server, world: World) -> None:
    key = world.key(accounts=[address(OURS)])
    body = filled.query(
        """{ accounts { edges { node { id } } } inState: accounts(state: WARNING) { edges { node { id } } }
        alerts { edges { node { accountId } } } deliveries { edges { node { recipientId } } }
        escrows { edges { node { payer } } }
        settlementCommands { edges { node { accountId } } }
        webhookEndpoints { edges { node { accountIds } } } }""",
        key=key,
    )
    assert address(THEIRS) not in str(body)
    assert str(body).count(address(OURS)) == 7
    everything = filled.query("{ accounts { edges { node { id } } } }", key=world.key())
    assert address(THEIRS) in str(everything)


def test_header_forms(filled: Server, world: World) -> None:
    key = world.key()
    query = "{ marks { sequence } }"
    for headers in ({"Authorization": f"bearer {key}"}, {"X-API-Key": key}):
        assert "errors" not in filled.post(query, key=None, headers=headers).json()
    for headers in ({"Authorization": f"Basic {key}"}, {"Authorization": key}):
        response = filled.post(query, key=None, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
    with filled.socket(init=False, additional_headers={"X-API-Key": key}) as socket:
        socket.send({"type": "connection_init"})
        assert socket.receive() == {"type": "connection_ack"}
    with filled.socket(init=False) as socket:
        socket.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {key}"}})
        assert socket.receive() == {"type": "connection_ack"}


def test_a_key_that_is_taken_away_ends_its_streams(filled: Server, world: World) -> None:
    assert REMEMBERED_FOR_S + CHECK_INTERVAL_S < 9
    changes: list[dict[str, Any]] = [{"enabled": False}, {"scopes": frozenset()}, {"accounts": frozenset()}]
    keys, other = [world.key() for _ in changes], world.key()
    subscription = f'subscription {{ marginHealth(accountIds: ["{address(OURS)}"]) {{ kind }} }}'
    with ExitStack() as streams:
        bystander, *sockets = (streams.enter_context(filled.socket(key)) for key in (other, *keys))
        for socket in (bystander, *sockets):
            socket.subscribe("1", subscription)
            assert socket.next("1") == {"kind": "SNAPSHOT"}
        sent = [streams.enter_context(filled.events(subscription, key=key)) for key in keys]
        for events in sent:
            assert next(events)["data"]["marginHealth"]["kind"] == "SNAPSHOT"
        for key, change in zip(keys, changes, strict=True):
            world.change_key(key, **change)
        for socket, events in zip(sockets, sent, strict=True):
            code, reason = socket.closed()
            assert code == 4403
            assert "key" in reason
            (error,) = next(events)["errors"]
            assert error["extensions"]["code"] == "UNAUTHENTICATED"
            assert next(events, None) is None
        latest = filled.query("{ marks { sequence } }", key=other)["marks"]["sequence"]
        world.announce_tick(world.tick(latest + 1))
        assert bystander.next("1") == {"kind": "UPDATE"}
    assert filled.post("{ marks { sequence } }", key=keys[0]).status_code == 401
