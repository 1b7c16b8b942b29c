"""Marks and the ticks they come in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from gateway.margin.types import MessageKind
from gateway.scalars import DateTime, Decimal
from shared.domain import marks as domain
from shared.domain.quotes import Refusal
from shared.events import prices

MarkStatus = strawberry.enum(
    domain.MarkStatus, name="MarkStatus", description="Whether a mark may be used, and if not, why."
)


MarkMethod = strawberry.enum(domain.Method, name="MarkMethod", description="How a mark was made.")
QuoteRefusal = strawberry.enum(Refusal, name="QuoteRefusal", description="Why a quote does not count.")


@strawberry.type(description="What one source said of an asset, in USD per whole token.")
class Quote:
    source: str
    provider: str = strawberry.field(description="Sources of the same provider are not independent.")
    price: Decimal | None
    confidence: Decimal | None
    observed_at: DateTime | None
    reference: str | None = strawberry.field(description="The source's round id or publish time.")
    is_carried: bool = strawberry.field(description="Heard at an earlier tick; the source is silent now.")
    refusal: QuoteRefusal | None = strawberry.field(  # type: ignore[valid-type]
        description="Null where the quote counts."
    )
    reason: str | None


@strawberry.type(description="The price used for one asset, in USD per whole token.")
class Mark:
    asset: str
    status: MarkStatus  # type: ignore[valid-type]
    price: Decimal | None = strawberry.field(description="Null exactly where status is STALE or HALTED.")
    confidence: Decimal | None = strawberry.field(
        description="Half the width of the interval that holds every quote that counts."
    )
    collateral_price: Decimal | None = strawberry.field(
        description="What the asset's policy values collateral at."
    )
    debt_price: Decimal | None = strawberry.field(description="What the asset's policy values debt at.")
    source: str = strawberry.field(description="The sources whose quotes count, joined by '+'.")
    method: MarkMethod  # type: ignore[valid-type]
    observed_at: DateTime | None
    age_s: int | None = strawberry.field(description="Age of the observation at the tick, in seconds.")
    max_age_s: int = strawberry.field(description="The age from which it may no longer be used, in seconds.")
    reason: str | None = strawberry.field(description="What is wrong where status is not OK.")
    is_off_peg: bool = strawberry.field(description="Whether a stablecoin is too far from its peg.")
    last_good_price: Decimal | None = strawberry.field(description="The newest price that could be used.")
    last_good_observed_at: DateTime | None
    quotes: list[Quote] = strawberry.field(description="What every enabled source said.")


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
    usable = status.is_usable
    if usable and not mark.is_fresh(now):
        status, price, usable = domain.MarkStatus.STALE, None, False
        reason = f"observed at {mark.observed_at}, older than {mark.max_age_s} s"
    return Mark(
        asset=mark.asset,
        status=status,
        price=price,
        confidence=mark.confidence if usable else None,
        collateral_price=mark.collateral_price if usable else None,
        debt_price=mark.debt_price if usable else None,
        source=mark.source,
        method=mark.method,
        observed_at=mark.observed_at,
        age_s=mark.age_s,
        max_age_s=mark.max_age_s,
        reason=reason,
        is_off_peg=mark.is_off_peg,
        last_good_price=None if mark.last_good is None else mark.last_good.price,
        last_good_observed_at=None if mark.last_good is None else mark.last_good.observed_at,
        quotes=[_quote(quote) for quote in mark.quotes],
    )


def _quote(quote: prices.SourceQuote) -> Quote:
    return Quote(
        source=quote.source,
        provider=quote.provider,
        price=quote.price,
        confidence=quote.confidence,
        observed_at=quote.observed_at,
        reference=quote.reference,
        is_carried=quote.is_carried,
        refusal=quote.refusal,
        reason=quote.reason,
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
