"""Closes kept messages that must not be put back, on an operator's request.

Trigger: HTTP, for operators; body ``{"dead_letter_ids": [...], "dismissed_by": "...", "reason": "..."}``.
Reads: ``dead_letters``.
Writes: ``dead_letters`` (who closed it, and why); the message itself is kept.
Publishes: nothing.

A letter that was put back or closed meanwhile stays as it is and is named in the answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import ConflictError, TerminalError
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.stores import database, dead_letters
from shared.stores.dead_letters import DeadLetterStatus, Dismissal

_Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    # Always by name: what is closed unseen is lost.
    dead_letter_ids: list[Annotated[str, Field(pattern=r"^[^/]+$")]] = Field(min_length=1, max_length=500)
    dismissed_by: _Said
    reason: _Said


@http_function(uses=("firestore",))
def dismiss_dead_letters(request: Request, context: Context) -> Response:
    """Close messages; says which, and which were not open any more."""
    order = _parse(request.body)
    client = database.connect(context.settings)
    found = dead_letters.find_many(client, order.dead_letter_ids)
    unknown = [identifier for identifier in order.dead_letter_ids if identifier not in found]
    if unknown:
        raise TerminalError(f"no dead letter is called {unknown[0]!r}", field="dead_letter_ids")
    dismissal = Dismissal(dismissed_by=order.dismissed_by, reason=order.reason, dismissed_at=clock.now())
    dismissed: list[str] = []
    for identifier in dict.fromkeys(order.dead_letter_ids):
        letter, read_at = found[identifier]
        if letter.status is not DeadLetterStatus.OPEN:
            continue
        closed = replace(letter, status=DeadLetterStatus.DISMISSED, dismissal=dismissal)
        commit = database.Commit(client, traceparent=context.traceparent)
        commit.replace(dead_letters.path(identifier), dead_letters.encode(closed), read_at=read_at)
        try:
            commit.apply()
        except ConflictError:
            # Another request concluded it at the same moment.
            continue
        dismissed.append(identifier)
    not_open = [
        identifier for identifier in dict.fromkeys(order.dead_letter_ids) if identifier not in dismissed
    ]
    return Response({"dismissed": dismissed, "not_open": not_open})


def _parse(body: Any) -> _Order:
    try:
        return _Order.model_validate({} if body is None else body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise TerminalError(first["msg"], field=".".join(map(str, first["loc"])) or "body") from error
