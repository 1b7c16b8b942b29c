"""What a long benchmark is at, on standard error: a result is the only thing on standard output."""

from __future__ import annotations

import sys
from datetime import UTC, datetime


def say(line: str) -> None:
    """Print a line, with the time of day."""
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", file=sys.stderr, flush=True)
