"""Circuit breakers, as a source fails and comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.breakers import FAILURES_TO_OPEN, Breaker, BreakerState

NOW = datetime(2025, 3, 1, tzinfo=UTC)


def _failed(breaker: Breaker, times: int, now: datetime = NOW) -> Breaker:
    for _ in range(times):
        breaker = breaker.failed(now, "HTTP 503")
    return breaker


def test_it_opens_after_failures_in_a_row_and_a_success_between_them_starts_anew() -> None:
    almost = _failed(Breaker(), FAILURES_TO_OPEN - 1)
    assert almost.state(NOW) is BreakerState.CLOSED
    assert _failed(almost, 1).state(NOW) is BreakerState.OPEN
    assert _failed(almost.succeeded(NOW), FAILURES_TO_OPEN - 1).allows(NOW)


def test_it_is_tried_once_when_its_pause_ends_and_closes_or_opens_for_longer() -> None:
    opened = _failed(Breaker(), FAILURES_TO_OPEN)
    assert opened.retry_at == NOW + timedelta(seconds=1)
    later = NOW + timedelta(seconds=1)
    assert opened.state(later - timedelta(microseconds=1)) is BreakerState.OPEN
    assert opened.state(later) is BreakerState.HALF_OPEN
    again = opened.failed(later, "HTTP 503")
    assert again.retry_at == later + timedelta(seconds=2)
    closed = opened.succeeded(later)
    assert (closed.state(later), closed.last_success_at, closed.last_error) == (
        BreakerState.CLOSED,
        later,
        "HTTP 503",
    )


def test_pauses_double_up_to_a_minute() -> None:
    breaker, now, pauses = _failed(Breaker(), FAILURES_TO_OPEN), NOW, []
    for _ in range(9):
        assert breaker.retry_at is not None
        pauses.append((breaker.retry_at - now).total_seconds())
        now = breaker.retry_at
        breaker = breaker.failed(now, "HTTP 503")
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_what_is_final_in_itself_opens_at_once() -> None:
    refused = Breaker().failed(NOW, "HTTP 403", opens_at_once=True)
    assert refused.state(NOW + timedelta(seconds=59)) is BreakerState.OPEN
    assert refused.state(NOW + timedelta(seconds=60)) is BreakerState.HALF_OPEN


@pytest.mark.parametrize("state", list(BreakerState))
def test_only_an_open_one_is_left_alone(state: BreakerState) -> None:
    opened = _failed(Breaker(), FAILURES_TO_OPEN)
    breaker, now = {
        BreakerState.CLOSED: (Breaker(), NOW),
        BreakerState.OPEN: (opened, NOW),
        BreakerState.HALF_OPEN: (opened, NOW + timedelta(seconds=5)),
    }[state]
    assert breaker.state(now) is state
    assert breaker.allows(now) == (state is not BreakerState.OPEN)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 90)), max_size=40))
def test_it_never_stays_away_for_more_than_a_minute_and_always_recovers(
    moves: list[tuple[bool, int]],
) -> None:
    breaker, now = Breaker(), NOW
    for succeeds, wait_s in moves:
        now += timedelta(seconds=wait_s)
        if not breaker.allows(now):
            continue
        breaker = breaker.succeeded(now) if succeeds else breaker.failed(now, "down")
        assert breaker.retry_at is None or breaker.retry_at <= now + timedelta(seconds=60)
        assert not succeeds or breaker.state(now) is BreakerState.CLOSED
    at_last = now + timedelta(seconds=60)
    assert breaker.allows(at_last)
    assert breaker.succeeded(at_last).state(at_last) is BreakerState.CLOSED
