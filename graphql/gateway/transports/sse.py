"""Subscriptions as server-sent events, one per request (``graphql-sse``, distinct connections mode).

Protocol: https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, cast

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import ClientError, ErrorCode
from gateway.execution import OpenSubscription
from gateway.execution import Response as GraphQLResponse
from gateway.service import Gateway
from gateway.transports.negotiation import EVENT_STREAM
from gateway.transports.outlet import Outlet, Subscription
from shared.domain.api_keys import ApiKey

_NEXT = "event: next\ndata: "
_COMPLETE = "event: complete\ndata: \n\n"
_HEADERS = [
    (b"content-type", f"{EVENT_STREAM}; charset=utf-8".encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStreamResponse(Response):
    """A stream of events that lasts as long as the subscription, or holds one result."""

    def __init__(
        self,
        gateway: Gateway,
        key: ApiKey,
        *,
        opened: OpenSubscription | None = None,
        result: GraphQLResponse | None = None,
    ) -> None:
        super().__init__()
        self._gateway = gateway
        self._key = key
        self._opened = opened
        self._result = result

    @classmethod
    def of_subscription(cls, gateway: Gateway, key: ApiKey, opened: OpenSubscription) -> EventStreamResponse:
        """The stream of an open subscription."""
        return cls(gateway, key, opened=opened)

    @classmethod
    def of_result(cls, gateway: Gateway, key: ApiKey, result: GraphQLResponse) -> EventStreamResponse:
        """The stream of one result."""
        return cls(gateway, key, result=result)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if self._opened is None:
            body = f"{_NEXT}{_text(self._result)}\n\n{_COMPLETE}".encode()
            await send({"type": "http.response.body", "body": body})
            return
        await self._stream(self._opened, receive, send)

    async def _stream(self, opened: OpenSubscription, receive: Receive, send: Send) -> None:
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def finish() -> None:
            if not finished.done():
                finished.set_result(None)

        def write(text: str) -> Coroutine[Any, Any, None]:
            event = {"type": "http.response.body", "body": text.encode(), "more_body": True}
            return cast("Coroutine[Any, Any, None]", send(event))

        subscription = Subscription(
            opened.stream,
            opened.encode,
            frame=(_NEXT + '{"data":', "}\n\n"),
            last_frame=lambda errors: f"{_NEXT}{_text({'errors': errors})}\n\n{_COMPLETE}",
        )
        outlet = Outlet(write, on_ended=lambda _: finish(), on_broken=finish)
        disconnected = asyncio.create_task(_disconnect(receive))
        pinging = asyncio.create_task(self._ping(outlet, write))
        disconnected.add_done_callback(lambda _: finish())

        def revoke(reason: str) -> None:
            opened.stream.fail(ClientError(ErrorCode.UNAUTHENTICATED, reason))

        try:
            with self._gateway.sessions.session(self._key, revoke):
                # The headers must reach a client that has nothing to read yet.
                await write(":\n\n")
                outlet.add(subscription)
                await finished
        finally:
            was_connected = not disconnected.done()
            outlet.close()
            subscription.close()
            for task in (disconnected, pinging):
                task.cancel()
            await asyncio.gather(disconnected, pinging, return_exceptions=True)
        if was_connected:
            with contextlib.suppress(Exception):
                await send({"type": "http.response.body", "body": b""})

    async def _ping(self, outlet: Outlet, write: Any) -> None:
        while True:
            await asyncio.sleep(self._gateway.limits.ping_interval_s)
            if not outlet.blocked:
                await write(":\n\n")


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
