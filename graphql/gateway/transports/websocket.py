"""GraphQL over WebSocket, subprotocol ``graphql-transport-ws``.

Protocol: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md. The legacy ``graphql-ws``
subprotocol is refused. A key comes in ``connection_init`` as ``apiKey`` or ``Authorization``, or in a header.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, cast

import orjson
from graphql import OperationType
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.authentication import presented_key
from gateway.errors import LimitExceededError, UnauthenticatedError, mask
from gateway.execution import GraphQLRequest, RequestError, parse_request
from gateway.service import Gateway
from gateway.transports.outlet import Outlet, Subscription
from shared.domain.api_keys import ApiKey
from shared.errors import RetryableError

SUBPROTOCOL = "graphql-transport-ws"
_MAX_ID_CHARACTERS = 256
_MAX_REASON_BYTES = 123  # a control frame's 125 less the code, RFC 6455 section 5.5

_log = logging.getLogger(__name__)


class CloseCode(IntEnum):
    """Close codes of the protocol, and RFC 6455's for messages that are too big."""

    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013
    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406
    INITIALISATION_TIMEOUT = 4408
    SUBSCRIBER_EXISTS = 4409
    TOO_MANY_INITIALISATIONS = 4429


class _CloseError(Exception):
    """Ends the connection."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def close_reason(text: str) -> str:
    """A reason that fits into a close frame."""
    return text.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")


class WebSocketSession:
    """One connection from its handshake to its end."""

    def __init__(self, gateway: Gateway, socket: WebSocket, send: Send) -> None:
        self._gateway = gateway
        self._socket = socket
        self._send = send
        self._key: ApiKey | None = None
        self._initialised = False
        self._operations: dict[str, asyncio.Task[None] | Subscription] = {}
        self._ids: dict[Subscription, str] = {}
        self._ended: asyncio.Future[_CloseError] = asyncio.get_running_loop().create_future()
        self._outlet = Outlet(
            self._write, on_ended=self._forget, on_broken=lambda: self._end(CloseCode.INTERNAL_ERROR, "")
        )

    async def run(self) -> None:
        """Serve the connection until one side ends it."""
        if SUBPROTOCOL not in self._socket.scope["subprotocols"]:
            await self._socket.accept()
            await self._close(
                _CloseError(CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE, f"Subprotocol {SUBPROTOCOL} is needed")
            )
            return
        await self._socket.accept(SUBPROTOCOL)
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(
            self._gateway.limits.init_timeout_s,
            self._end_unless_initialised,
        )
        receiving = asyncio.create_task(self._receive())
        pinging = asyncio.create_task(self._ping())
        try:
            sides: set[asyncio.Future[Any]] = {receiving, self._ended}
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and not receiving.cancelled() and receiving.exception() is not None:
                error = receiving.exception()
                if isinstance(error, _CloseError):
                    await self._close(error)
                elif not isinstance(error, WebSocketDisconnect):
                    formatted = mask(error) if error else {}
                    await self._close(_CloseError(CloseCode.INTERNAL_ERROR, formatted.get("message", "")))
            elif self._ended.done():
                await self._close(self._ended.result())
        finally:
            deadline.cancel()
            self._ended.cancel()
            self._outlet.close()
            tasks = [receiving, pinging]
            for operation in self._operations.values():
                if isinstance(operation, Subscription):
                    operation.close()
                else:
                    tasks.append(operation)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, code: CloseCode, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(_CloseError(code, reason))

    def _end_unless_initialised(self) -> None:
        if not self._initialised:
            self._end(CloseCode.INITIALISATION_TIMEOUT, "Connection initialisation timeout")

    async def _close(self, close: _CloseError) -> None:
        # The client may be gone, or going, already.
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._socket.close(close.code, close_reason(close.reason)), timeout=5)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self._gateway.limits.ping_interval_s)
            if self._initialised and not self._outlet.blocked:
                await self._write('{"type":"ping"}')

    # Messages

    async def _receive(self) -> None:
        with contextlib.ExitStack() as session:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._handle(self._parse(message), session)

    def _parse(self, message: Any) -> dict[str, Any]:
        text = message.get("text")
        if text is None:
            raise _CloseError(CloseCode.BAD_REQUEST, "Messages must be text frames")
        maximum = self._gateway.limits.message_bytes
        if len(text) > maximum:
            raise _CloseError(
                CloseCode.MESSAGE_TOO_BIG, f"The limit 'message_bytes' is {maximum}; this one has {len(text)}"
            )
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise _CloseError(CloseCode.BAD_REQUEST, "Messages must be JSON") from None
        if not isinstance(value, dict):
            raise _CloseError(CloseCode.BAD_REQUEST, "Messages must be JSON objects")
        return value

    async def _handle(self, message: dict[str, Any], session: contextlib.ExitStack) -> None:
        kind = message.get("type")
        if kind == "connection_init":
            await self._initialise(_object_or_none(message, "payload"), session)
        elif kind == "ping":
            _object_or_none(message, "payload")
            await self._write('{"type":"pong"}')
        elif kind == "pong":
            _object_or_none(message, "payload")
        elif kind == "subscribe":
            await self._start(_identifier(message), message.get("payload"))
        elif kind == "complete":
            self._complete(_identifier(message))
        else:
            shown = kind if isinstance(kind, str) else type(kind).__name__
            raise _CloseError(CloseCode.BAD_REQUEST, f"Unknown message type: {shown}")

    async def _initialise(self, payload: dict[str, Any] | None, session: contextlib.ExitStack) -> None:
        if self._initialised:
            raise _CloseError(CloseCode.TOO_MANY_INITIALISATIONS, "Too many initialisation requests")
        self._initialised = True
        try:
            key = await self._gateway.keys.authenticate(self._presented(payload or {}))
        except UnauthenticatedError as error:
            raise _CloseError(CloseCode.FORBIDDEN, error.message) from None
        except RetryableError:
            raise _CloseError(CloseCode.TRY_AGAIN_LATER, "The key could not be checked. Try again.") from None
        self._key = key
        session.enter_context(
            self._gateway.sessions.session(key, lambda reason: self._end(CloseCode.FORBIDDEN, reason))
        )
        await self._write('{"type":"connection_ack"}')

    def _presented(self, payload: dict[str, Any]) -> str | None:
        headers = {
            name.lower(): value
            for name, value in payload.items()
            if isinstance(value, str) and name.lower() in ("authorization", "x-api-key")
        }
        if isinstance(payload.get("apiKey"), str):
            headers["x-api-key"] = payload["apiKey"]
        return presented_key(headers) or presented_key(self._socket.headers)

    async def _start(self, identifier: str, payload: Any) -> None:
        if self._key is None:
            raise _CloseError(CloseCode.UNAUTHORIZED, "Unauthorized")
        if identifier in self._operations:
            raise _CloseError(CloseCode.SUBSCRIBER_EXISTS, f"Subscriber for {identifier} already exists")
        try:
            request = parse_request(payload)
        except RequestError as error:
            raise _CloseError(CloseCode.BAD_REQUEST, f"Invalid payload: {error}") from None
        maximum = self._gateway.limits.subscriptions_per_connection
        if len(self._operations) >= maximum:
            refused = LimitExceededError("subscriptions_per_connection", maximum)
            await self._answer({"id": identifier, "type": "error", "payload": [refused.format()]})
            return
        self._operations[identifier] = asyncio.create_task(self._operate(identifier, request, self._key))

    async def _operate(self, identifier: str, request: GraphQLRequest, key: ApiKey) -> None:
        engine = self._gateway.engine
        try:
            operation = engine.prepare(request, self._gateway.context(key))
            if operation.kind is not OperationType.SUBSCRIPTION:
                response = await engine.execute(operation)
                await self._answer({"id": identifier, "type": "next", "payload": response})
                await self._answer({"id": identifier, "type": "complete"})
                self._operations.pop(identifier, None)
                return
            opened = await engine.subscribe(operation)
        except RequestError as error:
            self._operations.pop(identifier, None)
            await self._answer({"id": identifier, "type": "error", "payload": error.errors})
            return
        except Exception as error:  # noqa: BLE001 masked, logged and told
            self._operations.pop(identifier, None)
            await self._answer({"id": identifier, "type": "error", "payload": [mask(error)]})
            return
        quoted = orjson.dumps(identifier).decode()
        subscription = Subscription(
            opened.stream,
            opened.encode,
            frame=(f'{{"id":{quoted},"type":"next","payload":{{"data":', "}}"),
            last_frame=lambda errors: _text({"id": identifier, "type": "error", "payload": errors}),
        )
        self._operations[identifier] = subscription
        self._ids[subscription] = identifier
        self._outlet.add(subscription)

    def _complete(self, identifier: str) -> None:
        operation = self._operations.pop(identifier, None)
        if isinstance(operation, Subscription):
            operation.close()
            self._ids.pop(operation, None)
        elif operation is not None:
            operation.cancel()

    def _forget(self, subscription: Subscription) -> None:
        identifier = self._ids.pop(subscription, None)
        if identifier is not None:
            self._operations.pop(identifier, None)

    def _write(self, text: str) -> Coroutine[Any, Any, None]:
        # Past Starlette's own checks of each message, which cost as much as the sending.
        return cast("Coroutine[Any, Any, None]", self._send({"type": "websocket.send", "text": text}))

    async def _answer(self, message: dict[str, Any]) -> None:
        await self._write(_text(message))


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _object_or_none(message: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = message.get(name)
    if value is not None and not isinstance(value, dict):
        raise _CloseError(CloseCode.BAD_REQUEST, f"{name} must be an object or null")
    return value


def _identifier(message: dict[str, Any]) -> str:
    value = message.get("id")
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID_CHARACTERS:
        raise _CloseError(
            CloseCode.BAD_REQUEST, f"id must be a string of 1 to {_MAX_ID_CHARACTERS} characters"
        )
    return value


class WebSocketEndpoint:
    """The ASGI application that serves each connection."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await WebSocketSession(self._gateway, WebSocket(scope, receive, send), send).run()
