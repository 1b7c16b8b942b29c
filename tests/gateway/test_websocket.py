"""The graphql-transport-ws protocol, kept by us and broken by clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.limits import Limits
from gateway.transports.websocket import close_reason
from tests.conftest import Project
from tests.gateway.conftest import Server, running
from tests.gateway.world import World, address

MARKS = "subscription { marks { sequence } }"
SUBSCRIBE = {"id": "1", "type": "subscribe", "payload": {"query": MARKS}}


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    """One world for all tests: what they say to the gateway changes nothing in it."""
    return module_world


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Server]:
    """One gateway for all tests."""
    with running() as started:
        yield started


def test_a_query_is_answered_once(server: Server, world: World) -> None:
    with server.socket(world.key()) as socket:
        socket.subscribe("q", "{ __typename }")
        assert socket.receive() == {"id": "q", "type": "next", "payload": {"data": {"__typename": "Query"}}}
        assert socket.receive() == {"id": "q", "type": "complete"}
        socket.subscribe("q", "{ __typename }")
        assert socket.receive()["type"] == "next"


def test_ping_is_answered_and_pong_is_not(server: Server) -> None:
    with server.socket(init=False) as socket:
        for message in ({"type": "pong"}, {"type": "pong", "payload": None}, {"type": "ping", "payload": {}}):
            socket.send(message)
        assert socket.receive() == {"type": "pong"}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("nonsense", 4400),
        ("[]", 4400),
        ("null", 4400),
        ('"text"', 4400),
        (b"\x00\x01", 4400),
        ("{}", 4400),
        ({"type": 7}, 4400),
        ({"type": "start"}, 4400),
        ({"type": "x" * 500}, 4400),
        ({"type": "ping", "payload": []}, 4400),
        ({"type": "connection_init", "payload": "key"}, 4400),
        ({"type": "connection_init", "payload": {}}, 4403),
        ({"type": "connection_init", "payload": None}, 4403),
        ({"type": "connection_init", "payload": {"apiKey": 7}}, 4403),
        (SUBSCRIBE, 4401),
        ({"id": 7, "type": "complete"}, 4400),
    ],
)
def test_before_the_key_a_wrong_message_ends_the_connection(server: Server, message: Any, code: int) -> None:
    with server.socket(init=False) as socket:
        socket.send(message)
        closed, reason = socket.closed()
        assert closed == code, reason
        assert reason
        assert len(reason.encode()) <= 123


@pytest.mark.parametrize(
    ("message", "code", "named"),
    [
        ({"type": "connection_init"}, 4429, "initialisation"),
        ({"type": "subscribe", "payload": {"query": MARKS}}, 4400, "id"),
        ({"id": 1, "type": "subscribe", "payload": {"query": MARKS}}, 4400, "id"),
        ({"id": "", "type": "subscribe", "payload": {"query": MARKS}}, 4400, "id"),
        ({"id": "x" * 257, "type": "subscribe", "payload": {"query": MARKS}}, 4400, "id"),
        ({"id": "1", "type": "subscribe"}, 4400, "payload"),
        ({"id": "1", "type": "subscribe", "payload": None}, 4400, "payload"),
        ({"id": "1", "type": "subscribe", "payload": {}}, 4400, "query"),
        ({"id": "1", "type": "subscribe", "payload": {"query": 1}}, 4400, "query"),
        ({"id": "1", "type": "subscribe", "payload": {"query": MARKS, "variables": []}}, 4400, "variables"),
        (
            {"id": "1", "type": "subscribe", "payload": {"query": MARKS, "operationName": 1}},
            4400,
            "operation",
        ),
        ({"type": "complete"}, 4400, "id"),
        ("{", 4400, "JSON"),
    ],
)
def test_with_a_key_a_wrong_message_ends_the_connection(
    server: Server, world: World, message: Any, code: int, named: str
) -> None:
    with server.socket(world.key()) as socket:
        socket.send(message)
        closed, reason = socket.closed()
        assert closed == code
        assert named in reason


def test_an_identifier_in_use_is_refused(server: Server, world: World) -> None:
    world.put_tick(world.tick(1))
    world.announce_tick(world.tick(1))
    with server.socket(world.key()) as socket:
        identifier = "i" * 200
        for _ in range(2):
            socket.send({**SUBSCRIBE, "id": identifier})
        code, reason = socket.closed()
        assert code == 4409
        assert "Subscriber for iii" in reason


def test_errors_of_an_operation_leave_the_connection(server: Server, world: World) -> None:
    with server.socket(world.key()) as socket:
        for query, variables, code in (
            ("{", None, "GRAPHQL_PARSE_FAILED"),
            ("{ nonsense }", None, "GRAPHQL_VALIDATION_FAILED"),
            ("query A { __typename } query B { __typename }", None, "BAD_USER_INPUT"),
            (
                "subscription { a: marks { sequence } b: marks { sequence } }",
                None,
                "GRAPHQL_VALIDATION_FAILED",
            ),
            (
                "subscription($ids: [ID!]!) { marginHealth(accountIds: $ids) { kind } }",
                {"ids": None},
                "BAD_USER_INPUT",
            ),
            (
                "subscription($ids: [ID!]!) { marginHealth(accountIds: $ids) { kind } }",
                {"ids": []},
                "BAD_USER_INPUT",
            ),
            (
                "subscription($ids: [ID!]!) { marginHealth(accountIds: $ids) { kind } }",
                {"ids": [address(404)]},
                "NOT_FOUND",
            ),
        ):
            socket.subscribe("1", query, variables)
            message = socket.receive()
            assert (message["type"], message["id"]) == ("error", "1"), query
            assert message["payload"][0]["extensions"]["code"] == code, query
        socket.send({"id": "1", "type": "subscribe", "payload": {"query": "{ a }", "operationName": "X"}})
        assert socket.receive()["type"] == "error"
        socket.send({"id": "never", "type": "complete"})
        socket.subscribe("1", "{ __typename }")
        assert socket.receive()["type"] == "next"


@pytest.mark.parametrize("subprotocols", [["graphql-ws"], None])
def test_other_subprotocols_are_refused(server: Server, subprotocols: list[str] | None) -> None:
    with server.socket(init=False, subprotocols=subprotocols) as socket:
        assert socket.closed()[0] == 4406


def test_limits_of_a_connection_are_named(project: Project) -> None:
    world = World(project)
    limits = Limits(
        subscriptions_per_connection=2,
        accounts_per_subscription=1,
        message_bytes=1000,
        init_timeout_s=0.3,
        ping_interval_s=0.2,
    )
    with running(limits) as server:
        with server.socket(init=False) as socket:
            assert socket.closed() == (4408, "Connection initialisation timeout")
        with server.socket(world.key()) as socket:
            assert json.loads(socket.connection.recv(timeout=10)) == {"type": "ping"}
            for identifier in ("a", "b", "c"):
                socket.subscribe(identifier, MARKS)
            message = socket.receive()
            assert message["id"] == "c"
            assert message["payload"][0]["extensions"]["limit"] == "subscriptions_per_connection"
            socket.send({"id": "a", "type": "complete"})
            ids = [address(1), address(2)]
            socket.subscribe(
                "d", "subscription($ids: [ID!]!) { marginHealth(accountIds: $ids) { kind } }", {"ids": ids}
            )
            extensions = socket.receive()["payload"][0]["extensions"]
            assert extensions["limit"] == "accounts_per_subscription"
            assert extensions["argument"] == "accountIds"
            socket.send({**SUBSCRIBE, "padding": "x" * 1000})
            code, reason = socket.closed()
            assert code == 1009
            assert "message_bytes" in reason


def test_a_reason_is_cut_between_characters() -> None:
    assert close_reason("é" * 100) == "é" * 61
