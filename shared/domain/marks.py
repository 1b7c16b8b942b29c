"""Whether a feed's answer may be used as a mark; if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from shared.domain.money import whole_tokens

MAX_DECIMALS = 77
"""More than any feed has; 10**77 is the largest power of ten that an answer can hold."""

CLOCK_SKEW = timedelta(seconds=30)
"""How far a block's time may lie ahead of ours before we distrust one of the two clocks."""


class MarkStatus(StrEnum):
    """Whether a mark may be used, and if not, why."""

    OK = "ok"
    STALE = "stale"
    INVALID = "invalid"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class FeedRound:
    """The latest round of an AggregatorV3 feed, as it answered; nothing in it has been checked."""

    round_id: int
    answer: int
    decimals: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """A round's verdict; ``price`` (USD per whole token) is present exactly when the status is OK."""

    status: MarkStatus
    price: Decimal | None
    round_id: str | None
    observed_at: datetime | None
    reason: str | None


def judge_round(seen: FeedRound | str, *, max_age_s: int, as_of: datetime) -> Judgement:
    """Decide whether a round may be used at ``as_of``.

    The checks are Chainlink's own: a complete round, a positive answer, an update that is neither older
    than the feed's heartbeat with slack nor in the future
    (https://docs.chain.link/data-feeds/api-reference).

    Args:
        seen: the round, or the reason why the feed gave none.
    """
    if isinstance(seen, str):
        return Judgement(MarkStatus.MISSING, None, None, None, seen)
    round_id = str(seen.round_id)
    # Compared as numbers: a word of 256 bits need not be a moment that a calendar has.
    if not 0 < seen.updated_at <= (as_of + CLOCK_SKEW).timestamp():
        reason = f"updated at second {seen.updated_at}: never, or in the future of {as_of.isoformat()}"
        return Judgement(MarkStatus.INVALID, None, round_id, None, reason)
    observed_at = datetime.fromtimestamp(seen.updated_at, UTC)
    defect = _defect(seen)
    if defect is not None:
        return Judgement(MarkStatus.INVALID, None, round_id, observed_at, defect)
    age = as_of - observed_at
    if age > timedelta(seconds=max_age_s):
        reason = f"{age.total_seconds():.0f} s old, the limit is {max_age_s} s"
        return Judgement(MarkStatus.STALE, None, round_id, observed_at, reason)
    price = whole_tokens(seen.answer, seen.decimals)
    return Judgement(MarkStatus.OK, price, round_id, observed_at, None)


def _defect(seen: FeedRound) -> str | None:
    """Why a round must not be believed whatever its age; None where nothing is wrong with it."""
    if seen.round_id == 0:
        return "the round is not complete"
    if seen.answer <= 0:
        return f"the answer is {seen.answer}, not above zero"
    if seen.decimals > MAX_DECIMALS:
        return f"the feed tells {seen.decimals} decimals, the most is {MAX_DECIMALS}"
    return None
