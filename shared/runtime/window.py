"""Ticking at a short interval inside the minute that Cloud Scheduler grants.

Scheduler fires once a minute at most. A scheduled function takes a lease and ticks at its own interval
until its window ends; another copy started meanwhile waits for the lease, so two never tick at once and a
crash costs no more than the rest of the lease.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from shared.errors import RetryableError
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.held_lease import HeldLease
from shared.stores import database

_ending = threading.Event()

_log = logging.getLogger(__name__)


def end() -> None:
    """End every window of this process, behind the step that it is in; the lease is given back."""
    _ending.set()


def is_ending() -> bool:
    """Whether the process was told to end."""
    return _ending.is_set()


def tick_under_lease(
    client: database.Client,
    context: Context,
    *,
    interval_s: float,
    begin: Callable[[], Callable[[], bool]],
    wait: Callable[[float], None] = clock.pause,
) -> int:
    """Tick every ``interval_s`` while holding the function's lease, until the window ends, or the process is
    told to end.

    Args:
        begin: called once the lease is held; returns the step to call per tick. A step returns True to be
            called again at once (it is behind), and raises ``RetryableError`` when a dependency failed,
            which is logged and tried again at the next tick.
        wait: waits for so many seconds, while the lease is held; news may cut it short.

    Returns:
        The number of steps that succeeded.

    Raises:
        RetryableError: the window ended while the last step was failing.
    """
    window_ends = clock.monotonic() + context.settings.window_s
    step: Callable[[], bool] | None = None
    succeeded = 0
    failure: RetryableError | None = None
    with HeldLease(client, context.function, context.invocation_id) as lease:
        while True:
            started = clock.monotonic()
            behind = False
            try:
                if not lease.is_held():
                    step = None
                    lease.take()
                if lease.is_held():
                    step = step or begin()
                    behind = step()
                    succeeded += 1
                failure = None
            except RetryableError as error:
                failure = error
                _log.warning("tick failed, will try again", extra={"reason": str(error)})
                step = None
            wait_s = 0.0 if behind else max(0.0, started + interval_s - clock.monotonic())
            if _ending.is_set() or clock.monotonic() + wait_s >= window_ends:
                break
            (wait if lease.is_held() else clock.pause)(wait_s)
            if _ending.is_set():
                break
    if failure is not None:
        raise failure
    return succeeded
