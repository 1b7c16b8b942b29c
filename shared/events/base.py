"""What every message has in common: frozen, exact, and refusing whatever it does not know."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

UINT256_MAX = 2**256 - 1
_PLAIN_DECIMAL = r"-?[0-9]{1,80}(\.[0-9]{1,80})?"


def _base_units(value: Any) -> int:
    """Accept an int or a string of decimal digits; a float has already lost digits."""
    if type(value) is int:
        amount = value
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,78}", value):
        amount = int(value)
    else:
        raise ValueError("must be an integer in base units, as a string of digits")
    if not 0 <= amount <= UINT256_MAX:
        raise ValueError("must be between 0 and 2^256 - 1")
    return amount


def _timestamp(value: Any) -> Any:
    """Accept RFC 3339 text only; pydantic alone would also read "1700000000" as a moment."""
    if not isinstance(value, str):
        return value
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T", value):
        raise ValueError("must be a moment as in 2025-01-31T12:00:00Z")
    # Strict validation takes text for a moment only where nothing has handled it before.
    return datetime.fromisoformat(value)


def _utc(value: datetime) -> datetime:
    if value.tzinfo is UTC:
        return value
    if value.tzinfo is None:
        raise ValueError("must carry a time zone")
    return value.astimezone(UTC)


def _exact_decimal(value: Any) -> Decimal:
    """Accept a Decimal or plain digits; a JSON number has been through a float, and an exponent may ask
    for a gigabyte of digits."""
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, str) and re.fullmatch(_PLAIN_DECIMAL, value):
        return Decimal(value)
    raise ValueError("must be a finite decimal number, as a string of digits")


BaseUnits = Annotated[
    int,
    BeforeValidator(_base_units),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,78}$"}),
]
"""An unsigned 256-bit token amount in base units; a string of digits on the wire."""

Instant = Annotated[datetime, BeforeValidator(_timestamp), AfterValidator(_utc)]
"""A moment in UTC."""

ExactDecimal = Annotated[
    Decimal,
    BeforeValidator(_exact_decimal),
    PlainSerializer(lambda value: format(value, "f"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_PLAIN_DECIMAL}$"}),
]
"""A finite decimal number; a string on the wire, never a float."""

Address = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{40}$")]
"""An EVM address in lower case."""

Hash32 = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{64}$")]
"""A 32-byte hash in lower case."""

AssetId = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9.]{2,16}$")]
"""An asset's symbol in the network description, the same on every chain."""

Identifier = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^/\x00-\x1f]+$")]
"""What names a thing. Without a slash, since ids become Firestore document ids."""


class Event(BaseModel):
    """Base of every message.

    ``event_id`` is a pure function of what the message announces, so that a message sent twice is
    recognised; ``schema_version`` changes only together with the topic.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    event_id: Identifier
    schema_version: Literal[1] = 1

    def encode(self) -> bytes:
        """The message's bytes on the wire (JSON)."""
        return self.model_dump_json().encode()


class Record(BaseModel):
    """Base of the parts of a message."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]
