"""A source's words are a quote only where nothing speaks against them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.quotes import CLOCK_SKEW, Quote, Refusal, SourceAnswer, judge_answer
from tests.unit.domain.pricing import AS_OF, NOW_S, POLICY, SOURCES

CHAINLINK = SOURCES["chainlink"]
PLACE = POLICY.quotations["chainlink"]
GOOD = SourceAnswer(183320000000, -8, 0, NOW_S - 60, "18446744073709562776")
WORD = 2**256 - 1


def _judge(answer: SourceAnswer | str, *, before: Quote | None = None, as_of: datetime = AS_OF) -> Quote:
    return judge_answer(answer, CHAINLINK, PLACE, POLICY, before=before, as_of=as_of)


def test_a_good_answer_is_a_quote() -> None:
    quote = _judge(GOOD)
    assert (quote.price, quote.confidence, quote.refusal) == (Decimal("1833.2"), Decimal(0), None)
    assert quote.observed_at == AS_OF - timedelta(seconds=60)
    assert (quote.read_at, quote.reference, quote.is_carried) == (AS_OF, "18446744073709562776", False)


@pytest.mark.parametrize(
    ("changes", "refusal", "reason"),
    [
        ({"observed_s": 0}, Refusal.INVALID, "never"),
        ({"value": 0}, Refusal.INVALID, "the answer is 0, not above zero"),
        ({"value": -5}, Refusal.INVALID, "the answer is -5, not above zero"),
        ({"confidence": -1}, Refusal.INVALID, "below zero"),
        ({"exponent": -78}, Refusal.INVALID, "exponent is -78"),
        ({"exponent": WORD}, Refusal.INVALID, "exponent"),
        ({"observed_s": NOW_S + 31}, Refusal.INVALID, "in the future"),
        ({"observed_s": WORD}, Refusal.INVALID, "in the future"),
        ({"observed_s": NOW_S - 3601}, Refusal.STALE, "3601 s old, the limit is 3600 s"),
        ({"observed_s": 1}, Refusal.STALE, "the limit is 3600 s"),
        ({"confidence": 5_500_000_000}, Refusal.WIDE, "wider than 3 %"),
    ],
)
def test_a_bad_answer_is_refused(changes: dict[str, Any], refusal: Refusal, reason: str) -> None:
    quote = _judge(GOOD._replace(**changes))
    assert quote.refusal is refusal
    assert quote.reason is not None
    assert reason in quote.reason


@pytest.mark.parametrize("age_s", [3600, 0, -30])
def test_the_limits_themselves_are_within(age_s: int) -> None:
    assert timedelta(seconds=30) == CLOCK_SKEW
    assert _judge(GOOD._replace(observed_s=NOW_S - age_s)).refusal is None


def test_a_source_that_cannot_be_reached_is_carried_for_a_while_and_then_missing() -> None:
    heard = _judge(GOOD)
    soon, late = AS_OF + timedelta(seconds=30), AS_OF + timedelta(seconds=31)
    carried = _judge("HTTP 503", before=heard, as_of=soon)
    assert (carried.refusal, carried.is_carried, carried.price) == (None, True, heard.price)
    assert (carried.read_at, carried.reason) == (AS_OF, "HTTP 503")
    # Carrying what was carried does not make it younger.
    gone = _judge("HTTP 503", before=carried, as_of=late)
    assert (gone.refusal, gone.reason) == (Refusal.UNREACHABLE, "HTTP 503")


def test_a_carried_quote_ages_by_its_own_feed() -> None:
    heard = _judge(GOOD._replace(observed_s=NOW_S - 3_590))
    assert _judge("HTTP 503", before=heard, as_of=AS_OF + timedelta(seconds=9)).is_carried
    assert _judge("HTTP 503", before=heard, as_of=AS_OF + timedelta(seconds=11)).refusal is not None


def test_an_older_answer_never_replaces_a_newer_one() -> None:
    heard = _judge(GOOD)
    older = GOOD._replace(value=1, observed_s=GOOD.observed_s - 1)
    kept = _judge(older, before=heard, as_of=AS_OF + timedelta(seconds=1))
    assert (kept.price, kept.is_carried) == (heard.price, True)


@pytest.mark.parametrize("changes", [{"value": 0}, {"observed_s": NOW_S - 4_000}])
def test_words_that_are_wrong_are_not_papered_over_with_old_ones(changes: dict[str, Any]) -> None:
    assert _judge(GOOD._replace(**changes), before=_judge(GOOD)).refusal is not None


@given(
    st.builds(
        SourceAnswer,
        value=st.integers(-(2**255), 2**255 - 1),
        exponent=st.integers(-WORD, WORD) | st.integers(-30, 30),
        confidence=st.integers(-1, WORD) | st.just(0),
        observed_s=st.integers(0, WORD) | st.integers(NOW_S - 4000, NOW_S + 60),
        reference=st.just("1"),
    )
)
def test_any_words_are_judged_and_a_price_is_exact(answer: SourceAnswer) -> None:
    quote = _judge(answer)
    if quote.refusal is None:
        assert quote.price is not None
        assert quote.price > 0
        assert Fraction(quote.price) == answer.value * Fraction(10) ** answer.exponent
        assert quote.observed_at == datetime.fromtimestamp(answer.observed_s, UTC)
    else:
        assert quote.reason
