"""Structured logs, one JSON object a line, in the form that Cloud Logging reads.

Source of the field names: https://cloud.google.com/logging/docs/structured-logging
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.config import Settings


@dataclass(frozen=True, slots=True)
class LogScope:
    """What every line of one invocation carries."""

    function: str
    project: str
    traceparent: str
    event_id: str | None = None


_scope: ContextVar[LogScope | None] = ContextVar("log_scope", default=None)
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def enter(scope: LogScope) -> None:
    """Put the following lines of this thread into a scope."""
    _scope.set(scope)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object; what was passed as ``extra`` becomes its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, Any] = {
            "severity": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "message": record.getMessage(),
            "logger": record.name,
        }
        scope = _scope.get()
        if scope is not None:
            trace_id, span_id = scope.traceparent.split("-")[1:3]
            line["logging.googleapis.com/trace"] = f"projects/{scope.project}/traces/{trace_id}"
            line["logging.googleapis.com/spanId"] = span_id
            line["function"] = scope.function
            if scope.event_id is not None:
                line["event_id"] = scope.event_id
        for name, value in record.__dict__.items():
            if name not in _STANDARD:
                line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(settings: Settings) -> None:
    """Send this project's logs to standard error as JSON, from the configured level on."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler.formatter, JsonFormatter):
            root.setLevel(settings.log_level)
            return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    # Werkzeug logs each request, which Cloud Run does too, and gRPC logs forks.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
