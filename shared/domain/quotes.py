"""What a source said about a price, and whether it may be believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from shared.domain.money import whole_tokens
from shared.domain.price_sources import PricePolicy, PriceSource, Quotation

MAX_EXPONENT = 77
"""More than any feed's, either way; 10**77 is the largest power of ten that a word can hold."""

CLOCK_SKEW = timedelta(seconds=30)
"""How far a source's time may lie ahead of ours before we distrust one of the two clocks."""


class Refusal(StrEnum):
    """Why a quote does not count.

    ``UNREACHABLE``: the source did not answer, or not about this asset. ``STALE``: older than its feed may
    be. ``OLDER``: older than what the same source said before. ``INVALID``: it cannot be a price. ``WIDE``:
    its own confidence is too wide. ``OUTLIER``: too far from the others. ``CONTRADICTED``: the sources
    contradict each other and nothing says which is right. ``UNCONFIRMED``: a jump that no second provider
    confirms. ``NOT_NEEDED``: a tie breaker where there is no tie, or a second source of the same provider.
    """

    UNREACHABLE = "unreachable"
    STALE = "stale"
    OLDER = "older"
    INVALID = "invalid"
    WIDE = "wide"
    OUTLIER = "outlier"
    CONTRADICTED = "contradicted"
    UNCONFIRMED = "unconfirmed"
    NOT_NEEDED = "not_needed"


# Named tuples, of which a tick makes hundreds: a frozen dataclass costs five times as much.


class SourceAnswer(NamedTuple):
    """A source's words; nothing in them has been checked.

    The price is ``value * 10**exponent`` USD per whole token, the confidence likewise; ``observed_s`` is the
    source's own time in Unix seconds; ``reference`` is the round id or publish
    time by which it is found again.
    """

    value: int
    exponent: int
    confidence: int
    observed_s: int
    reference: str


class Quote(NamedTuple):
    """A source's price at a tick: believed, or refused and why.

    ``price`` is present wherever the words were a price at all, also of a refused quote. ``read_at`` is when
    we heard it: a carried quote was heard at an earlier tick.
    """

    source: str
    provider: str
    weight: int
    max_age_s: int
    price: Decimal | None = None
    confidence: Decimal | None = None
    observed_at: datetime | None = None
    read_at: datetime | None = None
    reference: str | None = None
    is_carried: bool = False
    refusal: Refusal | None = None
    reason: str | None = None

    @property
    def expires_at(self) -> datetime:
        """The last moment at which the observation may be used; raises for a quote without one."""
        if self.observed_at is None:
            raise ValueError(f"{self.source} has no observation")
        return self.observed_at + timedelta(seconds=self.max_age_s)


def judge_answer(
    answer: SourceAnswer | str,
    source: PriceSource,
    quotation: Quotation,
    policy: PricePolicy,
    *,
    before: Quote | None,
    as_of: datetime,
) -> Quote:
    """A source's answer as a quote.

    The checks are the publishers' own: a positive price, an observation neither in the future nor older than
    the feed's rhythm (https://docs.chain.link/data-feeds/api-reference), a confidence that is narrow against
    the price (https://docs.pyth.network/price-feeds/best-practices).

    Args:
        answer: the words, or the reason why there are none.
        before: the same source's quote at the tick before; it stands in for ``carry_s`` while the source
            cannot be reached, or answers with something older.
    """
    quote = _quote(answer, source, quotation, policy, as_of)
    if quote.refusal is None and _is_older(quote, before):
        quote = refuse(quote, Refusal.OLDER, "older than what the source said before")
    if quote.refusal in (Refusal.UNREACHABLE, Refusal.OLDER) and before is not None:
        return _carried(before, quote, policy, as_of) or quote
    return quote


def _quote(
    answer: SourceAnswer | str,
    source: PriceSource,
    quotation: Quotation,
    policy: PricePolicy,
    as_of: datetime,
) -> Quote:
    place = (source.source_id, source.provider, quotation.weight, quotation.max_age_s)
    if isinstance(answer, str):
        return Quote(*place, refusal=Refusal.UNREACHABLE, reason=answer)
    # Compared as numbers: a word of 256 bits need not be a moment that a calendar has.
    if not 0 < answer.observed_s <= (as_of + CLOCK_SKEW).timestamp():
        reason = f"updated at second {answer.observed_s}: never, or in the future of {as_of.isoformat()}"
        return Quote(
            *place, read_at=as_of, reference=answer.reference, refusal=Refusal.INVALID, reason=reason
        )
    observed_at = datetime.fromtimestamp(answer.observed_s, UTC)
    defect = _defect(answer)
    if defect is not None:
        return Quote(
            *place,
            observed_at=observed_at,
            read_at=as_of,
            reference=answer.reference,
            refusal=Refusal.INVALID,
            reason=defect,
        )
    price = whole_tokens(answer.value, -answer.exponent)
    confidence = whole_tokens(answer.confidence, -answer.exponent)
    refusal, why = _limit_missed(price, confidence, as_of - observed_at, quotation, policy)
    return Quote(*place, price, confidence, observed_at, as_of, answer.reference, False, refusal, why)


def _limit_missed(
    price: Decimal, confidence: Decimal, age: timedelta, quotation: Quotation, policy: PricePolicy
) -> tuple[Refusal | None, str | None]:
    """Which limit of its feed or policy a price does not keep."""
    if age.total_seconds() > quotation.max_age_s:
        return Refusal.STALE, f"{age.total_seconds():.0f} s old, the limit is {quotation.max_age_s} s"
    # Most quotes say no confidence, and nothing is narrower.
    if confidence and confidence * 100 > policy.max_confidence_pct * price:
        return Refusal.WIDE, f"{price} ± {confidence}: wider than {policy.max_confidence_pct} %"
    return None, None


def _defect(answer: SourceAnswer) -> str | None:
    """Why an answer must not be believed whatever its age; None where nothing is wrong with it."""
    if answer.value <= 0:
        return f"the answer is {answer.value}, not above zero"
    if answer.confidence < 0:
        return f"the confidence is {answer.confidence}, below zero"
    if abs(answer.exponent) > MAX_EXPONENT:
        return f"the exponent is {answer.exponent}, the most is {MAX_EXPONENT} either way"
    return None


def _is_older(quote: Quote, before: Quote | None) -> bool:
    return (
        before is not None
        and before.refusal
        in (None, Refusal.NOT_NEEDED, Refusal.OUTLIER, Refusal.CONTRADICTED, Refusal.UNCONFIRMED)
        and before.observed_at is not None
        and quote.observed_at is not None
        and quote.observed_at < before.observed_at
    )


def _carried(before: Quote, now: Quote, policy: PricePolicy, as_of: datetime) -> Quote | None:
    """The quote before, where it may stand in for the one that is missing now."""
    if before.price is None or before.read_at is None or before.observed_at is None:
        return None
    if before.refusal in (Refusal.STALE, Refusal.WIDE, Refusal.INVALID):
        return None
    if as_of - before.read_at > timedelta(seconds=policy.carry_s):
        return None
    if as_of - before.observed_at > timedelta(seconds=now.max_age_s):
        return None
    return before._replace(
        weight=now.weight, max_age_s=now.max_age_s, is_carried=True, refusal=None, reason=now.reason
    )


def refuse(quote: Quote, refusal: Refusal, reason: str) -> Quote:
    """The quote, marked as one that does not count."""
    return quote._replace(refusal=refusal, reason=reason)
