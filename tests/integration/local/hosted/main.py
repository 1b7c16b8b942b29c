"""Functions for the tests of the functions' host; each writes what it saw beside this file."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import flask
import functions_framework
from cloudevents.http import CloudEvent

FOLDER = Path(__file__).parent


def write(name: str, line: Any) -> None:
    """Append a line to a record, in one write."""
    with (FOLDER / name).open("a") as file:
        file.write(json.dumps(line) + "\n")


@functions_framework.cloud_event
def record(event: CloudEvent) -> None:
    """Write down a message."""
    message = event.data["message"]
    write("recorded", {"source": event["source"], "data": base64.b64decode(message["data"]).decode()})


@functions_framework.cloud_event
def refuse(event: CloudEvent) -> None:
    """Fail on every message that says so; write down the others."""
    data = base64.b64decode(event.data["message"]["data"]).decode()
    write("refused" if data.startswith("refuse") else "taken", data)
    if data.startswith("refuse"):
        raise RuntimeError(data)


@functions_framework.http
def record_dead_letter(request: flask.Request) -> str:
    """Write down a raw push."""
    push = request.get_json()
    data = base64.b64decode(push["message"]["data"]).decode()
    write(
        "dead_letters",
        {
            "path": request.path,
            "data": data,
            "subscription": push["subscription"],
            "attributes": push["message"]["attributes"],
        },
    )
    return "kept"


@functions_framework.http
def tick(request: flask.Request) -> tuple[str, int]:
    """Fail the first time, then write down the headers."""
    first = not (FOLDER / "ticked").exists()
    write("ticked", dict(request.headers))
    return ("not yet", 500) if first else ("done", 200)


@functions_framework.http
def hold(_request: flask.Request) -> str:
    """Wait until somebody writes ``let_go``."""
    (FOLDER / "held").touch()
    while not (FOLDER / "let_go").exists():
        time.sleep(0.01)
    return "let go"
