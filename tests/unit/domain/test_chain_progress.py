"""The window of hashes follows the chain, and a block's revision is the one that it was announced under."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.chain_progress import MAX_WINDOW_BLOCKS, RETAINED_BLOCKS, begun


def _hash(number: int, fork: int = 0) -> str:
    return f"0x{number:032x}{fork:032x}"


def test_hashes_are_kept_as_far_down_as_a_reorganisation_may_go() -> None:
    progress = begun(1, 100, _hash(99))
    assert (progress.block_number, progress.block_hash, progress.final_number) == (99, _hash(99), 99)
    progress = progress.advanced([_hash(number) for number in range(100, 400)], 300)
    assert (progress.block_number, progress.final_number) == (399, 300)
    assert progress.first_known == 300 - RETAINED_BLOCKS
    assert progress.hash_of(350) == _hash(350)
    assert progress.hash_of(400) is None
    assert progress.hash_of(300 - RETAINED_BLOCKS - 1) is None
    # What is final stays so, and is never beyond what is announced.
    assert progress.advanced([], 200).final_number == 300
    assert progress.advanced([], 999).final_number == 399


def test_the_window_is_bounded_where_nothing_becomes_final() -> None:
    progress = begun(1, 1, _hash(0)).advanced([_hash(n) for n in range(1, 2 * MAX_WINDOW_BLOCKS)], 0)
    assert len(progress.window) == 32 * MAX_WINDOW_BLOCKS
    assert progress.block_hash == _hash(2 * MAX_WINDOW_BLOCKS - 1)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), max_size=12))
def test_each_block_keeps_the_revision_that_it_was_announced_under(moves: list[tuple[int, int]]) -> None:
    progress = begun(1, 1, _hash(0)).advanced([_hash(number) for number in range(1, 13)], 0)
    expected = {number: (_hash(number), 0) for number in range(1, 13)}
    for back, forward in moves:
        ancestor = max(0, progress.block_number - back)
        revision = progress.revision + 1
        progress = progress.rewound(ancestor, revision, ancestor)
        expected = {number: seen for number, seen in expected.items() if number <= ancestor}
        hashes = [_hash(ancestor + step, revision) for step in range(1, forward + 1)]
        progress = progress.advanced(hashes, 0)
        expected |= {ancestor + step: (hashes[step - 1], revision) for step in range(1, forward + 1)}
        assert progress.revision == revision
        for number, (block_hash, announced_under) in expected.items():
            assert progress.hash_of(number) == block_hash
            assert progress.revision_of(number) == announced_under


def test_one_cannot_go_back_to_a_block_that_is_not_known() -> None:
    progress = begun(1, 100, _hash(99)).advanced([_hash(100)], 0)
    with pytest.raises(ValueError, match="hash of block 98"):
        progress.rewound(98, 1, 98)


def test_a_begun_block_is_named_until_the_next_is_announced() -> None:
    progress = begun(1, 100, _hash(99)).begun_block(_hash(100))
    assert progress.partial == _hash(100)
    assert progress.advanced([_hash(100)], 0).partial is None
    assert progress.rewound(99, 1, 99).partial is None
