"""Pub/Sub into the event loop: one ephemeral subscription per topic, opened again when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from shared.config import Settings
from shared.errors import RetryableError
from shared.messaging.subscriber import EphemeralSubscription

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0

Receive = Callable[[str, bytes, str], None]
"""Called in the event loop with topic, body and ordering key."""


class Feed:
    """Follows some topics for the life of the process.

    Args:
        receive: gets every message.
        caught_up: awaited after each time that subscriptions were opened, at the start too: whatever
            was said before is not heard and must be read.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Sequence[str],
        *,
        name: str,
        receive: Receive,
        caught_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._name = name
        self._receive = receive
        self._caught_up = caught_up
        self._tasks: list[asyncio.Task[None]] = []
        self._open: dict[str, EphemeralSubscription] = {}

    @property
    def connected(self) -> bool:
        """Whether every topic is being followed."""
        return len(self._open) == len(self._topics)

    async def start(self) -> None:
        """Open every subscription.

        Raises:
            RetryableError: Pub/Sub did not answer, or a topic does not exist.
        """
        ended = [asyncio.Event() for _ in self._topics]
        await asyncio.gather(
            *(self._follow(topic, event) for topic, event in zip(self._topics, ended, strict=True))
        )
        await self._caught_up()
        self._tasks = [
            asyncio.create_task(self._supervise(topic, event))
            for topic, event in zip(self._topics, ended, strict=True)
        ]

    async def stop(self) -> None:
        """Stop following and delete the subscriptions."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        subscriptions = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(asyncio.to_thread(subscription.close) for subscription in subscriptions))

    async def _follow(self, topic: str, ended: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()

        def receive(data: bytes, ordering_key: str) -> None:
            loop.call_soon_threadsafe(self._receive, topic, data, ordering_key)

        def end(error: BaseException | None) -> None:
            _log.warning("a live subscription ended", extra={"topic": topic, "error": repr(error)})
            loop.call_soon_threadsafe(ended.set)

        subscription = EphemeralSubscription(
            self._settings, topic, name=self._name, on_message=receive, on_end=end
        )
        try:
            await asyncio.to_thread(subscription.open)
        except RetryableError:
            await asyncio.to_thread(subscription.close)
            raise
        self._open[topic] = subscription

    async def _supervise(self, topic: str, ended: asyncio.Event) -> None:
        while True:
            await ended.wait()
            ended.clear()
            await asyncio.to_thread(self._open.pop(topic).close)
            pause_s = _FIRST_PAUSE_S
            while True:
                try:
                    await self._follow(topic, ended)
                    await self._caught_up()
                    break
                except RetryableError as error:
                    _log.warning(
                        "a live subscription is not back yet", extra={"topic": topic, "error": repr(error)}
                    )
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            _log.info("a live subscription is back", extra={"topic": topic})
