"""One defensible mark of what several sources say. Pure: the same quotes give the same mark in any order.

What a single source can do: where at least two providers count, one that lies leaves the mark within
``outlier_limit_pct`` of an honest quote, and with three of equal weight within the honest ones. Where one
counts, it moves the mark by no more than ``max_jump_pct`` a tick, and the mark is called degraded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from typing import NamedTuple

from shared.domain.interest import RAY, RAY_DECIMALS
from shared.domain.price_sources import PricePolicy, PriceSource, Valuation
from shared.domain.quotes import Quote, Refusal, SourceAnswer, judge_answer, refuse

# More digits than two 77-digit prices and their mean have.
_EXACT = Context(prec=200, rounding=ROUND_HALF_EVEN)
_NORMAL_MAD = Decimal("1.4826")
"""Scales the median absolute deviation to a normal distribution's standard deviation."""
_ENOUGH_FOR_MAD = 3
_CONFIRMING = 2
_ZERO = Decimal(0)


class MarkStatus(StrEnum):
    """Whether a mark may be used, and if not, why.

    ``OK``: every source counts. ``DEGRADED``: usable, but a source is missing, refused or carried, or the
    last good mark stands in. ``STALE``: not usable, what there is is too old or too little. ``HALTED``: not
    usable, the sources say what may not be believed.
    """

    OK = "ok"
    DEGRADED = "degraded"
    STALE = "stale"
    HALTED = "halted"

    @property
    def is_usable(self) -> bool:
        """Whether there is a price."""
        return self in (MarkStatus.OK, MarkStatus.DEGRADED)


class Method(StrEnum):
    """How a mark was made."""

    WEIGHTED_MEDIAN = "weighted_median"
    SINGLE = "single"
    HELD = "held"
    NONE = "none"


class GoodMark(NamedTuple):
    """A mark that could be used: ``price`` until ``max_age_s`` after ``observed_at``."""

    price: Decimal
    confidence: Decimal
    observed_at: datetime
    max_age_s: int


@dataclass(frozen=True, slots=True)
class UsableMark:
    """What an asset is valued at, USD per whole token: collateral and debt as its policy says (see
    :class:`Valuation`), ``price`` is the mark itself."""

    price: Decimal
    collateral_price: Decimal
    debt_price: Decimal

    @classmethod
    def plain(cls, price: Decimal) -> UsableMark:
        """Both sides at the mark."""
        return cls(price, price, price)


def with_debt_marks(usable: Mapping[str, UsableMark], indexes: Mapping[str, int]) -> dict[str, UsableMark]:
    """What assets are valued at, and beside them, by market, what a whole share of debt in it is: what a debt
    in its asset is valued at, times the market's index, exactly.

    ``indexes`` are borrow indexes by market (:func:`shared.domain.positions.position_key`).
    """
    found = dict(usable)
    for market, index in indexes.items():
        mark = usable.get(market.partition(":")[2])
        if mark is not None:
            found[market] = UsableMark.plain(_accrued(mark.debt_price, index))
    return found


def _accrued(price: Decimal, index: int) -> Decimal:
    if index == RAY:
        return price
    return _EXACT.multiply(price, _EXACT.scaleb(Decimal(index), -RAY_DECIMALS))


class MarkDecision(NamedTuple):
    """An asset's mark at a tick.

    Args:
        good: the mark to use now; None exactly where the status is stale or halted.
        last_good: the newest mark that could be used, this tick's included.
        held_since: since when contradictions have kept the mark from following its sources.
        quotes: of every enabled source, in order of source id.
        reason: what is wrong where the status is not OK.
    """

    status: MarkStatus
    method: Method
    good: GoodMark | None
    last_good: GoodMark | None
    held_since: datetime | None
    quotes: tuple[Quote, ...]
    is_off_peg: bool
    reason: str | None


class Before(NamedTuple):
    """What the tick before knew of an asset."""

    last_good: GoodMark | None = None
    held_since: datetime | None = None
    quotes: Mapping[str, Quote] | None = None


NOTHING_BEFORE = Before()


def decide_mark(
    answers: Mapping[str, SourceAnswer | str],
    sources: Mapping[str, PriceSource],
    policy: PricePolicy,
    *,
    before: Before = NOTHING_BEFORE,
    as_of: datetime,
) -> MarkDecision:
    """An asset's mark of what its sources answered.

    Args:
        answers: by source id; a source without one was not reached.
        before: the tick before's.
    """
    known = before.quotes or {}
    judged = [
        judge_answer(
            answers.get(source_id, "was not asked"),
            sources[source_id],
            quotation,
            policy,
            before=known.get(source_id),
            as_of=as_of,
        )
        for source_id, quotation in sorted(policy.quotations.items())
        if sources[source_id].is_enabled
    ]
    choice = _first_acceptable(judged, sources, policy, before)
    quotes = _explained(judged, choice)
    return _decide(choice, quotes, policy, before, as_of)


