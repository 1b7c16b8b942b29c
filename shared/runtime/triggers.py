"""The shell around every function: settings, decoding, logging and the error policy.

A handler is written as a plain Python function of a decoded message (or request) and a
:class:`~shared.runtime.context.Context`. The decorators here register it with the Functions Framework and
decide what happens to an error:

- :class:`~shared.errors.TerminalError`, and a message that does not validate: kept on the topic's
  dead-letter topic with the reason, and acknowledged, so that it does not stop the ones behind it;
- :class:`~shared.errors.RetryableError`, and anything unexpected: raised, so that the platform delivers
  again until its delivery limit, and then keeps the message as a dead letter itself.
"""

from __future__ import annotations

import base64
import functools
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import FunctionType
from typing import Any

import flask
import functions_framework
from cloudevents.http import CloudEvent
from pydantic import TypeAdapter, ValidationError

from shared import config
from shared.errors import ConfigurationError, RetryableError, TerminalError
from shared.events import dead_letters
from shared.events.base import Event
from shared.events.topics import dead_letter_topic
from shared.messaging import attributes as names
from shared.runtime import clock, logs
from shared.runtime.context import Context, load_network

MAX_MESSAGE_BYTES = 1_000_000
"""The largest message that is decoded; ours are far smaller, and decoding costs several times this."""

