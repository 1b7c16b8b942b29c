"""What one subscription still has to be told: its newest state, not a queue.

A stream collects what changed until its reader is ready; :meth:`LiveStream.take` then gives one message
that makes up for all of it. A slow reader therefore gets fewer messages, each the newest.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from gateway.errors import ClientError
from gateway.margin.types import Margin, MarginHealth, MessageKind
from gateway.marks import types as marks

if TYPE_CHECKING:
    from gateway.live.hub import LiveHub

Message = TypeVar("Message")


class LiveStream(ABC, Generic[Message]):
    """One subscription's source of messages, read by one reader.

    It is an asynchronous iterator, as GraphQL's source streams are. A reader that wants to be called
    instead uses :meth:`attach` and :meth:`take`.
    """

    def __init__(self) -> None:
        self._wake: Callable[[], None] = _nobody
        self.failure: ClientError | None = None

    def attach(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever there may be something to take; at once if there is now."""
        self._wake = wake
        wake()

    def wake(self) -> None:
        """Tell the reader that there is something to take."""
        self._wake()

    def fail(self, error: ClientError) -> None:
        """End the stream: the reader is told why after what it has not taken yet."""
        self.failure = error
        self._wake()

    @abstractmethod
    def take(self) -> Message | None:
        """The message that makes up for everything since the one before; None if nothing changed."""

    @abstractmethod
    def close(self) -> None:
        """Stop collecting; may be called twice."""

    async def __aiter__(self) -> AsyncIterator[Message]:
        ready = asyncio.Event()
        self.attach(ready.set)
        try:
            while True:
                await ready.wait()
                ready.clear()
                while (message := self.take()) is not None:
                    yield message
                if self.failure is not None:
                    raise self.failure
        finally:
            self.close()


def _nobody() -> None:
    """Stands in until a reader attaches; what changes meanwhile is collected."""


class MarginHealthStream(LiveStream[MarginHealth]):
    """The margins of some accounts: all of them first, then those that changed."""

    def __init__(self, hub: LiveHub, account_ids: Sequence[str]) -> None:
        super().__init__()
        self.account_ids = account_ids
        self._hub = hub
        self._changed: set[str] = set(account_ids)
        self._kind = MessageKind.SNAPSHOT

    def offer(self, account_id: str) -> None:
        """An account has a new margin."""
        self._changed.add(account_id)

    def take(self) -> MarginHealth | None:
        """See :meth:`LiveStream.take`."""
        if not self._changed:
            return None
        margins: list[Margin] = [
            self._hub.book.margin(account_id)
            for account_id in self.account_ids
            if account_id in self._changed
        ]
        self._changed.clear()
        tick = self._hub.book.tick
        message = MarginHealth(
            kind=self._kind,
            sequence=tick.sequence if tick else None,
            as_of=self._hub.moment,
            accounts=margins,
        )
        self._kind = MessageKind.UPDATE
        return message

    def close(self) -> None:
        """See :meth:`LiveStream.close`."""
        self._hub.close_margin_stream(self)


class MarksStream(LiveStream[marks.MarksMessage]):
    """Every tick's marks, the latest first."""

    def __init__(self, hub: LiveHub) -> None:
        super().__init__()
        self._hub = hub
        self._kind = MessageKind.SNAPSHOT
        self._pending = hub.marks is not None

    def offer(self) -> None:
        """There are new marks, or some became too old."""
        self._pending = True

    def take(self) -> marks.MarksMessage | None:
        """See :meth:`LiveStream.take`."""
        if not self._pending or self._hub.marks is None:
            return None
        self._pending = False
        kind, self._kind = self._kind, MessageKind.UPDATE
        return self._hub.marks_message(kind)

    def close(self) -> None:
        """See :meth:`LiveStream.close`."""
        self._hub.close_marks_stream(self)
