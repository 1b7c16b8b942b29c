"""Bars of observations, by their definition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.price_bars import BarInterval, bars_of

AS_OF = datetime(2025, 3, 2, tzinfo=UTC)
MOMENTS = st.integers(0, 2 * 86_400 * 10**6).map(lambda micros: AS_OF - timedelta(microseconds=micros))
OBSERVATIONS = st.lists(
    st.tuples(MOMENTS, st.decimals("0.01", "1000", places=2)), unique_by=lambda each: each[0], max_size=30
)


@given(OBSERVATIONS, st.sampled_from(BarInterval))
def test_a_bar_holds_the_observations_of_its_time_and_none_is_invented(
    observations: list[tuple[datetime, Decimal]], interval: BarInterval
) -> None:
    bars = bars_of("ETH", interval, observations, source="s", as_of=AS_OF)
    assert sum(bar.ticks for bar in bars) == len(observations)
    assert [bar.start for bar in bars] == sorted({interval.start_of(moment) for moment, _ in observations})
    for bar in bars:
        inside = sorted(each for each in observations if bar.start <= each[0] < bar.start + interval.length)
        prices = [price for _, price in inside]
        assert (bar.open, bar.close) == (prices[0], prices[-1])
        assert (bar.low, bar.high) == (min(prices), max(prices))


@given(MOMENTS, st.sampled_from(BarInterval))
def test_a_bar_starts_on_the_clock(moment: datetime, interval: BarInterval) -> None:
    start = interval.start_of(moment)
    assert start <= moment < start + interval.length
    assert (start - datetime(2025, 1, 1, tzinfo=UTC)) % interval.length == timedelta(0)
