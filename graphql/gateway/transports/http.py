"""GraphQL over HTTP.

Specification: https://graphql.github.io/graphql-over-http/draft/. Both media types are served: with
``application/graphql-response+json`` a refused request has its status (400, 401 …), with
``application/json`` (the default) a well-formed one is answered with 200 and ``errors``.
"""

from __future__ import annotations

from typing import Any

import orjson
from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.authentication import presented_key
from gateway.errors import ClientError, ErrorCode, LimitExceededError, UnauthenticatedError, mask
from gateway.execution import GraphQLRequest, RequestError, parse_request
from gateway.ide import explorer_page
from gateway.service import Gateway
from gateway.transports.negotiation import (
    EVENT_STREAM,
    GRAPHQL_RESPONSE,
    HTML,
    JSON,
    accepts,
    preferred,
)
from gateway.transports.sse import EventStreamResponse
from shared.domain.api_keys import ApiKey
from shared.errors import RetryableError


class HttpError(Exception):
    """The request is answered with a status and an error, whatever it asked."""

    def __init__(self, status: int, error: ClientError, headers: dict[str, str] | None = None) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = headers or {}


def _refused(status: int, message: str, **extensions: Any) -> HttpError:
    return HttpError(status, ClientError(ErrorCode.BAD_REQUEST, message, **extensions))


class HttpEndpoint:
    """The ASGI application that serves queries, and subscriptions as server-sent events."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive, send)
        try:
            response = await self._respond(request)
        except HttpError as error:
            response = _json(error.status, {"errors": [error.error.format()]}, JSON, error.headers)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method == "GET" and "query" not in request.query_params:
            if accepts(request.headers.get("accept"), HTML, implicit=False):
                return Response(explorer_page(), media_type="text/html")
            raise _refused(400, "The parameter 'query' is missing.", field="query")
        if request.method not in ("GET", "POST"):
            raise HttpError(
                405,
                ClientError(ErrorCode.BAD_REQUEST, "Use POST, or GET for queries."),
                {"Allow": "GET, POST"},
            )
        accept = request.headers.get("accept")
        media_type = preferred(accept)
        if media_type is None:
            raise _refused(406, f"Accept must allow {JSON}, {GRAPHQL_RESPONSE} or {EVENT_STREAM}.")
        key = await self._authenticate(request)
        try:
            asked = parse_request(await self._parse(request))
        except RequestError as error:
            return _json(400, {"errors": error.errors}, _unstreamed(media_type))
        return await self._execute(request.method, asked, key, media_type, accept)

    async def _execute(
        self, method: str, asked: GraphQLRequest, key: ApiKey, media_type: str, accept: str | None
    ) -> Response:
        engine = self._gateway.engine
        try:
            operation = engine.prepare(asked, self._gateway.context(key))
            if operation.kind is OperationType.SUBSCRIPTION:
                if not accepts(accept, EVENT_STREAM, implicit=False):
                    raise _refused(
                        406, f"Subscriptions need Accept: {EVENT_STREAM}, or a WebSocket to the same address."
                    )
                return EventStreamResponse.of_subscription(
                    self._gateway, key, await engine.subscribe(operation)
                )
            if method == "GET" and operation.kind is not OperationType.QUERY:
                raise HttpError(
                    405, ClientError(ErrorCode.BAD_REQUEST, "GET is for queries only."), {"Allow": "POST"}
                )
            result = await engine.execute(operation)
        except RequestError as error:
            # With application/json only a malformed request is an HTTP error, not what it asks for.
            status = 200 if media_type == JSON else 400
            return _json(status, {"errors": error.errors}, _unstreamed(media_type))
        except HttpError:
            raise
        except Exception as error:  # noqa: BLE001 masked, logged and told
            return _json(500, {"errors": [mask(error)]}, _unstreamed(media_type))
        if media_type == EVENT_STREAM:
            return EventStreamResponse.of_result(self._gateway, key, result)
        return _json(200, result, media_type)

    async def _authenticate(self, request: Request) -> ApiKey:
        try:
            return await self._gateway.keys.authenticate(presented_key(request.headers))
        except UnauthenticatedError as error:
            raise HttpError(401, error, {"WWW-Authenticate": "Bearer"}) from None
        except RetryableError:
            raise HttpError(
                503,
                ClientError(ErrorCode.UNAVAILABLE, "The key could not be checked. Try again."),
                {"Retry-After": "1"},
            ) from None

    async def _parse(self, request: Request) -> Any:
        if request.method == "GET":
            return _parameters(request)
        media_type, _, parameters = request.headers.get("content-type", "").partition(";")
        charset = parameters.strip().lower().removeprefix("charset=").strip('"')
        if media_type.strip().lower() != JSON or charset not in ("", "utf-8"):
            raise _refused(415, f"Content-Type must be {JSON}; charset=utf-8.")
        body = await self._body(request)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _refused(400, f"The body is not JSON: {error}.") from None

    async def _body(self, request: Request) -> bytes:
        maximum = self._gateway.limits.body_bytes
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > maximum:
                raise HttpError(413, LimitExceededError("body_bytes", maximum), {"Connection": "close"})
            chunks.append(chunk)
        return b"".join(chunks)


def _parameters(request: Request) -> dict[str, Any]:
    asked: dict[str, Any] = {"query": request.query_params["query"]}
    if "operationName" in request.query_params:
        asked["operationName"] = request.query_params["operationName"]
    for name in ("variables", "extensions"):
        if name in request.query_params:
            try:
                asked[name] = orjson.loads(request.query_params[name])
            except orjson.JSONDecodeError:
                raise _refused(400, f"The parameter '{name}' is not JSON.", field=name) from None
    return asked


def _unstreamed(media_type: str) -> str:
    return JSON if media_type == EVENT_STREAM else media_type


def _json(status: int, value: Any, media_type: str, headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(value),
        status_code=status,
        headers={"Content-Type": f"{media_type}; charset=utf-8", **(headers or {})},
    )
