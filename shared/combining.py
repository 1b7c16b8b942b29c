"""Doing at once what several threads want done at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Combiner(Generic[Item, Result]):
    """Gives waiting items of several threads to one call of ``work``.

    Whoever gets the lock takes all that wait, up to ``limit``, so that a burst costs one call per batch and
    not one per item; every caller still returns only when its own item has been dealt with.

    Args:
        work: one result per item, in order; what it raises, every caller of the batch raises.
        limit: most items in one call.
        lock: held during each call; one of its own unless given.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        limit: int,
        lock: threading.Lock | None = None,
    ) -> None:
        self._work = work
        self._limit = limit
        self._lock = lock or threading.Lock()
        self._waiting: deque[tuple[Item, Future[Result]]] = deque()

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    def do(self, item: Item) -> Result:
        """The result of one item.

        Raises:
            Exception: whatever the call that the item was part of raised.
        """
        mine: Future[Result] = Future()
        self._waiting.append((item, mine))
        with self._lock:
            while not mine.done():
                self._do_batch()
        return mine.result()

    def _do_batch(self) -> None:
        count = min(len(self._waiting), self._limit)
        batch = [self._waiting.popleft() for _ in range(count)]
        try:
            results = self._work([item for item, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                future.set_result(result)
        except BaseException as error:
            # Also where the thread is being ended: the others of the batch must not wait for it.
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
