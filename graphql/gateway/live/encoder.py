"""Compiles a subscription's selection set into a plain encoder.

graphql-core walks the selection set again for every event and subscriber. The types below a subscription
are plain data, so the walk can be done once: :func:`compile_encoder` follows ``CollectFields`` of the
GraphQL specification (aliases, fragments, ``__typename``, ``@include`` and ``@skip`` with their variables,
merged fields) and leaves a function from an event to the response's JSON text. A property test holds it
equal to graphql-core's own execution.

Equal selections share one encoder, and an object with an ``encoded`` memo is encoded once per encoder,
however many subscribers read it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeAlias

import orjson
from graphql import (
    Executor,
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
)
from graphql.execution.collect_fields import collect_fields

from gateway.scalars import format_date_time

Encode: TypeAlias = Callable[[Any], str]
Selection: TypeAlias = tuple[tuple[str, str, "Selection | None"], ...]
"""(response key, field name, selection below or None for a leaf), in response order."""

_TYPENAME = "__typename"
_BACKREF = "strawberry-definition"


class NotPlainError(TypeError):
    """A type below a subscription has a field that needs a resolver or arguments; it cannot be compiled."""


def compile_encoder(executor: Executor[Any]) -> Encode:
    """The encoder of a subscription operation: from an event to the JSON text of ``data``.

    Args:
        executor: graphql-core's executor of the validated operation with its coerced variables.

    Raises:
        NotPlainError: a selected type is not plain data (an error in the schema, not in the request).
    """
    root = executor.schema.subscription_type
    assert root is not None
    grouped = collect_fields(
        executor.schema, executor.fragments, executor.variable_values, root, executor.operation
    ).grouped_field_set
    ((response_key, details),) = grouped.items()
    field = root.fields[details[0].node.name.value]
    selection = _select(executor, _object_type(field.type), details)
    encode = _encoder(_Typed(field.type), selection)
    prefix = "{" + _text(response_key) + ":"
    return lambda event: prefix + encode(event) + "}"


def _select(executor: Executor[Any], type_: GraphQLObjectType | None, details: Any) -> Selection | None:
    if type_ is None:
        return None
    grouped = executor.collect_subfields(type_, details).grouped_field_set
    selection = []
    for response_key, below in grouped.items():
        name = below[0].node.name.value
        inner = None if name == _TYPENAME else _object_type(type_.fields[name].type)
        selection.append((response_key, name, _select(executor, inner, below)))
    return tuple(selection)


def _object_type(type_: GraphQLOutputType) -> GraphQLObjectType | None:
    while isinstance(type_, GraphQLNonNull | GraphQLList):
        type_ = type_.of_type
    return type_ if isinstance(type_, GraphQLObjectType) else None


class _Typed:
    """An output type as a cache key: graphql-core makes wrapping types anew, equal by their text."""

    __slots__ = ("type",)

    def __init__(self, type_: GraphQLOutputType) -> None:
        self.type = type_

    def _identity(self) -> tuple[str, int]:
        named: Any = self.type
        while isinstance(named, GraphQLNonNull | GraphQLList):
            named = named.of_type
        return str(self.type), id(named)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Typed) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


@lru_cache(maxsize=1024)
def _encoder(typed: _Typed, selection: Selection | None) -> Encode:
    type_ = typed.type
    if isinstance(type_, GraphQLNonNull):
        return _present_encoder(type_.of_type, selection)
    encode = _present_encoder(type_, selection)
    return lambda value: "null" if value is None else encode(value)


def _present_encoder(type_: GraphQLOutputType, selection: Selection | None) -> Encode:
    """The encoder of values that are not null; it raises for null, which the type forbids."""
    if isinstance(type_, GraphQLList):
        encode_item = _encoder(_Typed(type_.of_type), selection)
        return lambda values: "[" + ",".join([encode_item(value) for value in values]) + "]"
    if isinstance(type_, GraphQLObjectType):
        assert selection is not None
        return _object_encoder(type_, selection)
    if isinstance(type_, GraphQLEnumType):
        # Every enum of ours is a StrEnum: its members are found by their values.
        return {value.value: _text(name) for name, value in type_.values.items()}.__getitem__
    if isinstance(type_, GraphQLScalarType):
        return _scalar_encoder(type_)
    raise NotPlainError(f"{type_} is an abstract type")


def _object_encoder(type_: GraphQLObjectType, selection: Selection) -> Encode:
    parts: list[str] = []
    names: list[str] = []
    encoders: list[Encode] = []
    literal = "{"
    for position, (response_key, name, below) in enumerate(selection):
        literal += ("," if position else "") + _text(response_key) + ":"
        if name == _TYPENAME:
            literal += _text(type_.name)
            continue
        parts.append(literal.replace("%", "%%"))
        literal = ""
        names.append(_attribute(type_, name))
        encoders.append(_encoder(_Typed(type_.fields[name].type), below))
    template = "%s".join([*parts, (literal + "}").replace("%", "%%")])
    # attrgetter gives a tuple only for several names.
    get = attrgetter(*names, "__class__") if names else lambda _value: ()

    def encode_object(value: Any) -> str:
        # The class is one value more than there are encoders.
        return template % tuple([encode(part) for encode, part in zip(encoders, get(value), strict=False)])

    def encode_once(value: Any) -> str:
        memo: dict[Any, str] = value.encoded
        text = memo.get(encode_once)
        if text is None:
            text = memo[encode_once] = encode_object(value)
        return text

    origin = type_.extensions[_BACKREF].origin
    return encode_once if "encoded" in origin.__annotations__ else encode_object


def _attribute(type_: GraphQLObjectType, name: str) -> str:
    field = type_.fields[name].extensions[_BACKREF]
    if not field.is_basic_field:
        raise NotPlainError(f"{type_.name}.{name} needs a resolver; subscriptions send plain data")
    python_name: str = field.python_name
    return python_name


def _scalar_encoder(type_: GraphQLScalarType) -> Encode:
    fast = _FAST.get(type_.name)
    if fast is not None:
        return fast

    def encode_scalar(value: Any) -> str:
        serialized = type_.serialize(value)
        if serialized is None:
            raise TypeError(f"{type_.name} cannot be null")
        return orjson.dumps(serialized).decode()

    return encode_scalar


def _encode_int(value: Any) -> str:
    if type(value) is not int or not -(2**31) <= value < 2**31:
        raise TypeError(f"Int cannot represent {value!r}")
    return str(value)


def _encode_string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"String cannot represent {value!r}")
    return _text(value)


@lru_cache(maxsize=64)
def _encode_date_time(value: Any) -> str:
    return _text(format_date_time(value))


def _text(value: str) -> str:
    return orjson.dumps(value).decode()


# The scalars of every message, past graphql-core's general conversions: these take what our own types
# hold and nothing else.
_FAST: dict[str, Encode] = {
    "Int": _encode_int,
    "String": _encode_string,
    "ID": _encode_string,
    "Decimal": lambda value: f'"{value:f}"' if value is not None else _encode_string(value),
    "DateTime": _encode_date_time,
}
