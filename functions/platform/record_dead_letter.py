"""Keeps and counts every message that could not be processed, with the reason.

Trigger: HTTP, by a push subscription on every ``*.dead`` topic.
Reads: nothing.
Writes: ``dead_letters``.
Publishes: nothing.

It reads the push request itself instead of a CloudEvent, because the Functions Framework refuses a message
without data, and a dead letter may well be one.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from shared.errors import ConflictError, TerminalError
from shared.events import dead_letters as names
from shared.events.topics import DEAD_LETTER_SUFFIX
from shared.messaging.attributes import ORDERING_KEY
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.stores import database, dead_letters
from shared.stores.dead_letters import DeadLetter, DeadLetterStatus

_log = logging.getLogger(__name__)

_DELIVERY_LIMIT = "delivered as often as the subscription allows, and never taken"
_SUBSCRIPTION = "CloudPubSubDeadLetterSourceSubscription"
_MAX_DATA_BYTES = 900_000


@http_function(uses=("firestore",))
def record_dead_letter(request: Request, context: Context) -> Response:
    """Keep one dead letter; the same one twice is kept once.

    A body that is no push request is not Pub/Sub's; refusing it would only bring it back.
    """
    try:
        letter = _letter(request.body, context)
    except TerminalError as error:
        _log.exception("what came is no dead letter", extra={"body": str(request.body)[:1000]})
        return Response({"dead_letter": None, "error": error.reason, "field": error.field})
    commit = database.Commit(database.connect(context.settings), traceparent=context.traceparent)
    commit.create(dead_letters.path(letter.dead_letter_id), dead_letters.encode(letter))
    try:
        commit.apply()
    except ConflictError:
        return Response({"dead_letter": letter.dead_letter_id, "known": True})
    return Response({"dead_letter": letter.dead_letter_id, "known": False})


def _letter(body: Any, context: Context) -> DeadLetter:
    message = body.get("message") if isinstance(body, Mapping) else None
    if not isinstance(message, Mapping) or "messageId" not in message:
        raise TerminalError("the body is not a Pub/Sub push request", field="message")
    given = message.get("attributes") or {}
    if not isinstance(given, Mapping):
        raise TerminalError("the attributes are not an object", field="message.attributes")
    attributes: dict[str, str] = dict(given)
    try:
        data = base64.b64decode(message.get("data") or "", validate=True)
    except binascii.Error as error:
        raise TerminalError("the data is not base64", field="message.data") from error
    reason = attributes.pop(names.REASON, _DELIVERY_LIMIT)
    if len(data) > _MAX_DATA_BYTES:
        # A document holds a million bytes; the digest says which message it was.
        reason += f" (data of {len(data)} bytes, SHA-256 {sha256(data).hexdigest()}, cut)"
        data = data[:_MAX_DATA_BYTES]
    source = attributes.pop(_SUBSCRIPTION, "")
    topic = attributes.pop(names.SOURCE_TOPIC, "") or _source_topic(source, body)
    function = attributes.pop(names.FUNCTION, "") or source.rpartition("/")[2].partition("--")[0] or None
    message_id = attributes.pop(names.SOURCE_MESSAGE_ID, "") or str(message["messageId"])
    return DeadLetter(
        dead_letter_id=f"{function or 'unknown'}:{topic}:{message_id}",
        topic=topic,
        function=function,
        reason=reason,
        field=attributes.pop(names.FIELD, "") or None,
        message_id=message_id,
        ordering_key=attributes.get(ORDERING_KEY, ""),
        attributes=attributes,
        data=data,
        recorded_at=context.as_of,
        status=DeadLetterStatus.OPEN,
    )


def _source_topic(source_subscription: str, body: Mapping[str, Any]) -> str:
    """The topic a letter came from: told by Pub/Sub, else by the subscription of the dead-letter topic."""
    if source_subscription:
        return source_subscription.rpartition("/")[2].partition("--")[2]
    own = str(body.get("subscription", "")).rpartition("/")[2].partition("--")[2]
    if not own.endswith(DEAD_LETTER_SUFFIX):
        raise TerminalError("the push request names no dead-letter subscription", field="subscription")
    return own.removesuffix(DEAD_LETTER_SUFFIX)
