"""The public door, as the demo, the tests and the measurements use it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import urllib3
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from shared.errors import FusionError

_PROTOCOL = "graphql-transport-ws"


class GatewayError(FusionError):
    """The gateway did not answer a query."""


class GatewayClient:
    """GraphQL over HTTP with an API key."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url
        self.api_key = api_key
        self._pool = urllib3.PoolManager(
            maxsize=8, timeout=urllib3.Timeout(connect=2.0, read=15.0), retries=False
        )

    def query(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The data of a query.

        Raises:
            GatewayError: the gateway cannot be reached, or answered with errors.
        """
        try:
            response = self._pool.request(
                "POST",
                self.url,
                body=json.dumps({"query": document, "variables": dict(variables or {})}),
                headers={
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "Authorization": f"Bearer {self.api_key}",
                },
            )
            answer = json.loads(response.data)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise GatewayError(f"{self.url}: {error!r}") from error
        if "errors" in answer or "data" not in answer:
            raise GatewayError(f"{self.url}: HTTP {response.status}: {answer}")
        data: dict[str, Any] = answer["data"]
        return data

    def pages(self, field: str, selection: str, arguments: str = "") -> list[dict[str, Any]]:
        """Every node of a connection."""
        nodes: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            document = (
                f"query($after: String) {{ {field}(first: 100, after: $after{arguments}) "
                f"{{ nodes: edges {{ node {{ {selection} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
            )
            page = self.query(document, {"after": after})[field]
            nodes += [edge["node"] for edge in page["nodes"]]
            if not page["pageInfo"]["hasNextPage"]:
                return nodes
            after = page["pageInfo"]["endCursor"]


class Subscriber:
    """A subscription over graphql-transport-ws in a thread of its own, which reconnects by itself.

    ``receive`` is called with each message's data and the wall-clock second of its arrival.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        document: str,
        variables: Callable[[], Mapping[str, Any]],
        receive: Callable[[dict[str, Any], float], None],
    ) -> None:
        self._url = url.replace("http://", "ws://")
        self._api_key = api_key
        self._document = document
        self._variables = variables
        self._receive = receive
        self._stopping = threading.Event()
        self.connections = 0
        self.errors: list[str] = []
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)

    def start(self) -> Subscriber:
        """Connect, in the background."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the connection and wait for the thread."""
        self._stopping.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.run(self._reconnect())

    async def _reconnect(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._listen()
            except (OSError, WebSocketException, TimeoutError) as error:
                self.errors.append(repr(error))
                await asyncio.sleep(0.1)

    async def _listen(self) -> None:
        async with connect(self._url, subprotocols=[_PROTOCOL], max_size=None) as socket:  # type: ignore[list-item]
            await socket.send(json.dumps({"type": "connection_init", "payload": {"apiKey": self._api_key}}))
            await socket.recv()
            payload = {"query": self._document, "variables": dict(self._variables())}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            self.connections += 1
            while not self._stopping.is_set():
                try:
                    raw = await asyncio.wait_for(socket.recv(), timeout=0.5)
                except TimeoutError:
                    continue
                arrived = time.time()
                message = json.loads(raw)
                if message["type"] == "ping":
                    await socket.send('{"type":"pong"}')
                elif message["type"] == "next" and "data" in message["payload"]:
                    self._receive(message["payload"]["data"], arrived)
                elif message["type"] in ("error", "complete") or "errors" in message.get("payload", {}):
                    self.errors.append(json.dumps(message)[:500])
                    await asyncio.sleep(0.2)
                    return
