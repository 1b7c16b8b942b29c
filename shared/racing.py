"""Asking several that can answer the same question: the next one where the first fails or dawdles."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TypeVar

from shared.errors import FusionError, RetryableError, TerminalError

Reply = TypeVar("Reply")
Verdict = TypeVar("Verdict")

_KEPT = 64
_ENOUGH_FOR_P95 = 8


class LatencyWindow:
    """The last round trips of one place, in seconds; safe for threads."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_KEPT)

    def add(self, seconds: float) -> None:
        """Count a round trip that succeeded."""
        self._seconds.append(seconds)

    def quantile(self, fraction: float) -> float | None:
        """A quantile of the round trips seen, by nearest rank; None before the first."""
        ordered = sorted(self._seconds)
        return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else None

    def patience_s(self, limit_s: float, *, others: bool) -> float:
        """When to ask a second: after the 95th percentile, and half of the limit while little is known; not
        before the limit where there are no ``others`` to ask, for the same one would only be asked twice."""
        if not others:
            return limit_s
        known = self.quantile(0.95) if len(self._seconds) >= _ENOUGH_FOR_P95 else None
        return limit_s / 2 if known is None else min(known, limit_s)


class RetryBudget:
    """How many second attempts there may be: each first request earns ``earned`` of one, up to ``most``.

    Without it, a source that is ill gets the more requests the worse it is.
    """

    def __init__(self, *, earned: float = 1.0, most: float = 10.0) -> None:
        self._earned, self._most, self._left = earned, most, most
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A first request was made."""
        with self._lock:
            self._left = min(self._most, self._left + self._earned)

    def spend(self) -> bool:
        """Whether a second attempt may be made; it is then paid for."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


class Race:
    """Attempts at one answer, run side by side and started one after the other.

    Args:
        executor: runs the attempts; one that is overtaken goes on until its own timeout.
        monotonic: a clock in seconds.
    """

    def __init__(self, executor: Executor, monotonic: Callable[[], float]) -> None:
        self._executor = executor
        self._monotonic = monotonic

    def run(
        self,
        attempts: Sequence[Callable[[], Reply]],
        enough: Callable[[Sequence[Reply], bool], Verdict | None],
        *,
        together: int,
        patience_s: float,
        limit_s: float,
        may_add: Callable[[], bool],
    ) -> Verdict:
        """What the replies come to.

        Args:
            attempts: in order of preference; each raises ``RetryableError`` or ``TerminalError``.
            enough: the verdict on the replies so far, or None to wait for more; its second argument is True
                where no more will come.
            together: how many are started at once; every further one where one fails, or when
                ``patience_s`` has passed without a verdict.
            limit_s: the most that all of it takes.
            may_add: asked before each further attempt.

        Raises:
            TerminalError: every attempt was refused for good.
            RetryableError: there was no verdict within the limit; says what each attempt did.
        """
        deadline = self._monotonic() + limit_s
        waiting = list(attempts)
        running: set[Future[Reply]] = set()
        replies: list[Reply] = []
        failures: list[FusionError] = []

        def start() -> None:
            running.add(self._executor.submit(waiting.pop(0)))

        for _ in range(min(together, len(waiting))):
            start()
        while running:
            left_s = deadline - self._monotonic()
            if left_s <= 0:
                break
            done, running = wait(
                running, timeout=min(left_s, patience_s) if waiting else left_s, return_when=FIRST_COMPLETED
            )
            for future in done:
                try:
                    replies.append(future.result())
                except (RetryableError, TerminalError) as error:
                    failures.append(error)
            if replies and (verdict := enough(replies, False)) is not None:
                return verdict
            more = not done or len(replies) + len(running) < together or not running
            if more and waiting and may_add():
                start()
        if replies and (verdict := enough(replies, True)) is not None:
            return verdict
        said = "; ".join(str(failure) for failure in failures) or f"no answer within {limit_s:g} s"
        if failures and not running and all(isinstance(failure, TerminalError) for failure in failures):
            raise TerminalError(said)
        raise RetryableError(said)


def first_reply(replies: Sequence[Reply], _is_last: bool) -> Reply:
    """The verdict where any reply will do."""
    return replies[0]
