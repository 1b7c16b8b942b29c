"""A real gateway server on real emulators, what it reads, and clients for each transport."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from gateway.app import create_app
from gateway.limits import Limits
from gateway.server import server_config
from local.emulators import EmulatorHosts
from shared.stores import database
from tests.conftest import Project, fresh_project
from tests.eventually import eventually
from tests.gateway.world import WAIT_S, World


@pytest.fixture
def world(project: Project) -> World:
    """The stores and topics of a fresh project."""
    return World(project)


@pytest.fixture(scope="module")
def module_world(emulators: EmulatorHosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The stores and topics of a project that the tests of a module share, for those that only read it."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        fresh_project(emulators, monkeypatch, tmp_path_factory.mktemp("project")) as project,
    ):
        yield World(project)


@dataclass
class Server:
    """A running gateway and clients for it."""

    url: str
    client: httpx.Client
    reads: Counter[str] = field(default_factory=Counter)

    def post(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        key: str | None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> httpx.Response:
        """Send a query."""
        sent = {"Authorization": f"Bearer {key}"} if key else {}
        body = {"query": query, "variables": variables, **fields}
        return self.client.post(f"{self.url}/graphql", json=body, headers={**sent, **(headers or {})})

    def query(self, query: str, variables: Mapping[str, Any] | None = None, *, key: str) -> dict[str, Any]:
        """The data of a query that has no errors."""
        response = self.post(query, variables, key=key)
        body: dict[str, Any] = response.json()
        assert "errors" not in body, body
        data: dict[str, Any] = body["data"]
        return data

    @contextmanager
    def socket(self, key: str | None = None, *, init: bool = True, **options: Any) -> Iterator[Socket]:
        """A WebSocket, initialised with a key."""
        url = self.url.replace("http://", "ws://") + "/graphql"
        options.setdefault("subprotocols", ["graphql-transport-ws"])
        with connect(url, compression=None, max_size=None, **options) as connection:
            socket = Socket(connection)
            if init:
                socket.send({"type": "connection_init", "payload": {"apiKey": key}})
                assert socket.receive() == {"type": "connection_ack"}
            yield socket

    @contextmanager
    def events(
        self, query: str, variables: Mapping[str, Any] | None = None, *, key: str
    ) -> Iterator[Iterator[dict[str, Any]]]:
        """The messages of a subscription over server-sent events."""
        headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
        with (
            httpx.Client(timeout=WAIT_S, verify=False) as client,
            client.stream(
                "POST",
                f"{self.url}/graphql",
                json={"query": query, "variables": variables},
                headers=headers,
            ) as response,
        ):
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield _events(response)


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    event = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: ") and event == "next":
            yield json.loads(line.removeprefix("data: "))
        elif line.startswith("data:") and event == "complete":
            return


class Socket:
    """A client of graphql-transport-ws."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, message: Any) -> None:
        """Send a message."""
        self.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def receive(self) -> dict[str, Any]:
        """The next message that is not a ping."""
        while True:
            message: dict[str, Any] = json.loads(self.connection.recv(timeout=WAIT_S))
            if message["type"] != "ping":
                return message

    def subscribe(self, identifier: str, query: str, variables: Mapping[str, Any] | None = None) -> None:
        """Subscribe."""
        self.send(
            {"id": identifier, "type": "subscribe", "payload": {"query": query, "variables": variables}}
        )

    def next(self, identifier: str) -> Any:
        """The data of the next message of a subscription."""
        message = self.receive()
        assert (message["type"], message["id"]) == ("next", identifier), message
        assert "errors" not in message["payload"], message
        (data,) = message["payload"]["data"].values()
        return data

    def closed(self) -> tuple[int, str]:
        """The code and reason with which the server closes; messages before it are passed over."""
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 messages may precede the close
            while True:
                self.connection.recv(timeout=WAIT_S)
        assert closed.value.rcvd is not None, "the connection was dropped without a close frame"
        return closed.value.rcvd.code, closed.value.rcvd.reason


@contextmanager
def running(limits: Limits | None = None) -> Iterator[Server]:
    """Serve the gateway of the environment in a thread."""
    server = uvicorn.Server(server_config(create_app(limits=limits), host="127.0.0.1", port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive())
        assert server.started, "the gateway did not start"
        port = server.servers[0].sockets[0].getsockname()[1]
        # Reading the certificates of public servers takes a client longer than any request here.
        with httpx.Client(timeout=30, verify=False) as client:
            yield Server(f"http://127.0.0.1:{port}", client)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive(), "the gateway did not stop"


@pytest.fixture
def server(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A gateway; ``reads`` counts its Firestore calls by kind and the documents that they returned."""
    reads: Counter[str] = Counter()
    for name in ("find", "find_all", "query", "count"):
        monkeypatch.setattr(database, name, _counted(name, getattr(database, name), reads))
    with running() as started:
        started.reads = reads
        yield started


def _counted(name: str, function: Callable[..., Any], reads: Counter[str]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        reads["calls"] += 1
        reads[name] += 1
        return result

    return call


def runs_an_event_loop() -> bool:
    """Whether the calling thread does, so that everybody waits for what it computes."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
