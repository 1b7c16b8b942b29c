"""The floor: the same publish to the same sockets, with no logic in between.

A bare ASGI application that hears the same topic through the same subscriber under the same server
settings, and sends every socket a frame of the gateway's size.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import uvicorn

from benchmarks.gateway.process import settings_of
from gateway.server import server_config
from shared.events import topics
from shared.messaging.subscriber import EphemeralSubscription


class Floor:
    """Sends each message's sequence, padded to ``frame_bytes``, to every socket."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes
        self._sends: list[Any] = []
        self._sent = 0
        self._subscription: EphemeralSubscription | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the lifespan and the sockets."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        assert scope["type"] == "websocket", scope["type"]
        await receive()
        await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
        self._sends.append(send)
        while (await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": self._frame(0)})
        self._sends.remove(send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        loop = asyncio.get_running_loop()

        def hear(_data: bytes, _key: str) -> None:
            loop.call_soon_threadsafe(self._begin)

        self._subscription = EphemeralSubscription(
            settings_of(), topics.MARKET_PRICES, name="floor", on_message=hear, on_end=lambda _error: None
        )
        await asyncio.to_thread(self._subscription.open)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(self._subscription.close)
        await send({"type": "lifespan.shutdown.complete"})

    def _begin(self) -> None:
        self._sent += 1
        self._broadcasting = asyncio.create_task(self._broadcast(self._frame(self._sent)))

    async def _broadcast(self, text: str) -> None:
        for send in self._sends:
            await send({"type": "websocket.send", "text": text})

    def _frame(self, sequence: int) -> str:
        head = f'{{"sequence":{sequence},"padding":"'
        return head + "x" * (self._frame_bytes - len(head) - 2) + '"}'


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--frame-bytes", type=int, required=True)
    arguments = parser.parse_args()
    uvicorn.Server(server_config(Floor(arguments.frame_bytes), host="127.0.0.1", port=arguments.port)).run()


if __name__ == "__main__":
    main()
