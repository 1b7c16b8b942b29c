"""Marks and the ticks they come in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from gateway.margin.types import MessageKind
from gateway.scalars import DateTime, Decimal
from shared.domain import marks as domain
from shared.events import prices

MarkStatus = strawberry.enum(
    domain.MarkStatus, name="MarkStatus", description="Whether a mark may be used, and if not, why."
)


@strawberry.type(description="The price used for one asset, in USD per whole token.")
class Mark:
    asset: str
    status: MarkStatus  # type: ignore[valid-type]
    price: Decimal | None = strawberry.field(description="Null exactly where status is not OK.")
    source: str
    round_id: str | None
    observed_at: DateTime | None
    max_age_s: int = strawberry.field(description="The age from which it may no longer be used, in seconds.")
    reason: str | None = strawberry.field(description="Why it cannot be used.")


@strawberry.type(description="Every asset's mark at one moment.")
class Marks:
    sequence: int = strawberry.field(description="Rises by one per tick, across restarts.")
    as_of: DateTime
    current: bool = strawberry.field(
        description="Whether the tick is young enough to be used; false means that ticks have stopped."
    )
    marks: list[Mark]


@strawberry.type(description="A tick; compare sequence with the one seen last to know how many were missed.")
class MarksMessage:
    kind: MessageKind
    sequence: int
    as_of: DateTime
    current: bool
    marks: list[Mark]
    encoded: strawberry.Private[dict[Any, str]] = strawberry.field(default_factory=dict)


def _mark(mark: prices.Mark, now: datetime) -> Mark:
    status, price, reason = mark.status, mark.price, mark.reason
    if status is domain.MarkStatus.OK and not mark.is_fresh(now):
        status, price = domain.MarkStatus.STALE, None
        reason = f"observed at {mark.observed_at}, older than {mark.max_age_s} s"
    return Mark(
        asset=mark.asset,
        status=status,
        price=price,
        source=mark.source,
        round_id=mark.round_id,
        observed_at=mark.observed_at,
        max_age_s=mark.max_age_s,
        reason=reason,
    )


def from_tick(tick: prices.PriceTick, tick_max_age_s: int, now: datetime) -> Marks:
    """A tick as it may be used at ``now``."""
    return Marks(
        sequence=tick.sequence,
        as_of=tick.as_of,
        current=tick.is_current(now, tick_max_age_s),
        marks=[_mark(mark, now) for mark in tick.marks],
    )


def message(kind: MessageKind, marks: Marks) -> MarksMessage:
    """The message of a subscription that shows a tick."""
    return MarksMessage(
        kind=kind, sequence=marks.sequence, as_of=marks.as_of, current=marks.current, marks=marks.marks
    )