def _first_acceptable(
    judged: Sequence[Quote], sources: Mapping[str, PriceSource], policy: PricePolicy, before: Before
) -> _Choice:
    """Without the tie breakers if that will do; and what was carried gives way to what was heard now, for a
    market that moves while a source is unreachable contradicts what that source said before."""
    primary = [quote for quote in judged if not sources[quote.source].is_tie_breaker]
    first: _Choice | None = None
    for candidates in (primary, judged):
        for heard in (candidates, [quote for quote in candidates if not quote.is_carried]):
            choice = _choose(heard, policy, before)
            if choice.contradiction is None and len(choice.used) >= policy.quorum:
                return choice
            first = first or choice
    if first is None:
        raise AssertionError("there is always a first choice")
    return first


class _Choice(NamedTuple):
    """Which quotes count, one per provider; or why none may. ``refused`` has the others by source id."""

    used: tuple[Quote, ...]
    price: Decimal
    confidence: Decimal
    refused: Mapping[str, tuple[Refusal, str]]
    contradiction: tuple[Refusal, str] | None = None


def _choose(judged: Sequence[Quote], policy: PricePolicy, before: Before) -> _Choice:
    refused: dict[str, tuple[Refusal, str]] = {}
    believed: dict[str, Quote] = {}
    for quote in judged:
        if quote.refusal is not None:
            continue
        rival = believed.get(quote.provider)
        better = quote if rival is None or _rank(quote) > _rank(rival) else rival
        if rival is not None:
            worse = rival if better is quote else quote
            refused[worse.source] = (Refusal.NOT_NEEDED, f"{better.source} is newer, of the same provider")
        believed[quote.provider] = better
    quotes = list(believed.values())
    if not quotes:
        return _Choice((), _ZERO, _ZERO, refused)
    price = weighted_median([(_price(quote), quote.weight) for quote in quotes])
    used, outliers = _without_outliers(quotes, price, policy)
    if 2 * len(used) <= len(quotes):
        said = ", ".join(f"{quote.source} {quote.price}" for quote in sorted(quotes, key=_source))
        return _Choice((), _ZERO, _ZERO, refused, (Refusal.CONTRADICTED, f"no majority: {said}"))
    refused.update(outliers)
    stated = weighted_median([(quote.confidence or _ZERO, quote.weight) for quote in used])
    confidence = max(stated, *(abs(_EXACT.subtract(_price(quote), price)) for quote in used))
    contradiction = None
    if confidence * 100 > policy.max_confidence_pct * price:
        wide = f"{price} ± {confidence}: wider than {policy.max_confidence_pct} %"
        contradiction = (Refusal.CONTRADICTED, wide)
    elif _is_unconfirmed(price, used, policy, before):
        last = before.last_good.price if before.last_good is not None else None
        jump = f"from {last} to {price}: more than {policy.max_jump_pct} %, and no second source confirms it"
        contradiction = (Refusal.UNCONFIRMED, jump)
    return _Choice(tuple(used), price, confidence, refused, contradiction)


def _without_outliers(
    quotes: Sequence[Quote], middle: Decimal, policy: PricePolicy
) -> tuple[list[Quote], dict[str, tuple[Refusal, str]]]:
    """The quotes near the weighted median, and why the others are not. The median itself stays that of all:
    of what is left of them, a liar that has an honest quote refused would move it.

    Beyond ``outlier_limit_pct`` none counts; beyond ``outlier_floor_pct`` none counts that is more than
    ``outlier_mads`` scaled median absolute deviations off (Leys et al., 2013,
    https://doi.org/10.1016/j.jesp.2013.03.013).
    """
    deviations = [abs(_price(quote) - middle) for quote in quotes]
    limit = policy.outlier_limit_pct * middle / 100
    floor = policy.outlier_floor_pct * middle / 100
    if len(quotes) >= _ENOUGH_FOR_MAD and max(deviations) > floor:
        spread = weighted_median([(deviation, 1) for deviation in deviations])
        robust = policy.outlier_mads * _NORMAL_MAD * spread
        limit = min(limit, max(floor, robust))
    used: list[Quote] = []
    refused: dict[str, tuple[Refusal, str]] = {}
    for quote, deviation in zip(quotes, deviations, strict=True):
        if deviation <= limit:
            used.append(quote)
        else:
            off = f"{deviation / middle * 100:.3g} % from the median {middle}"
            refused[quote.source] = (Refusal.OUTLIER, off)
    return used, refused


def weighted_median(weighted: Sequence[tuple[Decimal, int]]) -> Decimal:
    """The value with half of the weight on either side; the mean of two where it parts between them."""
    ordered = sorted(weighted)
    total = sum(weight for _, weight in ordered)
    below = 0
    for index, (value, weight) in enumerate(ordered):
        below += weight
        if 2 * below > total:
            return value
        if 2 * below == total:
            return _EXACT.divide(_EXACT.add(value, ordered[index + 1][0]), Decimal(2))
    raise ValueError("a median of nothing")


