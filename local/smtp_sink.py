"""A mail server that keeps every message and delivers none: SMTP on one port, a mailbox page on another.

``GET /api/messages?after=<number>`` lists messages; ``GET /api/messages/<number>`` has the whole of one;
``PUT /api/failure`` makes it refuse mail (see :mod:`local.failure_switch`).
"""

from __future__ import annotations

import argparse
import asyncio
import time
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.failure_switch import FailureSwitch
from local.journal import Journal
from local.sink_pages import clock_time, list_page, message_page

_PAGE_ROWS = 200
_MAX_MESSAGE_BYTES = 10_000_000


class Mailbox:
    """Receives mail (aiosmtpd's handler) and shows it."""

    def __init__(self, journal: Journal, switch: FailureSwitch) -> None:
        self._journal = journal
        self._switch = switch

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep one message, and only then take responsibility for it (RFC 5321, 4.2.5)."""
        received_at_ms = time.time_ns() // 1_000_000
        refusal = self._switch.take()
        if refusal is not None:
            return f"{refusal} refused by the failure switch"
        source = bytes(envelope.original_content or b"")
        message = message_from_bytes(source, policy=policy.default)
        message_id = str(message["Message-ID"] or "").strip()
        self._journal.append(
            message_id,
            {
                "received_at_ms": received_at_ms,
                "message_id": message_id,
                "from": envelope.mail_from,
                "to": list(envelope.rcpt_tos),
                "subject": str(message["Subject"] or ""),
                "headers": {name: str(value) for name, value in message.items()},
                "source": source.decode("utf-8", "replace"),
            },
        )
        return "250 kept"

    async def list_messages(self, request: Request) -> Response:
        """The messages after a number, without their source."""
        after = int(request.query_params.get("after", "0"))
        messages = [_summary(record) for record in self._journal.after(after)]
        return JSONResponse({"messages": messages, "repeats": self._journal.repeat_count})

    async def get_message(self, request: Request) -> Response:
        """One message, whole."""
        record = self._journal.get(request.path_params["number"])
        return JSONResponse(record) if record else JSONResponse({"error": "no such message"}, 404)

    async def page(self, _request: Request) -> Response:
        """The newest messages, for a person."""
        records = self._journal.after(0)
        rows = [
            (
                each["number"],
                [
                    each["subject"],
                    ", ".join(each["to"]),
                    clock_time(each["received_at_ms"]),
                    str(each["repeats"]),
                ],
            )
            for each in reversed(records[-_PAGE_ROWS:])
        ]
        summary = f"{len(records)} messages, {self._journal.repeat_count} of them repeats."
        return HTMLResponse(list_page("Mailbox", summary, ["Subject", "To", "Received", "Repeats"], rows))

    async def message(self, request: Request) -> Response:
        """One message, for a person."""
        record = self._journal.get(request.path_params["number"])
        if record is None:
            return PlainTextResponse("no such message", 404)
        parsed = message_from_bytes(record["source"].encode(), policy=policy.default)
        body = parsed.get_body(("plain", "html"))
        text = body.get_content() if body is not None else record["source"]
        return HTMLResponse(message_page(record["subject"], record["headers"].items(), text))

    def routes(self) -> list[Route]:
        """The mailbox's pages and API."""
        return [
            Route("/", self.page),
            Route("/messages/{number:int}", self.message),
            Route("/api/messages", self.list_messages),
            Route("/api/messages/{number:int}", self.get_message),
            *self._switch.routes(),
        ]


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("source", "identity")}


async def serve(smtp_port: int, http_port: int, journal: Journal) -> None:
    """Serve both until the process is told to end."""
    mailbox = Mailbox(journal, FailureSwitch(lowest=400, highest=599))
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(
        lambda: SMTP(mailbox, hostname="localhost", data_size_limit=_MAX_MESSAGE_BYTES, enable_SMTPUTF8=True),
        "127.0.0.1",
        smtp_port,
    )
    config = uvicorn.Config(
        Starlette(routes=mailbox.routes()),
        host="127.0.0.1",
        port=http_port,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    async with smtp:
        await uvicorn.Server(config).serve()


def main() -> None:
    """Serve the mailbox."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    options = parser.parse_args()
    with Journal(options.journal) as journal:
        asyncio.run(serve(options.smtp_port, options.http_port, journal))


if __name__ == "__main__":
    main()
