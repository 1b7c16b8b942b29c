"""Custom scalars. All of them are strings in JSON, so that no client rounds an amount."""

from __future__ import annotations

import decimal
import re
from datetime import UTC, datetime
from typing import Any, NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

BigInt = NewType("BigInt", int)
Address = NewType("Address", str)
Decimal = decimal.Decimal
DateTime = datetime

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_INTEGER = re.compile(r"-?[0-9]{1,78}")


def parse_address(value: Any) -> str:
    """An EVM address in lower case; a checksummed one is accepted.

    Raises:
        ValueError: where it is not one.
    """
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise ValueError("must be an address: 0x and 40 hexadecimal digits")
    return value.lower()


def _address(value: Any) -> str:
    try:
        return parse_address(value)
    except ValueError as error:
        raise GraphQLError(f"Address {error}") from None


def _big_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise GraphQLError("BigInt must be a string of up to 78 decimal digits")


def _decimal(value: Any) -> decimal.Decimal:
    try:
        number = decimal.Decimal(value) if isinstance(value, str) else None
    except decimal.InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise GraphQLError("Decimal must be a finite decimal number in a string")
    return number


def _date_time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise GraphQLError("DateTime must be ISO 8601 with a time zone, as in 2026-01-31T12:00:00Z")
    return moment.astimezone(UTC)


def format_decimal(value: decimal.Decimal) -> str:
    """A decimal in plain notation, every place kept."""
    return format(value, "f")


def format_date_time(value: datetime) -> str:
    """A moment in UTC, in ISO 8601 with microseconds and Z."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


SCALARS: dict[object, ScalarDefinition] = {
    BigInt: strawberry.scalar(
        name="BigInt",
        description="An integer of any size, as a string of decimal digits.",
        serialize=str,
        parse_value=_big_int,
    ),
    Address: strawberry.scalar(
        name="Address",
        description="An EVM address: 0x and 40 hexadecimal digits, in lower case.",
        serialize=str,
        parse_value=_address,
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description="An exact decimal number, as a string in plain notation.",
        serialize=format_decimal,
        parse_value=_decimal,
    ),
    DateTime: strawberry.scalar(
        name="DateTime",
        description="A moment in UTC, ISO 8601 with microseconds, as in 2026-01-31T12:00:00.000000Z.",
        serialize=format_date_time,
        parse_value=_date_time,
    ),
}
