"""Block headers and logs, read so that they agree with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from shared.chain import bloom
from shared.chain.provider_errors import RefusalKind
from shared.chain.rpc import Call, NodeError, Provider, ProviderError, RpcClient, quantity
from shared.errors import RetryableError

Log = dict[str, Any]
"""A log as a node's JSON gives it."""

_HEADERS_PER_REQUEST = 100


@dataclass(frozen=True, slots=True)
class Block:
    """A block's header, as far as the relay needs it. ``logs_bloom`` has 2048 bits."""

    number: int
    hash: str
    parent_hash: str
    time: int
    logs_bloom: int
    receipts_root: str
    transaction_count: int


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Whose logs, and which of them: contract addresses and first topics."""

    emitters: tuple[str, ...]
    topics: tuple[str, ...]

    def matches(self, log: Log) -> bool:
        """Whether a node should give this log for the filter."""
        return bool(
            log["topics"] and log["topics"][0] in self.topics and log["address"].lower() in self.emitters
        )

    def may_be_in(self, block: Block) -> bool:
        """False where the block's bloom proves that it has no such log."""
        return bloom.may_contain(block.logs_bloom, self.emitters, self.topics)


class RangeRefusedError(ProviderError):
    """The provider does not answer for so many blocks or logs at once: ask for fewer."""


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
    (answer,) = client.batch([header_call(number)])
    if isinstance(answer, NodeError):
        raise RetryableError(str(answer))
    return parse_block(answer, number)


def header_call(block: int | str) -> Call:
    """The request for a header by number, or by a tag (``latest``, ``safe``, ``finalized``)."""
    return ("eth_getBlockByNumber", [hex(block) if isinstance(block, int) else block, False])


def parse_block(answer: Any, number: int | None = None) -> Block:
    """A header from a node's JSON; of block ``number``, unless that is None.

    Raises:
        ProviderError: the node does not have it, or sent something else.
    """
    if not isinstance(answer, dict):
        raise ProviderError(f"a node does not have block {number}", kind=RefusalKind.HEAD_RACE)
    try:
        block = Block(
            quantity(answer["number"]),
            answer["hash"],
            answer["parentHash"],
            quantity(answer["timestamp"]),
            int(answer["logsBloom"], 16),
            answer["receiptsRoot"],
            len(answer["transactions"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProviderError(f"a malformed header of block {number}: {error!r}") from error
    if number is not None and block.number != number:
        raise ProviderError(f"a node sent block {block.number} where {number} was due")
    return block


def read_headers(provider: Provider, first: int, last: int) -> list[Block]:
    """The headers of blocks ``first`` to ``last``, each the parent of the next.

    Raises:
        ProviderError: the provider failed, does not have one, or they are not of one chain.
    """
    headers: list[Block] = []
    for start in range(first, last + 1, _HEADERS_PER_REQUEST):
        numbers = range(start, min(start + _HEADERS_PER_REQUEST, last + 1))
        answers = provider.results([header_call(number) for number in numbers])
        headers += [parse_block(answer, number) for answer, number in zip(answers, numbers, strict=True)]
    for parent, child in pairwise(headers):
        if child.parent_hash != parent.hash:
            raise ProviderError(f"block {child.number} does not build on the block {parent.number} beside it")
    return headers


def read_linked_headers(provider: Provider, first: int, last: int, head: Block) -> list[Block]:
    """The headers of blocks ``first`` to ``last``, the last one vouched for too: by the block behind it, or
    as the head that was seen. A single false answer is then one that does not fit.

    Raises:
        ProviderError: as :func:`read_headers`, or the head is another one by now.
    """
    if last < head.number:
        return read_headers(provider, first, last + 1)[:-1]
    headers = read_headers(provider, first, last)
    if headers[-1].hash != head.hash:
        raise ProviderError(
            f"block {last} is {headers[-1].hash} where the head was {head.hash}", kind=RefusalKind.HEAD_RACE
        )
    return headers


def read_logs(provider: Provider, wanted: LogFilter, headers: Sequence[Block]) -> list[Log]:
    """The wanted logs of consecutive blocks, in chain order, as the provider gives them.

    Every log must belong to the header of its number and be announced by that header's bloom. That none is
    left out is for :mod:`shared.chain.completeness` to prove.

    Raises:
        RangeRefusedError: the range is too long for the provider, or it gives no reason that is known.
        ProviderError: the provider failed, or its answers contradict each other.
    """
    first, last = headers[0].number, headers[-1].number
    query = {"address": list(wanted.emitters), "topics": [list(wanted.topics)]}
    span = {"fromBlock": hex(first), "toBlock": hex(last)}
    try:
        (found,) = provider.results([("eth_getLogs", [{**query, **span}])])
    except ProviderError as error:
        if error.kind in (RefusalKind.RANGE, RefusalKind.OTHER) or error.timed_out:
            raise RangeRefusedError(
                str(error), kind=error.kind, timed_out=error.timed_out, block_count=error.block_count
            ) from error
        raise
    return check_logs(found, wanted, headers)


def check_logs(found: Any, wanted: LogFilter, headers: Sequence[Block]) -> list[Log]:
    """Logs as a provider sent them, sorted, if they can be of these blocks.

    Raises:
        ProviderError: they cannot.
    """
    if not isinstance(found, list):
        raise ProviderError(f"eth_getLogs: a node sent {type(found).__name__} where a list was due")
    first = headers[0].number
    places: list[tuple[int, int]] = []
    # Many logs of a block are of one contract and kind: what was found of the first holds for all.
    possible: set[tuple[int, str, str]] = set()
    for log in found:
        try:
            number, index = int(log["blockNumber"], 16), int(log["logIndex"], 16)
            block_hash, removed = log["blockHash"], log.get("removed")
            kind = (number, log["address"], log["topics"][0])
            fits = kind in possible or wanted.matches(log)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ProviderError(f"a malformed log: {error!r}") from error
        if not first <= number < first + len(headers):
            raise ProviderError(f"a log of block {number} in an answer for {first} to {headers[-1].number}")
        header = headers[number - first]
        if removed or block_hash != header.hash:
            raise ProviderError(f"the logs of block {number} belong to another block than its header")
        if kind not in possible:
            if not fits or not bloom.contains_log(header.logs_bloom, kind[1].lower(), [kind[2]]):
                raise ProviderError(
                    f"log {index} of block {number} is none that was asked for, or is invented"
                )
            possible.add(kind)
        places.append((number, index))
    if len(set(places)) != len(places):
        raise ProviderError(f"a log twice in an answer for {first} to {headers[-1].number}")
    return [log for _, log in sorted(zip(places, found, strict=True), key=lambda pair: pair[0])]
