"""New heads as nodes announce them over WebSocket, so that nobody has to wait for the next poll.

What a socket says is not believed, only that it says something: whoever waits looks at the chain over HTTP,
as it would have done a little later. A socket that is gone, silent or wrong costs no more than that time.
Source: https://geth.ethereum.org/docs/interacting-with-geth/rpc/pubsub (``eth_subscribe``, ``newHeads``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import orjson

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_SUBSCRIBE = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
_CONNECT_S = 5.0
_LONGEST_SILENCE_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_LARGEST_MESSAGE_BYTES = 2**20
_CLOSING_S = 1.0

_log = logging.getLogger(__name__)


class NewHeads:
    """Follows the heads of every URL, each from a thread of its own, while it is entered.

    Args:
        urls: WebSockets of nodes.
        wake: called from those threads, for each head that is not the one before.
        longest_silence_s: a socket that says nothing for so long is opened again.
        first_pause_s: before a socket that failed is opened again; twice as long each time.
    """

    def __init__(
        self,
        urls: Sequence[str],
        wake: Callable[[], None],
        *,
        longest_silence_s: float = _LONGEST_SILENCE_S,
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._wake = wake
        self._longest_silence_s = longest_silence_s
        self._first_pause_s = first_pause_s
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._open: set[ClientConnection] = set()
        self._threads = [
            threading.Thread(target=self._follow, args=(url, f"socket {position}"), daemon=True)
            for position, url in enumerate(urls)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ending.set()
            connections = list(self._open)
        for connection in connections:
            connection.close()
        for thread in self._threads:
            # One that is just connecting ends by itself.
            thread.join(_CLOSING_S)

    def _follow(self, url: str, name: str) -> None:
        # Imported here: a function without sockets must not pay for it.
        from websockets.exceptions import WebSocketException  # noqa: PLC0415
        from websockets.sync.client import connect  # noqa: PLC0415

        pause_s = self._first_pause_s
        while not self._ending.is_set():
            try:
                with connect(
                    url,
                    open_timeout=_CONNECT_S,
                    close_timeout=_CLOSING_S,
                    max_size=_LARGEST_MESSAGE_BYTES,
                    proxy=None,
                ) as connection:
                    if self._keep(connection):
                        try:
                            for _ in self._heads(connection):
                                pause_s = self._first_pause_s
                                self._wake()
                        finally:
                            self._forget(connection)
            except (OSError, WebSocketException, ValueError) as error:
                if not self._ending.is_set():
                    # Its text may hold the URL, and that a provider's key.
                    _log.info(
                        "a socket of new heads failed", extra={"socket": name, "error": type(error).__name__}
                    )
            self._ending.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _keep(self, connection: ClientConnection) -> bool:
        with self._lock:
            if not self._ending.is_set():
                self._open.add(connection)
            return not self._ending.is_set()

    def _forget(self, connection: ClientConnection) -> None:
        with self._lock:
            self._open.discard(connection)

    def _heads(self, connection: ClientConnection) -> Iterator[object]:
        """Each new head's hash.

        Raises:
            TimeoutError: the socket has been silent for too long.
            ValueError: it says what is no answer to the subscription.
        """
        connection.send(_SUBSCRIBE, text=True)
        answer = _parse(connection.recv(self._longest_silence_s))
        if not isinstance(answer.get("result"), str):
            raise ValueError("the node does not take the subscription")
        last: Any = None
        while True:
            message = _parse(connection.recv(self._longest_silence_s))
            try:
                head = message["params"]["result"]["hash"]
            except (KeyError, TypeError) as error:
                raise ValueError("what the node sends is no head") from error
            if head != last:
                last = head
                yield head


def _parse(message: str | bytes) -> dict[str, Any]:
    value = orjson.loads(message)
    if not isinstance(value, dict):
        raise ValueError("what the node sends is no object")
    return value
