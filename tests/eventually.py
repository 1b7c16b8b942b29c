"""Waiting for what happens in another thread or process, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_INTERVAL_S = 0.02


def eventually(condition: Callable[[], T | None], within_s: float = 10.0) -> T:
    """The first true value of ``condition``.

    Raises:
        AssertionError: it did not become true in time; says what it was last.
    """
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {within_s} s; it was {value!r}")
        time.sleep(_INTERVAL_S)
