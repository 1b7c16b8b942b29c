"""The bloom filter of a block's logs.

Source: Ethereum Yellow Paper, section 4.3.1 (the function M3:2048): each address and topic of a log sets
three bits of 2048, taken from the first three 16-bit words of its Keccak-256.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from shared.chain.abi import keccak256


@lru_cache(maxsize=4096)
def bits(item: str) -> int:
    """The bits that an address or topic (``0x`` hexadecimal) sets, as an integer of 2048 bits."""
    digest = keccak256(bytes.fromhex(item[2:]))
    mask = 0
    for start in (0, 2, 4):
        mask |= 1 << (int.from_bytes(digest[start : start + 2], "big") & 0x7FF)
    return mask


def may_contain(bloom: int, addresses: Iterable[str], topics: Iterable[str]) -> bool:
    """Whether a block of this bloom may have a log of one of the addresses with one of the first topics.

    False is certain; True may be wrong.
    """
    return any(bloom & bits(address) == bits(address) for address in addresses) and any(
        bloom & bits(topic) == bits(topic) for topic in topics
    )


def contains_log(bloom: int, address: str, topics: Sequence[str]) -> bool:
    """Whether a block of this bloom may have exactly this log."""
    return all(bloom & bits(item) == bits(item) for item in (address, *topics))


def of_logs(logs: Iterable[Mapping[str, object]]) -> int:
    """The bloom of logs as a node's JSON gives them."""
    bloom = 0
    for log in logs:
        bloom |= bits(str(log["address"]))
        topics = log["topics"]
        if isinstance(topics, list):
            for topic in topics:
                bloom |= bits(str(topic))
    return bloom