def _is_unconfirmed(price: Decimal, used: Sequence[Quote], policy: PricePolicy, before: Before) -> bool:
    if before.last_good is None or policy.max_jump_pct is None or len(used) >= _CONFIRMING:
        return False
    last = before.last_good.price
    return abs(price - last) * 100 > policy.max_jump_pct * last


def _explained(judged: Sequence[Quote], choice: _Choice) -> tuple[Quote, ...]:
    """The quotes, each that does not count with the reason."""
    counted = {quote.source for quote in choice.used} if choice.contradiction is None else set()
    explained: list[Quote] = []
    for quote in judged:
        if quote.refusal is not None or quote.source in counted:
            explained.append(quote)
            continue
        why = choice.refused.get(quote.source) or choice.contradiction
        if why is None and quote.is_carried:
            why = (Refusal.UNREACHABLE, quote.reason or "is carried, and the market has moved")
        explained.append(refuse(quote, *(why or (Refusal.NOT_NEEDED, "the others suffice"))))
    return tuple(explained)


def _decide(
    choice: _Choice, quotes: tuple[Quote, ...], policy: PricePolicy, before: Before, as_of: datetime
) -> MarkDecision:
    if choice.contradiction is not None:
        return _held(choice.contradiction[1], quotes, before, policy, as_of)
    if len(choice.used) < policy.quorum:
        wrong = (Refusal.INVALID, Refusal.WIDE, Refusal.OUTLIER)
        halted = any(quote.refusal in wrong for quote in quotes)
        return MarkDecision(
            status=MarkStatus.HALTED if halted else MarkStatus.STALE,
            method=Method.NONE,
            good=None,
            last_good=before.last_good,
            held_since=None,
            quotes=quotes,
            is_off_peg=False,
            reason=_complaints(quotes) or f"{len(choice.used)} providers count, {policy.quorum} must",
        )
    good = _good(choice, policy)
    whole = all(
        (quote.refusal is None and not quote.is_carried) or quote.refusal is Refusal.NOT_NEEDED
        for quote in quotes
    )
    return MarkDecision(
        status=MarkStatus.OK if whole else MarkStatus.DEGRADED,
        method=Method.SINGLE if len(choice.used) == 1 else Method.WEIGHTED_MEDIAN,
        good=good,
        last_good=good,
        held_since=None,
        quotes=quotes,
        is_off_peg=_is_off_peg(good.price, policy),
        reason=None if whole else _complaints(quotes),
    )


def _held(
    reason: str, quotes: tuple[Quote, ...], before: Before, policy: PricePolicy, as_of: datetime
) -> MarkDecision:
    """The last good mark for as long as it may stand in, and then none."""
    since = before.held_since or as_of
    last = before.last_good
    stands_in = (
        last is not None
        and as_of - since <= timedelta(seconds=policy.hold_s)
        and as_of - last.observed_at <= timedelta(seconds=last.max_age_s)
    )
    return MarkDecision(
        status=MarkStatus.DEGRADED if stands_in else MarkStatus.HALTED,
        method=Method.HELD if stands_in else Method.NONE,
        good=last if stands_in else None,
        last_good=last,
        held_since=since,
        quotes=quotes,
        is_off_peg=stands_in and last is not None and _is_off_peg(last.price, policy),
        reason=reason,
    )


def _good(choice: _Choice, policy: PricePolicy) -> GoodMark:
    """Usable until so many quotes have aged that the quorum is lost."""
    newest = max(quote.observed_at for quote in choice.used if quote.observed_at is not None)
    expiries = sorted((quote.expires_at for quote in choice.used), reverse=True)
    expires_at = max(expiries[policy.quorum - 1], newest + timedelta(seconds=1))
    return GoodMark(choice.price, choice.confidence, newest, int((expires_at - newest).total_seconds()))


def valuation_prices(good: GoodMark, policy: PricePolicy) -> tuple[Decimal, Decimal]:
    """What collateral and what debt is valued at, USD per whole token."""
    if policy.valuation is Valuation.MARK:
        return good.price, good.price
    return _EXACT.subtract(good.price, good.confidence), _EXACT.add(good.price, good.confidence)


def _complaints(quotes: Sequence[Quote]) -> str | None:
    wrong = [
        f"{quote.source}: {'carried, ' if quote.is_carried else ''}{quote.reason}"
        for quote in quotes
        if quote.reason is not None and quote.refusal is not Refusal.NOT_NEEDED
    ]
    return "; ".join(wrong) or None


def _is_off_peg(price: Decimal, policy: PricePolicy) -> bool:
    peg = policy.peg
    return peg is not None and abs(price - peg.price) * 100 > peg.limit_pct * peg.price


def _price(quote: Quote) -> Decimal:
    if quote.price is None:
        raise ValueError(f"{quote.source} has no price")
    return quote.price


def _rank(quote: Quote) -> tuple[bool, datetime, str]:
    """Newest first; heard now before carried."""
    if quote.observed_at is None:
        raise ValueError(f"{quote.source} has no observation")
    return (not quote.is_carried, quote.observed_at, quote.source)


def _source(quote: Quote) -> str:
    return quote.source
