"""Relay connections over pages that are read one record further than asked."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar

import orjson
import strawberry

from gateway.errors import BadUserInputError

Node = TypeVar("Node")
Row = TypeVar("Row")

_IDENTIFIER = re.compile(r"[^/\x00-\x1f]{1,512}")


@strawberry.type(description="Where a page stands among the others.")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type(description="One item of a page and the cursor behind which the next page begins.")
class Edge(Generic[Node]):
    cursor: str
    node: Node


@strawberry.type(description="One page.")
class Connection(Generic[Node]):
    edges: list[Edge[Node]]
    page_info: PageInfo


def encode_cursor(*parts: str | int | datetime) -> str:
    """An opaque cursor of the values that the order of a list is made of."""
    plain = [part.astimezone(UTC).isoformat() if isinstance(part, datetime) else part for part in parts]
    return base64.urlsafe_b64encode(orjson.dumps(plain)).decode().rstrip("=")


def _decode(cursor: str, types: tuple[type, ...], argument: str) -> list[str | int]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        parts = None
    if (
        not isinstance(parts, list)
        or len(parts) != len(types)
        or not all(type(part) is kind for part, kind in zip(parts, types, strict=True))
    ):
        raise BadUserInputError(argument, "is not a cursor that this field gave out")
    return parts


def decode_text_cursor(cursor: str | None, argument: str = "after") -> str | None:
    """The text of a cursor, or None where there is no cursor.

    Raises:
        BadUserInputError: for anything that :func:`encode_cursor` did not make of one string.
    """
    if cursor is None:
        return None
    (text,) = _decode(cursor, (str,), argument)
    return str(text)


def decode_number_cursor(cursor: str | None, argument: str = "after") -> int | None:
    """The number of a cursor, or None where there is no cursor.

    Raises:
        BadUserInputError: for anything that :func:`encode_cursor` did not make of one integer.
    """
    if cursor is None:
        return None
    (number,) = _decode(cursor, (int,), argument)
    return int(number)


def decode_moment_cursor(cursor: str | None, argument: str = "after") -> tuple[datetime, str] | None:
    """The moment and id of a cursor, or None where there is no cursor.

    Raises:
        BadUserInputError: for anything that :func:`encode_cursor` did not make of a moment and an id.
    """
    if cursor is None:
        return None
    moment, identifier = _decode(cursor, (str, str), argument)
    try:
        # The id becomes part of a document's path.
        if not _IDENTIFIER.fullmatch(str(identifier)):
            raise ValueError(identifier)
        return datetime.fromisoformat(str(moment)).astimezone(UTC), str(identifier)
    except ValueError:
        raise BadUserInputError(argument, "is not a cursor that this field gave out") from None


def page(
    rows: Sequence[Row],
    *,
    first: int,
    after: str | None,
    node: Callable[[Row], Node],
    cursor: Callable[[Row], str],
) -> Connection[Node]:
    """The connection of up to ``first + 1`` rows; the row too many says that there is a next page."""
    edges = [Edge(cursor=cursor(row), node=node(row)) for row in rows[:first]]
    return Connection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=len(rows) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )
