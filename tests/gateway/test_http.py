"""GraphQL over HTTP: media types, statuses, limits, and what an error tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from graphql import get_introspection_query, parse, validate

from gateway.schema import build_schema
from shared.errors import RetryableError
from shared.stores import database
from tests.gateway.conftest import Server, running
from tests.gateway.world import World

QUERY = "{ __typename }"
NEW = "application/graphql-response+json"


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    """One world for all tests: what they say to the gateway changes nothing in it."""
    return module_world


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Server]:
    """One gateway for all tests."""
    with running() as started:
        yield started


@pytest.mark.parametrize(
    ("accept", "media_type", "valid", "invalid"),
    [
        (None, "application/json", 200, 200),
        ("*/*", "application/json", 200, 200),
        ("application/json", "application/json", 200, 200),
        ("application/*", "application/json", 200, 200),
        (NEW, NEW, 200, 400),
        (f"{NEW}, application/json;q=0.9", NEW, 200, 400),
        (f"application/json, {NEW};q=0.5", "application/json", 200, 200),
        ("text/plain", "application/json", 406, 406),
    ],
)
def test_media_types(
    server: Server, world: World, accept: str | None, media_type: str, valid: int, invalid: int
) -> None:
    key = world.key()
    headers = {"X-API-Key": key, "Content-Type": "application/json; charset=utf-8"}
    for query, status in ((QUERY, valid), ("{ nonsense }", invalid), ("{", invalid)):
        with httpx.Client() as client:
            request = client.build_request(
                "POST", f"{server.url}/graphql", content=json.dumps({"query": query}), headers=headers
            )
            del request.headers["accept"]
            if accept is not None:
                request.headers["accept"] = accept
            response = client.send(request)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
        assert ("data" in response.json()) == (query == QUERY and status == 200)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"", 400, None),
        (b"\xff", 400, None),
        (b"[]", 400, None),
        (b'[{"query": "{ __typename }"}]', 400, None),
        (b"{}", 400, "query"),
        (b'{"query": 1}', 400, "query"),
        (b'{"query": " "}', 400, "query"),
        (b'{"query": "{ __typename }", "variables": "x"}', 400, "variables"),
        (b'{"query": "{ __typename }", "operationName": 1}', 400, "operationName"),
        (b'{"query": "{ __typename }", "extensions": 1}', 400, "extensions"),
        (b'{"query": "{ __typename }", "variables": null, "extensions": {}, "operationName": ""}', 200, None),
    ],
)
def test_malformed_bodies(server: Server, world: World, body: bytes, status: int, field: str | None) -> None:
    headers = {"X-API-Key": world.key(), "Content-Type": "application/json"}
    response = httpx.post(f"{server.url}/graphql", content=body, headers=headers)
    assert response.status_code == status, response.text
    if status != 200:
        assert response.json()["errors"][0]["extensions"].get("field") == field


def test_methods_and_content_types(server: Server, world: World) -> None:
    url, headers = f"{server.url}/graphql", {"X-API-Key": world.key(), "Accept": "application/json"}
    assert httpx.put(url, headers=headers).status_code == 405
    assert httpx.post(url, headers=headers, data={"query": QUERY}).status_code == 415
    assert httpx.post(url, headers=headers, content=QUERY).status_code == 415
    assert httpx.get(url, headers=headers).status_code == 400
    asked = {
        "query": "query($x: Boolean!) { __typename @skip(if: $x) a: __typename }",
        "variables": '{"x": true}',
    }
    assert httpx.get(url, headers=headers, params=asked).json() == {"data": {"a": "Query"}}
    assert httpx.get(url, headers=headers, params={**asked, "variables": "{"}).status_code == 400
    subscription = httpx.post(url, headers=headers, json={"query": "subscription { marks { sequence } }"})
    assert subscription.status_code == 406
    assert "text/event-stream" in subscription.text


def nested(levels: int) -> str:
    """A query of marks within fragments within fragments."""
    return (
        "{ ...F0 } "
        + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(levels))
        + f" fragment F{levels} on Query {{ marks {{ sequence }} }}"
    )


PAGES = (
    "accounts(first: 100) { edges { node { alerts(first: 100) { edges { node { id marks { asset } } } } } } }"
)


@pytest.mark.parametrize(
    ("query", "variables", "limit"),
    [
        ("{ " + " ".join(f"a{n}: __typename" for n in range(31)) + " }", None, "aliases"),
        ("{ " + "marks{a}" * 501 + "}", None, "tokens"),
        ("{ __typename } #" + "x" * 20_000, None, "query_characters"),
        ("{ " + PAGES + " }", None, "cost"),
        (
            "query($n: Int!) { accounts(first: $n) { edges { node { escrows(first: $n) { edges { node { id"
            " } } } } } } }",
            {"n": 100},
            "cost",
        ),
        ("{ accounts(first: 101) { edges { cursor } } }", None, "page_size"),
        ("{ accounts(first: 0) { edges { cursor } } }", None, "page_size"),
        ("{ accounts(first: -1) { edges { cursor } } }", None, "page_size"),
        (
            '{ __type(name: "Query") { fields { type { ' + "ofType { " * 20 + "name" + " }" * 20 + " } } } }",
            None,
            "introspection_depth",
        ),
    ],
)
def test_limits_are_named(
    server: Server, world: World, query: str, variables: Mapping[str, Any] | None, limit: str
) -> None:
    body = server.post(query, variables, key=world.key()).json()
    extensions = body["errors"][0]["extensions"]
    assert extensions["code"] == "LIMIT_EXCEEDED", body
    assert extensions["limit"] == limit
    assert extensions["maximum"] > 0
    assert not body.get("data")


def test_fragments_are_measured_once_each(server: Server, world: World) -> None:
    doubling = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60))
    query = "{ ...F0 } " + doubling + " fragment F60 on Query { a: __typename }"
    body = server.post(query, key=world.key()).json()
    assert body["errors"][0]["extensions"]["limit"] == "aliases"
    assert "errors" not in server.post(nested(30), key=world.key()).json()


def test_large_bodies_are_not_read(server: Server, world: World) -> None:
    response = server.post(QUERY, {"padding": "x" * 200_000}, key=world.key())
    assert response.status_code == 413
    assert response.json()["errors"][0]["extensions"]["limit"] == "body_bytes"


def test_standard_introspection_is_within_the_limits(server: Server, world: World) -> None:
    body = server.post(get_introspection_query(), key=world.key()).json()
    assert "errors" not in body
    assert body["data"]["__schema"]["queryType"] == {"name": "Query", "kind": "OBJECT"}


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (RetryableError("secret host is down"), "UNAVAILABLE", "again"),
        (KeyError("secret"), "INTERNAL", "logged"),
    ],
)
def test_our_own_errors_are_masked(
    server: Server, world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, told: str
) -> None:
    key = world.key()
    assert "errors" not in server.post(QUERY, key=key).json()

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(database, "query", fail)
    response = server.post("{ accounts { edges { cursor } } }", key=key)
    (told_error,) = response.json()["errors"]
    assert told_error["extensions"]["code"] == code
    assert told in told_error["message"]
    assert "secret" not in response.text


def test_scalars_name_what_is_wrong(server: Server, world: World) -> None:
    key = world.key()
    query = "query($a: Address!) { escrow(chainId: 1, address: $a) { id } }"
    for value in ("0x12", 7, "0x" + "g" * 40):
        (error,) = server.post(query, {"a": value}, key=key).json()["errors"]
        assert "address" in error["message"].lower()
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
    history = 'query($t: DateTime!) { marginHistory(accountId: "x", from: $t, to: $t) { edges { cursor } } }'
    for moment in ("yesterday", "2026-01-01T00:00:00", 7):
        (error,) = server.post(history, {"t": moment}, key=key).json()["errors"]
        assert "DateTime" in error["message"]
    for cursor in ("x", "W10", "WyIvLi4vLi4iXQ==", "WzFd"):
        query = "query($c: String) { alerts(after: $c) { edges { cursor } } }"
        (error,) = server.post(query, {"c": cursor}, key=key).json()["errors"]
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "after"}


def test_pages_that_need_no_key(server: Server) -> None:
    page = httpx.get(f"{server.url}/graphql", headers={"Accept": "text/html,application/xhtml+xml"})
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for fetched in ('src="http', "src='http", 'href="http', "//cdn", "@import", "//unpkg"):
        assert fetched not in page.text, "the explorer must work offline"
    schema = httpx.get(f"{server.url}/schema.graphql")
    assert "type Query" in schema.text
    health = httpx.get(f"{server.url}/health")
    assert (health.status_code, health.json()["live_connected"]) == (200, True)


def test_the_explorers_samples_are_valid(server: Server) -> None:
    page = httpx.get(f"{server.url}/graphql", headers={"Accept": "text/html"}).text
    samples = re.search(r"const SAMPLES = \{\n(.*?)\n\};", page, re.DOTALL)
    assert samples is not None
    documents = [
        json.loads(text) for text in re.findall(r': ("(?:[^"\\]|\\.)*"),$', samples[1], re.MULTILINE)
    ]
    assert len(documents) == 6
    for document in documents:
        assert not validate(build_schema(), parse(document)), document
