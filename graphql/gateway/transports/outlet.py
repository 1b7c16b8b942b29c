"""Writes a connection's subscriptions to its client, the newest state and never a queue of old ones.

A thousand subscribers are written to in one turn of the event loop, so a frame must not cost a task: a
write is started on the spot, and only one that has to wait for its client becomes a task. Until it is
through, the connection's subscriptions are only marked as having something to say.
"""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from gateway.errors import mask
from gateway.live.encoder import Encode
from gateway.live.streams import LiveStream

_log = logging.getLogger(__name__)


class Subscription:
    """One subscription on one connection: its stream, its encoder, and the frame around each message.

    Args:
        frame: the connection's frame around the JSON text of ``data``.
        last_frame: the frame that tells the client of an error and ends the subscription.
    """

    def __init__(
        self,
        stream: LiveStream[Any],
        encode: Encode,
        *,
        frame: tuple[str, str],
        last_frame: Callable[[list[dict[str, Any]]], str],
    ) -> None:
        self.stream = stream
        self.ended = False
        self._encode = encode
        self._head, self._tail = frame
        self._last_frame = last_frame

    def next_frame(self) -> str | None:
        """The frame that makes up for everything since the one before; None if there is nothing to say."""
        if self.ended:
            return None
        try:
            message = self.stream.take()
            if message is not None:
                return self._head + self._encode(message) + self._tail
        except Exception as error:  # noqa: BLE001 told to this client, logged, and nobody else's concern
            return self._end([mask(error)])
        if self.stream.failure is not None:
            return self._end([self.stream.failure.format()])
        return None

    def _end(self, errors: list[dict[str, Any]]) -> str:
        self.ended = True
        self.stream.close()
        return self._last_frame(errors)

    def close(self) -> None:
        """Stop; the client is told nothing."""
        self.ended = True
        self.stream.close()


class Outlet:
    """Writes one connection's frames in order, one at a time.

    Args:
        write: sends a frame; suspends while the client does not read.
        on_ended: called when a subscription has sent its last frame.
        on_broken: called once when a write fails, for the client is gone.
    """

    def __init__(
        self,
        write: Callable[[str], Coroutine[Any, Any, None]],
        *,
        on_ended: Callable[[Subscription], None],
        on_broken: Callable[[], None],
    ) -> None:
        self._write = write
        self._on_ended = on_ended
        self._on_broken = on_broken
        self._waiting: dict[Subscription, None] = {}
        self._writing: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def blocked(self) -> bool:
        """Whether the client has not read what it was sent."""
        return self._writing is not None

    def add(self, subscription: Subscription) -> None:
        """Write what a subscription has to say, now and from now on."""
        subscription.stream.attach(lambda: self._wake(subscription))

    def close(self) -> None:
        """Write nothing any more."""
        self._closed = True
        self._waiting.clear()
        if self._writing is not None:
            self._writing.cancel()

    def _wake(self, subscription: Subscription) -> None:
        if self._writing is not None:
            self._waiting[subscription] = None
        elif not self._closed:
            self._drain(subscription)

    def _drain(self, subscription: Subscription) -> None:
        while (frame := subscription.next_frame()) is not None:
            done = self._start(self._write(frame))
            if subscription.ended:
                self._on_ended(subscription)
            if not done:
                self._waiting[subscription] = None
                return

    def _start(self, write: Coroutine[Any, Any, None]) -> bool:
        try:
            pending = write.send(None)
        except StopIteration:
            return True
        except Exception as error:  # noqa: BLE001 whatever the server raises, the client cannot be written to
            self._break(error)
            return False
        self._writing = asyncio.create_task(self._finish(_continued(write, pending)))
        return False

    async def _finish(self, write: Coroutine[Any, Any, None]) -> None:
        try:
            await write
        except Exception as error:  # noqa: BLE001 as above
            self._writing = None
            self._break(error)
            return
        self._writing = None
        while self._waiting and self._writing is None and not self._closed:
            subscription = next(iter(self._waiting))
            del self._waiting[subscription]
            self._drain(subscription)

    def _break(self, error: Exception) -> None:
        if not self._closed:
            _log.debug("a client is gone", extra={"error": repr(error)})
            self.close()
            self._on_broken()


@types.coroutine
def _continued(coroutine: Coroutine[Any, Any, None], pending: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that was started by hand and waits for ``pending``."""
    while True:
        try:
            sent = yield pending
        except BaseException as error:  # noqa: BLE001 a cancellation is the coroutine's to handle
            try:
                pending = coroutine.throw(error)
            except StopIteration:
                return
            continue
        try:
            pending = coroutine.send(sent)
        except StopIteration:
            return
