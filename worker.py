"""A scheduled function as a process that goes on until it is told to end, without Cloud Scheduler.

    python -m worker relay_chain_events

The same code as the function, window behind window, under the same lease: a worker and the function may run
at once, and one of them works. It refuses to start without its settings, as the function does. SIGTERM and
SIGINT end it behind the step that it is in, with everything published that was committed and the lease given
back.
"""

from __future__ import annotations

import inspect
import logging
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import main
from shared.errors import ConfigurationError, RetryableError
from shared.runtime import clock, window
from shared.runtime.triggers import Request, declaration_of, enter

WORKERS = ("relay_chain_events",)
"""The functions of the manifest that may run so; a test holds the two equal."""

_PAUSE_S = 1.0

_log = logging.getLogger(__name__)


def work(name: str) -> None:
    """Run a function's windows until the process is told to end.

    Raises:
        ConfigurationError: a setting is missing or wrong; the message names it.
    """
    function = getattr(main, name)
    handle = inspect.unwrap(function)
    while not window.is_ending():
        context = enter(declaration_of(function), clock.now(), None)
        try:
            handle(Request({}, None), context)
        except RetryableError as error:
            _log.warning("a window failed, the next one begins", extra={"reason": str(error)})
            clock.pause(_PAUSE_S)


def _end(_signal: int, _frame: FrameType | None) -> None:
    window.end()


def run(arguments: Sequence[str]) -> int:
    """Run from the command line: 0 when it was told to end, 1 where it cannot start."""
    if len(arguments) != 1 or arguments[0] not in WORKERS:
        sys.stderr.write(f"usage: python -m worker {'|'.join(WORKERS)}\n")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        work(arguments[0])
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
