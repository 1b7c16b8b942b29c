"""How uvicorn serves the gateway; the benchmark's floor is served in the same way."""

from __future__ import annotations

from typing import Any

import uvicorn

WS_MAX_BYTES = 1_048_576
"""Largest WebSocket message that is taken in at all; the gateway's own limit is lower and says so."""


def server_config(app: Any, *, host: str, port: int) -> uvicorn.Config:
    """uvloop, httptools and the sans-I/O WebSocket protocol, which was the fastest at fan-out; frames are
    not compressed, for that costs more than everything else a frame does."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=WS_MAX_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        timeout_graceful_shutdown=5,
        access_log=False,
        log_config=None,
        server_header=False,
    )
