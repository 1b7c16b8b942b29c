"""A provider that does not answer in time is left alone for a while by those who have another."""

from __future__ import annotations

from shared.chain.provider_health import ProviderHealth


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        """Now."""
        return self.now_s

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def _silent_for(health: ProviderHealth, clock: Clock) -> int:
    seconds = 0
    while health.silent:
        clock.now_s += 1.0
        seconds += 1
    return seconds


def test_each_silence_is_twice_as_long_as_the_last_up_to_a_minute() -> None:
    clock = Clock()
    health = ProviderHealth(clock)
    assert not health.silent
    lengths = []
    for _ in range(8):
        health.timed_out()
        lengths.append(_silent_for(health, clock))
    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_answer_ends_what_the_next_silence_grows_from() -> None:
    clock = Clock()
    health = ProviderHealth(clock)
    for _ in range(4):
        health.timed_out()
    with health.request():
        clock.now_s += 8.0
    health.timed_out()
    assert _silent_for(health, clock) == 1
