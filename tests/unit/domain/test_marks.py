"""A feed's answer is used only where nothing speaks against it, and no answer at all can stop the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.marks import CLOCK_SKEW, FeedRound, Judgement, MarkStatus, judge_round

AS_OF = datetime(2025, 3, 1, 12, tzinfo=UTC)
NOW_S = int(AS_OF.timestamp())
GOOD = FeedRound(round_id=18446744073709562776, answer=183320000000, decimals=8, updated_at=NOW_S - 60)
WORD = 2**256 - 1


def _judge(seen: FeedRound | str, max_age_s: int = 3600) -> Judgement:
    return judge_round(seen, max_age_s=max_age_s, as_of=AS_OF)


def test_a_good_round_is_a_mark() -> None:
    assert _judge(GOOD) == Judgement(
        MarkStatus.OK,
        Decimal("1833.20000000"),
        "18446744073709562776",
        AS_OF - timedelta(seconds=60),
        None,
    )


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"round_id": 0}, MarkStatus.INVALID, "not complete"),
        ({"updated_at": 0}, MarkStatus.INVALID, "never"),
        ({"answer": 0}, MarkStatus.INVALID, "the answer is 0, not above zero"),
        ({"answer": -5}, MarkStatus.INVALID, "the answer is -5, not above zero"),
        ({"decimals": 78}, MarkStatus.INVALID, "78 decimals"),
        ({"decimals": WORD}, MarkStatus.INVALID, "decimals"),
        ({"updated_at": NOW_S + 31}, MarkStatus.INVALID, "in the future"),
        ({"updated_at": WORD}, MarkStatus.INVALID, "in the future"),
        ({"updated_at": NOW_S - 3601}, MarkStatus.STALE, "3601 s old, the limit is 3600 s"),
        ({"updated_at": 1}, MarkStatus.STALE, "the limit is 3600 s"),
    ],
)
def test_a_bad_round_is_none(changes: dict[str, int], status: MarkStatus, reason: str) -> None:
    judgement = _judge(replace(GOOD, **changes))
    assert judgement.status is status
    assert judgement.price is None
    assert judgement.reason is not None
    assert reason in judgement.reason


@pytest.mark.parametrize("age_s", [3600, 0, -30])
def test_the_limits_themselves_are_within(age_s: int) -> None:
    assert timedelta(seconds=30) == CLOCK_SKEW
    assert _judge(replace(GOOD, updated_at=NOW_S - age_s)).status is MarkStatus.OK


def test_a_feed_that_did_not_answer_says_why() -> None:
    assert _judge("execution reverted") == Judgement(
        MarkStatus.MISSING, None, None, None, "execution reverted"
    )


@given(
    st.builds(
        FeedRound,
        round_id=st.integers(0, WORD),
        answer=st.integers(-(2**255), 2**255 - 1),
        decimals=st.integers(0, WORD) | st.integers(0, 30),
        updated_at=st.integers(0, WORD) | st.integers(NOW_S - 4000, NOW_S + 60),
    )
)
def test_any_words_are_judged(seen: FeedRound) -> None:
    judgement = _judge(seen)
    assert (judgement.price is not None) == (judgement.status is MarkStatus.OK)
    assert (judgement.reason is None) == (judgement.status is MarkStatus.OK)
    if judgement.price is not None:
        assert judgement.price > 0
        assert Fraction(judgement.price) == Fraction(seen.answer, 10**seen.decimals)
        assert judgement.observed_at is not None
        assert -CLOCK_SKEW <= AS_OF - judgement.observed_at <= timedelta(seconds=3600)
