"""Blocks and their logs, read so that the two agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.chain.rpc import NodeError, RpcClient, quantity
from shared.errors import RetryableError


@dataclass(frozen=True, slots=True)
class Block:
    """A block's header, as far as the relay needs it."""

    number: int
    hash: str
    parent_hash: str
    time: int


@dataclass(frozen=True, slots=True)
class Slice:
    """The logs of a range of blocks, in chain order, with the headers that they belong to."""

    first: Block
    last: Block
    logs: Sequence[dict[str, Any]]
    times: dict[str, int]


class RangeRefusedError(RetryableError):
    """The node does not answer for so many blocks or logs at once: ask for fewer."""


def head_number(client: RpcClient) -> int:
    """The number of the newest block.

    Raises:
        RetryableError: no node told it.
    """
    (answer,) = client.batch([("eth_blockNumber", [])])
    if isinstance(answer, NodeError):
        raise RetryableError(str(answer))
    return quantity(answer)


def read_block(client: RpcClient, number: int) -> Block:
    """A block's header by number.

    Raises:
        RetryableError: no node has it (yet).
    """
    (answer,) = client.batch([("eth_getBlockByNumber", [hex(number), False])])
    return _block(answer, number)


def read_slice(
    client: RpcClient, addresses: Sequence[str], topics: Sequence[str], first: int, last: int
) -> Slice:
    """The logs of our contracts in blocks ``first`` to ``last``.

    The headers of both ends come with the logs in one request to one node, and every log must belong to
    the block that the same node then shows under its number; a reorg in between is thereby seen.

    Raises:
        RangeRefusedError: the range is too large for the node.
        RetryableError: the node failed, or its answers contradict each other.
    """
    found, first_header, last_header = client.batch(
        [
            (
                "eth_getLogs",
                [
                    {
                        "address": list(addresses),
                        "topics": [list(topics)],
                        "fromBlock": hex(first),
                        "toBlock": hex(last),
                    }
                ],
            ),
            ("eth_getBlockByNumber", [hex(first), False]),
            ("eth_getBlockByNumber", [hex(last), False]),
        ]
    )
    first_block, last_block = _block(first_header, first), _block(last_header, last)
    if isinstance(found, NodeError):
        if last > first:
            raise RangeRefusedError(str(found))
        raise RetryableError(str(found))
    if not isinstance(found, list):
        raise RetryableError(f"eth_getLogs: a node sent {type(found).__name__} where a list was due")
    logs = sorted(found, key=lambda log: (quantity(log["blockNumber"]), quantity(log["logIndex"])))
    headers = {first_block.number: first_block, last_block.number: last_block}
    missing = sorted({quantity(log["blockNumber"]) for log in logs} - set(headers))
    for start in range(0, len(missing), 100):
        numbers = missing[start : start + 100]
        answers = client.batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
        for number, answer in zip(numbers, answers, strict=True):
            headers[number] = _block(answer, number)
    for log in logs:
        number = quantity(log["blockNumber"])
        if not first <= number <= last:
            raise RetryableError(f"a log of block {number} in an answer for {first} to {last}")
        if log.get("removed") or log["blockHash"] != headers[number].hash:
            raise RetryableError(f"the logs of block {number} belong to another block than its header")
    return Slice(first_block, last_block, logs, {header.hash: header.time for header in headers.values()})


def _block(answer: Any, number: int) -> Block:
    if isinstance(answer, NodeError):
        raise RetryableError(str(answer))
    if not isinstance(answer, dict):
        raise RetryableError(f"a node does not have block {number}")
    block = Block(
        quantity(answer["number"]), answer["hash"], answer["parentHash"], quantity(answer["timestamp"])
    )
    if block.number != number:
        raise RetryableError(f"a node sent block {block.number} where {number} was due")
    return block
