"""A receiver of webhooks that verifies each signature and keeps what it received, with a page to read it.

Signatures are those of Standard Webhooks (https://www.standardwebhooks.com). ``GET /api/messages?after=
<number>`` lists what was accepted; ``PUT /api/failure`` makes it refuse (see :mod:`local.failure_switch`).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import uvicorn
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.failure_switch import FailureSwitch
from local.journal import Journal
from local.sink_pages import clock_time, list_page, message_page

SECRET_VARIABLE = "WEBHOOK_SECRET"  # noqa: S105 - a variable's name
_PAGE_ROWS = 200


class Receiver:
    """Accepts signed webhooks below ``/hook/`` and shows them."""

    def __init__(self, secret: str, journal: Journal, switch: FailureSwitch) -> None:
        self._webhook = Webhook(secret)
        self._journal = journal
        self._switch = switch
        self._refused = 0

    async def receive(self, request: Request) -> Response:
        """Keep one webhook, and only then acknowledge it."""
        received_at_ms = time.time_ns() // 1_000_000
        refusal = self._switch.take()
        if refusal is not None:
            return JSONResponse({"error": "refused by the failure switch"}, refusal)
        body = await request.body()
        try:
            parsed = self._webhook.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError) as error:
            self._refused += 1
            return JSONResponse({"error": f"not accepted: {error}"}, 401)
        webhook_id = request.headers["webhook-id"]
        self._journal.append(
            webhook_id,
            {
                "received_at_ms": received_at_ms,
                "webhook_id": webhook_id,
                "path": request.url.path,
                "body": parsed,
            },
        )
        return JSONResponse({"kept": webhook_id})

    async def list_messages(self, request: Request) -> Response:
        """The webhooks after a number."""
        after = int(request.query_params.get("after", "0"))
        return JSONResponse(
            {
                "messages": [_shown(record) for record in self._journal.after(after)],
                "repeats": self._journal.repeat_count,
                "refused": self._refused,
            }
        )

    async def page(self, _request: Request) -> Response:
        """The newest webhooks, for a person."""
        records = self._journal.after(0)
        rows = [
            (
                each["number"],
                [each["webhook_id"], each["path"], clock_time(each["received_at_ms"]), str(each["repeats"])],
            )
            for each in reversed(records[-_PAGE_ROWS:])
        ]
        summary = (
            f"{len(records)} webhooks with a valid signature, {self._journal.repeat_count} of them repeats; "
            f"{self._refused} refused."
        )
        return HTMLResponse(list_page("Webhooks", summary, ["Id", "Path", "Received", "Repeats"], rows))

    async def message(self, request: Request) -> Response:
        """One webhook, for a person."""
        record = self._journal.get(request.path_params["number"])
        if record is None:
            return PlainTextResponse("no such webhook", 404)
        fields = [("Path", record["path"]), ("Received", clock_time(record["received_at_ms"]))]
        return HTMLResponse(message_page(record["webhook_id"], fields, json.dumps(record["body"], indent=2)))

    def routes(self) -> list[Route]:
        """The receiver, its pages and its API."""
        return [
            Route("/hook/{rest:path}", self.receive, methods=["POST"]),
            Route("/", self.page),
            Route("/messages/{number:int}", self.message),
            Route("/api/messages", self.list_messages),
            *self._switch.routes(),
        ]


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "identity"}


def main() -> None:
    """Serve the receiver; the secret comes from the environment, so that no process list shows it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    options = parser.parse_args()
    if SECRET_VARIABLE not in os.environ:
        parser.error(f"{SECRET_VARIABLE} is not set: the secret that webhooks are signed with")
    with Journal(options.journal) as journal:
        receiver = Receiver(os.environ[SECRET_VARIABLE], journal, FailureSwitch(lowest=400, highest=599))
        uvicorn.run(
            Starlette(routes=receiver.routes()),
            host="127.0.0.1",
            port=options.port,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )


if __name__ == "__main__":
    main()
