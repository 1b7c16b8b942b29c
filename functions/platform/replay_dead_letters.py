"""Puts kept messages back on their topic, on an operator's request.

Trigger: HTTP, for operators; body ``{"dead_letter_ids": [...]}``, or ``{"topic": "...", "limit": 100}``.
Reads: ``dead_letters``.
Writes: ``dead_letters`` (marks what was put back).
Publishes: the kept messages, on the topics they came from.

A message is published before it is marked: a crash in between puts it back twice, which consumers ignore.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ConflictError, RetryableError, TerminalError
from shared.messaging import publisher
from shared.messaging.publisher import OutboundMessage
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.stores import database, dead_letters
from shared.stores.dead_letters import DeadLetter, DeadLetterStatus


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    dead_letter_ids: list[Annotated[str, Field(pattern=r"^[^/]+$")]] = Field(
        default_factory=list, max_length=500
    )
    topic: str | None = None
    limit: int = Field(default=100, ge=1, le=500)


@http_function(uses=("firestore", "pubsub"))
def replay_dead_letters(request: Request, context: Context) -> Response:
    """Put messages back; says how many, and which could not be."""
    order = _parse(request.body)
    client = database.connect(context.settings)
    letters = _find(order, context)
    cut = [letter.dead_letter_id for letter, _ in letters if letter.reason.endswith(", cut)")]
    whole = [(letter, read_at) for letter, read_at in letters if letter.dead_letter_id not in cut]
    outcomes = publisher.connect(context.settings).publish(
        [
            OutboundMessage(letter.topic, letter.data, letter.ordering_key, letter.attributes)
            for letter, _ in whole
        ]
    )
    replayed: list[str] = []
    for (letter, read_at), failure in zip(whole, outcomes, strict=True):
        if failure is not None:
            continue
        commit = database.Commit(client, traceparent=context.traceparent)
        marked = replace(letter, status=DeadLetterStatus.REPLAYED)
        commit.replace(dead_letters.path(letter.dead_letter_id), dead_letters.encode(marked), read_at=read_at)
        try:
            commit.apply()
        except ConflictError:
            # Another request put it back at the same moment.
            continue
        replayed.append(letter.dead_letter_id)
    failures = [failure for failure in outcomes if failure is not None]
    if failures:
        raise RetryableError(f"{len(failures)} messages were not taken by Pub/Sub: {failures[0]!r}")
    return Response({"replayed": replayed, "not_whole": cut})


def _parse(body: Any) -> _Order:
    try:
        order = _Order.model_validate({} if body is None else body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise TerminalError(first["msg"], field=".".join(map(str, first["loc"])) or "body") from error
    if not order.dead_letter_ids and order.topic is None:
        raise TerminalError("name the letters or a topic", field="dead_letter_ids")
    return order


def _find(order: _Order, context: Context) -> list[tuple[DeadLetter, Any]]:
    client = database.connect(context.settings)
    if not order.dead_letter_ids:
        waiting = dead_letters.list_open(client, topic=order.topic, limit=order.limit)
        return [(letter, read_at) for letter, read_at in waiting if letter.topic]
    found = dead_letters.find_many(client, order.dead_letter_ids)
    unknown = [identifier for identifier in order.dead_letter_ids if identifier not in found]
    if unknown:
        raise TerminalError(f"no dead letter is called {unknown[0]!r}", field="dead_letter_ids")
    return [found[identifier] for identifier in order.dead_letter_ids]
