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
from enum import Enum
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
        return _nullless(_encoder(_Typed(type_.of_type), selection))
    if isinstance(type_, GraphQLList):
        return _list_encoder(_encoder(_Typed(type_.of_type), selection))
    if isinstance(type_, GraphQLObjectType):
        assert selection is not None
        return _object_encoder(type_, selection)
    if isinstance(type_, GraphQLEnumType):
        return _enum_encoder(type_)
    if isinstance(type_, GraphQLScalarType):
        return _scalar_encoder(type_)
    raise NotPlainError(f"{type_} is an abstract type")


def _nullless(encode: Encode) -> Encode:
    # Nullability is the schema's promise; what breaks it must not become a null that the type forbids.
    def encode_present(value: Any) -> str:
        if value is None:
            raise ValueError("a field that cannot be null has no value")
        return encode(value)

    return encode_present


def _list_encoder(encode: Encode) -> Encode:
    def encode_list(values: Any) -> str:
        return "null" if values is None else "[" + ",".join(map(encode, values)) + "]"

    return encode_list


def _object_encoder(type_: GraphQLObjectType, selection: Selection) -> Encode:
    parts: list[str] = []
    fields: list[tuple[Callable[[Any], Any], Encode]] = []
    literal = "{"
    for position, (response_key, name, below) in enumerate(selection):
        literal += ("," if position else "") + _text(response_key) + ":"
        if name == _TYPENAME:
            literal += _text(type_.name)
            continue
        parts.append(literal.replace("%", "%%"))
        literal = ""
        fields.append((_getter(type_, name), _encoder(_Typed(type_.fields[name].type), below)))
    template = "%s".join([*parts, (literal + "}").replace("%", "%%")])

    def encode_object(value: Any) -> str:
        if value is None:
            return "null"
        return template % tuple([encode(get(value)) for get, encode in fields])

    def encode_once(value: Any) -> str:
        if value is None:
            return "null"
        memo: dict[Any, str] = value.encoded
        text = memo.get(encode_once)
        if text is None:
            text = memo[encode_once] = encode_object(value)
        return text

    origin = type_.extensions[_BACKREF].origin
    return encode_once if "encoded" in origin.__annotations__ else encode_object


def _getter(type_: GraphQLObjectType, name: str) -> Callable[[Any], Any]:
    field = type_.fields[name].extensions[_BACKREF]
    if not field.is_basic_field:
        raise NotPlainError(f"{type_.name}.{name} needs a resolver; subscriptions send plain data")
    return attrgetter(field.python_name)


def _enum_encoder(type_: GraphQLEnumType) -> Encode:
    texts = {value.value: _text(name) for name, value in type_.values.items()}

    def encode_enum(value: Any) -> str:
        if value is None:
            return "null"
        return texts[value.value if isinstance(value, Enum) and value not in texts else value]

    return encode_enum


def _scalar_encoder(type_: GraphQLScalarType) -> Encode:
    if type_.name == "DateTime":
        return lambda value: "null" if value is None else _date_time(value)
    serialize = type_.serialize

    def encode_scalar(value: Any) -> str:
        return "null" if value is None else orjson.dumps(serialize(value)).decode()

    return encode_scalar


@lru_cache(maxsize=64)
def _date_time(value: Any) -> str:
    return _text(format_date_time(value))


def _text(value: str) -> str:
    return orjson.dumps(value).decode()
