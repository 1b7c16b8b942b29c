"""Receipts are believed where they have the root that their header commits to, and nowhere else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chain import bloom, receipts
from shared.errors import RetryableError

BLOCK = "0x" + "0b" * 32
LOREM = b"Lorem ipsum dolor sit amet, consectetur adipisicing elit"


@pytest.mark.parametrize(
    ("item", "encoded"),
    [
        (b"dog", "83646f67"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        (b"", "80"),
        ([], "c0"),
        (b"\x00", "00"),
        (b"\x0f", "0f"),
        (b"\x04\x00", "820400"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (LOREM, "b838" + LOREM.hex()),
    ],
)
def test_the_published_examples_of_rlp(item: Any, encoded: str) -> None:
    """Source: https://ethereum.org/developers/docs/data-structures-and-encoding/rlp, "Examples"."""
    assert receipts.rlp(item).hex() == encoded


def test_the_root_of_nothing() -> None:
    """Source: Yellow Paper, appendix D; every empty block's receipts root."""
    assert receipts.trie_root([]) == "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"


def _receipts(counts: list[int]) -> list[dict[str, Any]]:
    index = 0
    found = []
    for number, count in enumerate(counts):
        logs = []
        for _ in range(count):
            topics = ["0x" + "ab" * 32, f"0x{index % 3:064x}"]
            logs.append(
                {
                    "address": "0x" + "aa" * 20,
                    "topics": topics,
                    "data": f"0x{index:064x}",
                    "blockHash": BLOCK,
                    "logIndex": hex(index),
                }
            )
            index += 1
        found.append(
            {
                "status": "0x1",
                "type": hex(2 * (number % 2)),
                "cumulativeGasUsed": hex(21_000 * (number + 1)),
                "logsBloom": f"0x{bloom.of_logs(logs):0512x}",
                "logs": logs,
            }
        )
    return found


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.randoms())
def test_whoever_leaves_a_log_out_cannot_give_the_root(counts: list[int], chance: Any) -> None:
    whole = _receipts(counts)
    root = receipts.receipts_root(whole)
    logs = receipts.proven_logs(whole, block_hash=BLOCK, root=root)
    assert [int(log["logIndex"], 16) for log in logs] == list(range(sum(counts)))
    if not logs:
        return
    partial = copy.deepcopy(whole)
    full = chance.choice([receipt for receipt in partial if receipt["logs"]])
    del full["logs"][chance.randrange(len(full["logs"]))]
    for index, log in enumerate(log for receipt in partial for log in receipt["logs"]):
        log["logIndex"] = hex(index)
    with pytest.raises(RetryableError, match="not those that its header commits to"):
        receipts.proven_logs(partial, block_hash=BLOCK, root=root)


@pytest.mark.parametrize("wrong", [None, {}, "text", [None], [{}], [{"logs": None}]])
def test_what_are_no_receipts_prove_nothing(wrong: Any) -> None:
    with pytest.raises(RetryableError):
        receipts.proven_logs(wrong, block_hash=BLOCK, root="0x" + "00" * 32)


def test_logs_of_another_block_prove_nothing() -> None:
    whole = _receipts([2])
    root = receipts.receipts_root(whole)
    with pytest.raises(RetryableError):
        receipts.proven_logs(whole, block_hash="0x" + "0c" * 32, root=root)


items = st.binary(min_size=20, max_size=20).map(lambda value: "0x" + value.hex())


@given(st.lists(items, min_size=1, max_size=5), items)
def test_a_bloom_never_denies_what_is_in_it(addresses: list[str], topic: str) -> None:
    logs = [{"address": address, "topics": [topic]} for address in addresses]
    filled = bloom.of_logs(logs)
    assert all(bloom.may_contain(filled, [address], [topic]) for address in addresses)
    assert all(bloom.contains_log(filled, address, [topic]) for address in addresses)
    assert not bloom.may_contain(0, addresses, [topic])
    assert all(bin(bloom.bits(address)).count("1") <= 3 for address in addresses)