_TRACEPARENT = re.compile(r"00-(?!0{32})(?P<trace_id>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_SCHEDULE_TIME = "X-CloudScheduler-ScheduleTime"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a function declares beside its code; a test holds ``functions.yaml`` equal to it."""

    name: str
    uses: tuple[str, ...]
    settings: tuple[str, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to an HTTP function."""

    query: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP function's answer."""

    body: Mapping[str, Any]
    status: int = 200


_declarations: dict[str, Declaration] = {}


def declaration_of(function: FunctionType) -> Declaration:
    """What a decorated function declares."""
    return _declarations[function.__name__]


def load_settings(declaration: Declaration) -> config.Settings:
    """The settings of a function, with everything in them that can be checked without a network.

    Raises:
        ConfigurationError: naming every variable that is missing, malformed or contradictory.
    """
    settings = config.load(uses=declaration.uses, settings=declaration.settings)
    if "NETWORK_FILE" in declaration.settings:
        network = load_network(settings)
        if "RPC_URLS" in declaration.settings:
            unreachable = [str(chain) for chain in network.chains if chain not in settings.rpc_urls]
            if unreachable:
                raise ConfigurationError(
                    [f"RPC_URLS has no URL for chain {', '.join(unreachable)} of NETWORK_FILE"]
                )
    return settings


def pubsub_function(
    *,
    uses: tuple[str, ...],
    settings: tuple[str, ...] = (),
    messages: Mapping[str, TypeAdapter[Any]],
) -> Callable[[Callable[[Any, Context], None]], FunctionType]:
    """Make a handler of decoded messages a deployed function.

    Args:
        uses: Google services that it talks to.
        settings: settings that it needs beyond the base ones.
        messages: how to decode the messages of each topic that triggers it.
    """

    def decorate(handle: Callable[[Any, Context], None]) -> FunctionType:
        declaration = Declaration(handle.__name__, uses, settings, tuple(messages))
        _declarations[declaration.name] = declaration

        @functools.wraps(handle)
        def receive(cloud_event: CloudEvent) -> None:
            message = _Message.of(cloud_event)
            traceparent = message.attributes.get(names.TRACEPARENT)
            context = enter(declaration, message.published_at, traceparent, topic=message.topic)
            try:
                event = _decode(message, messages)
                logs.enter(_scope(context, event.event_id))
                handle(event, context)
            except TerminalError as error:
                _log.error(
                    "message refused and kept as a dead letter",
                    extra={"topic": message.topic, "reason": error.reason, "field": error.field},
                )
                _keep(message, error, context)
            except RetryableError as error:
                _log.warning("message will be delivered again", extra={"reason": str(error)})
                raise

        return _registered(functions_framework.cloud_event(receive))

    return decorate


def http_function(
    *, uses: tuple[str, ...], settings: tuple[str, ...] = ()
) -> Callable[[Callable[[Request, Context], Response]], FunctionType]:
    """Make a handler of requests a deployed function; Cloud Scheduler's calls are requests too."""

    def decorate(handle: Callable[[Request, Context], Response]) -> FunctionType:
        declaration = Declaration(handle.__name__, uses, settings, ())
        _declarations[declaration.name] = declaration

        @functools.wraps(handle)
        def receive(request: flask.Request) -> flask.typing.ResponseReturnValue:
            try:
                context = enter(declaration, _arrival(request), request.headers.get("traceparent"))
                response = handle(Request(request.args, _body(request)), context)
            except TerminalError as error:
                return {"error": error.reason, "field": error.field}, 400
            except RetryableError as error:
                _log.warning("request may be tried again", extra={"reason": str(error)})
                return {"error": str(error)}, 503, {"Retry-After": "1"}
            return dict(response.body), response.status

        return _registered(functions_framework.http(receive))

    return decorate


def _registered(function: Any) -> FunctionType:
    if not isinstance(function, FunctionType):
        raise TypeError(f"the Functions Framework wants a plain function, not {type(function)}")
    return function


@dataclass(frozen=True, slots=True)
class _Message:
    topic: str
    message_id: str
    published_at: datetime
    attributes: Mapping[str, str]
    data: bytes

    @staticmethod
    def of(cloud_event: CloudEvent) -> _Message:
        message = cloud_event.data["message"]
        return _Message(
            topic=str(cloud_event["source"]).rpartition("/topics/")[2],
            message_id=message["messageId"],
            published_at=_parse_time(message["publishTime"]),
            attributes=message.get("attributes") or {},
            data=base64.b64decode(message.get("data") or ""),
        )


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _arrival(request: flask.Request) -> datetime:
    """The time of the schedule, where Cloud Scheduler calls; else this moment."""
    scheduled = request.headers.get(_SCHEDULE_TIME)
    if not scheduled:
        return clock.now()
    try:
        moment = _parse_time(scheduled)
    except ValueError as error:
        raise TerminalError(f"{scheduled!r} is not a time", field=_SCHEDULE_TIME) from error
    if moment.tzinfo is None:
        raise TerminalError(f"{scheduled!r} has no time zone", field=_SCHEDULE_TIME)
    return moment


def _body(request: flask.Request) -> Any:
    raw = request.get_data()
    if not raw:
        return None
    body = request.get_json(force=True, silent=True)
    if body is None:
        raise TerminalError("the request body is not JSON", field="body")
    return body


def enter(
    declaration: Declaration, as_of: datetime, traceparent: str | None, *, topic: str | None = None
) -> Context:
    """Begin an invocation: its settings, its logs, its place in the caller's trace.

    Raises:
        ConfigurationError: naming every variable that is missing, malformed or contradictory.
    """
    settings = load_settings(declaration)
    context = Context(
        function=declaration.name,
        settings=settings,
        as_of=as_of,
        invocation_id=clock.new_id(),
        traceparent=child_traceparent(traceparent),
        topic=topic,
    )
    logs.configure(settings)
    logs.enter(_scope(context, None))
    return context


def child_traceparent(traceparent: str | None) -> str:
    """A W3C traceparent in the caller's trace, or in a new one (https://www.w3.org/TR/trace-context/)."""
    caller = _TRACEPARENT.fullmatch(traceparent or "")
    trace_id = clock.new_id() if caller is None else caller["trace_id"]
    return f"00-{trace_id}-{clock.new_id()[:16]}-01"


def _scope(context: Context, event_id: str | None) -> logs.LogScope:
    return logs.LogScope(context.function, context.settings.project, context.traceparent, event_id)


def _decode(message: _Message, messages: Mapping[str, TypeAdapter[Any]]) -> Event:
    adapter = messages.get(message.topic)
    if adapter is None:
        raise TerminalError(f"messages of topic {message.topic!r} are not for this function", field="topic")
    return decode_message(message.data, adapter)


def decode_message(data: bytes, adapter: TypeAdapter[Any]) -> Event:
    """The event of a message's bytes.

    Raises:
        TerminalError: naming the first field that is wrong, and how many more there are.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise TerminalError(
            f"the message has {len(data)} bytes, the most that is taken is {MAX_MESSAGE_BYTES}", field="data"
        )
    try:
        event: Event = adapter.validate_json(data)
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_context=False, include_input=False)
        more = f" (and {len(others)} more)" if others else ""
        field = ".".join(str(part) for part in first["loc"]) or "data"
        raise TerminalError(f"{first['msg']}{more}", field=field) from error
    return event


def _keep(message: _Message, error: TerminalError, context: Context) -> None:
    # Imported here: only a function that refuses a message pays for the publisher.
    from shared.messaging import publisher  # noqa: PLC0415

    attributes = {
        **message.attributes,
        **dead_letters.describe(
            reason=error.reason,
            field=error.field,
            function=context.function,
            topic=message.topic,
            message_id=message.message_id,
        ),
    }
    letter = publisher.OutboundMessage(dead_letter_topic(message.topic), message.data, attributes=attributes)
    (failure,) = publisher.connect(context.settings).publish([letter])
    if failure is not None:
        raise RetryableError(f"the dead letter could not be kept: {failure!r}") from failure
