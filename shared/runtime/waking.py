"""Waiting for the next look, or for news that make it due at once."""

from __future__ import annotations

import threading

from shared.runtime import clock

_LEAST_S = 0.02
"""No look comes sooner behind the last, however often it is woken: news may be a flood."""


class Alarm:
    """Waits for a time, which others may cut short."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """Cut the present wait short, or the next one."""
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until it is rung."""
        clock.pause(min(seconds, _LEAST_S))
        if seconds > _LEAST_S:
            self._rung.wait(seconds - _LEAST_S)
        self._rung.clear()
