"""Log lines: one JSON object each, in Cloud Logging's fields.

https://cloud.google.com/logging/docs/structured-logging
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.runtime.logs import JsonFormatter, LogScope, enter

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SCOPE = LogScope("notify", "fusion-prime-dev", f"00-{TRACE}-00f067aa0ba902b7-01", "0xaa:000001")


def _line(message: str = "delivered", *arguments: object, **extra: object) -> dict[str, Any]:
    record = logging.getLogger("shared.test").makeRecord(
        "shared.test", logging.WARNING, __file__, 1, message, arguments, None, extra=extra
    )
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    assert datetime.fromisoformat(line.pop("time")) == datetime.fromtimestamp(record.created, UTC)
    return line


@pytest.fixture
def scope() -> LogScope:
    enter(SCOPE)
    return SCOPE


@pytest.mark.usefixtures("scope")
def test_a_line_says_where_it_belongs() -> None:
    assert _line("sent to %s", "a person", count=3) == {
        "severity": "WARNING",
        "message": "sent to a person",
        "logger": "shared.test",
        "logging.googleapis.com/trace": f"projects/fusion-prime-dev/traces/{TRACE}",
        "logging.googleapis.com/spanId": "00f067aa0ba902b7",
        "function": "notify",
        "event_id": "0xaa:000001",
        "count": 3,
    }


@pytest.mark.usefixtures("scope")
def test_extra_fields_of_any_type_are_written() -> None:
    line = _line(topic="t.v1", moment=datetime(2025, 3, 1, tzinfo=UTC), error=ValueError("no"))
    assert line["topic"] == "t.v1"
    assert line["moment"] == "2025-03-01 00:00:00+00:00"
    assert line["error"] == "no"


def test_line_breaks_stay_inside_the_object() -> None:
    assert _line("two\nlines")["message"] == "two\nlines"


def test_an_exception_comes_with_its_trace() -> None:
    try:
        raise ValueError("what happened")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.getLogger("shared.test").makeRecord(
        "shared.test", logging.ERROR, __file__, 1, "failed", (), info
    )
    line = json.loads(JsonFormatter().format(record))
    assert line["severity"] == "ERROR"
    assert "ValueError: what happened" in line["exception"]
    assert "test_logs.py" in line["exception"]
