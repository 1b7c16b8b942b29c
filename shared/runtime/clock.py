"""The only place that reads the clock or draws randomness; nothing below the shell does."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never goes back."""
    return time.monotonic()


def monotonic_ns() -> int:
    """Nanoseconds on a clock that never goes back, to measure what is short."""
    return time.perf_counter_ns()


def pause(seconds: float) -> None:
    """Wait."""
    if seconds > 0:
        time.sleep(seconds)


def random_bytes(count: int) -> bytes:
    """So many random bytes, fit for a secret."""
    return secrets.token_bytes(count)


def new_id() -> str:
    """128 random bits in hexadecimal."""
    return secrets.token_hex(16)
