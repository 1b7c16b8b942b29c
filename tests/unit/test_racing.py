"""Attempts at one answer: who is asked, when a second is, and what becomes of failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import RetryableError, TerminalError
from shared.racing import LatencyWindow, Race, RetryBudget, first_reply

SECONDS = st.floats(0.001, 10.0)


@pytest.fixture
def race() -> Iterator[Race]:
    """A race of real threads."""
    with ThreadPoolExecutor(8) as executor:
        yield Race(executor, time.monotonic)


def _run(
    race: Race,
    attempts: Sequence[Callable[[], str]],
    *,
    together: int = 1,
    patience_s: float = 5.0,
    limit_s: float = 5.0,
    may_add: Callable[[], bool] = lambda: True,
) -> str:
    return race.run(
        attempts, first_reply, together=together, patience_s=patience_s, limit_s=limit_s, may_add=may_add
    )


def _fails(error: Exception) -> Callable[[], str]:
    def attempt() -> str:
        raise error

    return attempt


def test_one_that_answers_is_the_only_one_asked(race: Race) -> None:
    asked = threading.Event()

    def second() -> str:
        asked.set()
        return "second"

    assert _run(race, [lambda: "first", second]) == "first"
    assert not asked.is_set()


def test_the_next_is_asked_at_once_where_one_fails(race: Race) -> None:
    started = time.monotonic()
    assert _run(race, [_fails(RetryableError("down")), lambda: "second"]) == "second"
    assert time.monotonic() - started < 5.0, "it waited for patience's end"


def test_the_next_is_asked_when_patience_ends_and_the_faster_one_counts(race: Race) -> None:
    released = threading.Event()

    def dawdles() -> str:
        released.wait(10)
        return "slow"

    try:
        assert _run(race, [dawdles, lambda: "fast"], patience_s=0.01) == "fast"
    finally:
        released.set()


def test_without_budget_nobody_else_is_asked_and_what_failed_is_said(race: Race) -> None:
    with pytest.raises(RetryableError, match="node 0 is down"):
        _run(race, [_fails(RetryableError("node 0 is down")), lambda: "second"], may_add=lambda: False)


def test_only_where_all_are_refused_for_good_it_is_for_good(race: Race) -> None:
    with pytest.raises(TerminalError, match="key; key"):
        _run(race, [_fails(TerminalError("key"))] * 2)
    with pytest.raises(RetryableError, match="key; down"):
        _run(race, [_fails(TerminalError("key")), _fails(RetryableError("down"))])


def test_the_limit_ends_it(race: Race) -> None:
    released = threading.Event()
    try:
        with pytest.raises(RetryableError, match=r"no answer within 0\.05 s"):
            _run(race, [lambda: str(released.wait(10))], limit_s=0.05)
    finally:
        released.set()


def test_as_many_as_must_agree_are_asked_together_and_one_that_fails_is_replaced(race: Race) -> None:
    def agreed(replies: Sequence[str], is_last: bool) -> str | None:
        common = [reply for reply in replies if replies.count(reply) >= 2]
        return common[0] if common else ("none" if is_last else None)

    attempts = [lambda: "a", _fails(RetryableError("down")), lambda: "b", lambda: "a"]
    verdict = race.run(attempts, agreed, together=2, patience_s=5.0, limit_s=5.0, may_add=lambda: True)
    assert verdict == "a"
    disputed = [lambda: "a", lambda: "b"]
    verdict = race.run(disputed, agreed, together=2, patience_s=5.0, limit_s=5.0, may_add=lambda: True)
    assert verdict == "none"


@given(st.lists(SECONDS, min_size=1, max_size=100), st.floats(0.0, 1.0))
def test_a_quantile_is_one_of_the_last_round_trips(taken: list[float], fraction: float) -> None:
    window = LatencyWindow()
    assert window.quantile(fraction) is None
    for seconds in taken:
        window.add(seconds)
    kept = taken[-64:]
    quantile = window.quantile(fraction)
    assert quantile in kept
    assert quantile is not None
    # Nearest rank: at least this share of the kept ones is no slower.
    assert sum(seconds <= quantile for seconds in kept) >= fraction * len(kept)


@given(st.lists(SECONDS, max_size=20), st.floats(0.01, 5.0))
def test_patience_never_exceeds_the_limit(taken: list[float], limit_s: float) -> None:
    window = LatencyWindow()
    for seconds in taken:
        window.add(seconds)
    assert 0 < window.patience_s(limit_s, others=True) <= limit_s
    assert window.patience_s(limit_s, others=False) == limit_s
    if len(taken) < 8:
        assert window.patience_s(limit_s, others=True) == limit_s / 2


@given(st.lists(st.booleans(), max_size=80))
def test_second_attempts_never_exceed_what_first_ones_earned(moves: list[bool]) -> None:
    budget = RetryBudget(earned=0.5, most=3.0)
    spent, left = 0, 3.0
    for is_first in moves:
        if is_first:
            budget.earn()
            left = min(3.0, left + 0.5)
        elif budget.spend():
            spent += 1
            left -= 1
            assert left >= 0
        else:
            assert left < 1
    assert spent <= 3 + 0.5 * sum(moves)
