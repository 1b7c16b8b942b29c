"""The subscribers: many WebSocket clients in one process that do nothing but note when a frame came.

Speaks just enough of RFC 6455 to be cheap, so that what is measured is the server. Prints a line once
every client has its first frame, then one per sequence that every client has received.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import struct
import sys
import time
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

_SEQUENCE = b'"sequence":'


def masked(text: str) -> bytes:
    """A client's text frame."""
    data = text.encode()
    key = os.urandom(4)
    length = (
        bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + struct.pack("!H", len(data))
    )
    return b"\x81" + length + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(data))


class Subscriber(asyncio.Protocol):
    """One client; ``first`` is what it sends once the handshake is done."""

    def __init__(self, listener: Listener, host: str, first: list[str]) -> None:
        self._listener = listener
        self._host = host
        self._first = first
        self._buffer = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /graphql HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Note the time, then see what came."""
        now_ns = time.monotonic_ns()
        self._buffer += data
        if not self._upgraded:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                raise RuntimeError(head.decode())
            self._upgraded, self._buffer = True, rest
            for text in self._first:
                self._transport.write(masked(text))
        while (frame := self._next_frame()) is not None:
            self._listener.received(frame, now_ns)

    def _next_frame(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1], 2
        if size == 126:
            if len(buffer) < 4:
                return None
            size, start = struct.unpack_from("!H", buffer, 2)[0], 4
        elif size == 127:
            raise RuntimeError("a frame is larger than this client reads")
        if len(buffer) < start + size:
            return None
        self._buffer = buffer[start + size :]
        if buffer[0] & 0x0F == 0x8:
            raise RuntimeError(f"closed by the server: {buffer[start : start + size]!r}")
        return buffer[start : start + size] if buffer[0] & 0x0F == 0x1 else b""

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of the run, or of the server."""


class Listener:
    """Counts who has which sequence."""

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self._moments: dict[int, list[int]] = {}
        self._bytes = 0
        self._ready = 0

    def received(self, frame: bytes, now_ns: int) -> None:
        """One client received a frame; those without a sequence (acknowledgements, pings) are passed over."""
        start = frame.find(_SEQUENCE)
        if start < 0:
            return
        digits = frame[start + len(_SEQUENCE) : start + len(_SEQUENCE) + 12].split(b",")[0].split(b"}")[0]
        if digits in (b"null", b"0"):
            self._ready += 1
            if self._ready == self._clients:
                self._say({"ready": True})
            return
        moments = self._moments.setdefault(int(digits), [])
        moments.append(now_ns)
        self._bytes += len(frame)
        if len(moments) == self._clients:
            self._say(
                {
                    "sequence": int(digits),
                    "received_ns": self._moments.pop(int(digits)),
                    "frame_bytes": self._bytes / self._clients,
                }
            )
            self._bytes = 0

    def _say(self, line: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


async def listen(url: str, key: str, accounts: list[str]) -> None:
    """Connect one client per account and listen until standard input ends."""
    query = (
        "subscription($ids: [ID!]!) { marginHealth(accountIds: $ids) { kind sequence asOf accounts {"
        " accountId state unvaluedAssets collateralUsd debtUsd healthPct positionVersion transitions } } }"
    )
    listener = Listener(len(accounts))
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_give_up)
    for account_id in accounts:
        payload = {"query": query, "variables": {"ids": [account_id]}}
        first = [
            json.dumps({"type": "connection_init", "payload": {"apiKey": key}}),
            json.dumps({"id": "1", "type": "subscribe", "payload": payload}),
        ]
        if not key:
            first = ["hello"]
        await loop.create_connection(
            lambda first=first: Subscriber(listener, address.netloc, first),  # type: ignore[misc]
            address.hostname,
            address.port,
        )
    await loop.run_in_executor(None, sys.stdin.read)


def _give_up(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A client that fails fails the run."""
    sys.stderr.write(f"{context['message']}: {context.get('exception')!r}\n")
    sys.stderr.flush()
    os._exit(1)


def main() -> None:
    """Listen until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", default="", help="empty for the floor, which asks for none")
    parser.add_argument("--subscribers", type=int, required=True)
    arguments = parser.parse_args()
    accounts = [f"0x{number:040x}" for number in range(1, arguments.subscribers + 1)]
    uvloop.run(listen(arguments.url, arguments.key, accounts))


if __name__ == "__main__":
    main()
