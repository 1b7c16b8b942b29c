"""Several threads' items in one call."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.combining import Combiner


def test_waiting_items_share_calls_and_each_gets_its_own_result() -> None:
    batches: list[list[int]] = []
    first_is_in = threading.Event()
    others_wait = threading.Event()

    def double(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        if len(batches) == 1:
            first_is_in.set()
            assert others_wait.wait(10)
        return [2 * item for item in items]

    combiner = Combiner(double, limit=4)
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(combiner.do, 0)
        assert first_is_in.wait(10)
        others = [pool.submit(combiner.do, item) for item in range(1, 10)]
        while len(combiner) < 9:
            pass
        others_wait.set()
        assert [first.result(), *(other.result() for other in others)] == [2 * item for item in range(10)]
    assert sorted(item for batch in batches for item in batch) == list(range(10))
    assert [len(batch) for batch in batches] == [1, 4, 4, 1]


def test_a_failure_reaches_every_caller_of_its_batch_and_no_other() -> None:
    def refuse_odd(items: Sequence[int]) -> list[int]:
        if any(item % 2 for item in items):
            raise ValueError("odd")
        return list(items)

    combiner = Combiner(refuse_odd, limit=1)
    assert combiner.do(2) == 2
    with pytest.raises(ValueError, match="odd"):
        combiner.do(3)
    assert combiner.do(4) == 4


def test_an_ending_thread_leaves_nobody_waiting() -> None:
    def end(_: Sequence[int]) -> list[int]:
        raise SystemExit

    combiner = Combiner(end, limit=5)
    with pytest.raises(SystemExit):
        combiner.do(1)
