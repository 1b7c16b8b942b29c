"""The ASGI application.

``python -m gateway`` starts it with the server settings it is measured with; any ASGI server can run
:func:`create_app` as a factory.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from gateway.limits import Limits
from gateway.schema import schema_text
from gateway.service import Gateway, build_gateway
from gateway.settings import load_settings
from gateway.transports.http import HttpEndpoint
from gateway.transports.websocket import WebSocketEndpoint
from shared.config import Settings
from shared.runtime import logs

PATH = "/graphql"


def create_app(settings: Settings | None = None, limits: Limits | None = None) -> Starlette:
    """The application; it connects when the server starts it.

    Raises:
        ConfigurationError: a setting is missing or contradictory, or the network description is wrong.
    """
    chosen = settings or load_settings()
    logs.configure(chosen)
    gateway = build_gateway(chosen, limits)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await gateway.start()
        try:
            yield
        finally:
            await gateway.stop()

    return Starlette(
        routes=[
            Route(PATH, HttpEndpoint(gateway)),
            WebSocketRoute(PATH, WebSocketEndpoint(gateway)),
            Route("/schema.graphql", _schema),
            Route("/health", _health(gateway)),
        ],
        lifespan=lifespan,
    )


async def _schema(_: Request) -> PlainTextResponse:
    return PlainTextResponse(schema_text())


def _health(gateway: Gateway) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def health(_: Request) -> JSONResponse:
        """200 while every live topic is heard and a tick is known."""
        tick = gateway.live.book.tick
        return JSONResponse(
            {
                "live_connected": gateway.live.connected,
                "tick_sequence": tick.sequence if tick else None,
                "live_accounts": gateway.live.followed_accounts,
            },
            status_code=200 if gateway.live.connected else 503,
        )

    return health
