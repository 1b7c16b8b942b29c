"""Proof that no log is missing.

A provider that answers quickly and correctly, and leaves a log out, looks like one that does not. A block's
header says what must be there: its bloom, which excludes most blocks, and the root of its receipts, which
fixes every log. Where a bloom does not exclude our logs, the block's receipts are read and must have that
root, or another provider must give the same logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shared.chain import receipts
from shared.chain.blocks import Block, Log, LogFilter, read_logs
from shared.chain.provider_errors import RefusalKind
from shared.chain.rpc import NodeError, Provider, ProviderError, quantity

_RECEIPTS_PER_REQUEST = 400
_FEW_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Difference:
    """A block of which a provider gave other logs than there are. Log indices."""

    provider: str
    block_number: int
    block_hash: str
    missing: tuple[int, ...]
    invented: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProvenLogs:
    """All the wanted logs of consecutive blocks, in chain order, and what providers had left out."""

    headers: Sequence[Block]
    logs: Sequence[Log]
    differences: Sequence[Difference] = field(default=())


def prove(
    provider: Provider,
    others: Sequence[Provider],
    wanted: LogFilter,
    headers: Sequence[Block],
    logs: Sequence[Log],
) -> ProvenLogs:
    """The logs of these blocks, proven.

    Args:
        provider: who gave ``headers`` and ``logs``.
        others: other providers of the chain, the best one first.
        wanted: which logs are meant.
        headers: consecutive blocks.
        logs: what the provider gave for them; may lack some.

    Raises:
        ProviderError: no proof could be had.
    """
    by_block: dict[int, list[Log]] = {}
    for log in logs:
        by_block.setdefault(quantity(log["blockNumber"]), []).append(log)
    doubtful = [block for block in headers if wanted.may_be_in(block)]
    if len(doubtful) > _FEW_BLOCKS and others:
        doubtful = _disputed(others[0], wanted, headers, doubtful, by_block)
    differences: list[Difference] = []
    for block, proven in _read_proven(provider, others, wanted, doubtful):
        given = {quantity(log["logIndex"]) for log in by_block.get(block.number, ())}
        there = {quantity(log["logIndex"]) for log in proven}
        if given != there:
            differences.append(
                Difference(
                    provider.name,
                    block.number,
                    block.hash,
                    missing=tuple(sorted(there - given)),
                    invented=tuple(sorted(given - there)),
                )
            )
        by_block[block.number] = proven
    whole = [log for block in headers for log in by_block.get(block.number, ())]
    return ProvenLogs(headers, whole, tuple(differences))


def _disputed(
    other: Provider,
    wanted: LogFilter,
    headers: Sequence[Block],
    doubtful: list[Block],
    by_block: dict[int, list[Log]],
) -> list[Block]:
    """The doubtful blocks on which another provider does not say the same; all where it says nothing."""
    try:
        seen = read_logs(other, wanted, headers)
    except ProviderError:
        return doubtful
    places: dict[int, set[int]] = {}
    for log in seen:
        places.setdefault(quantity(log["blockNumber"]), set()).add(quantity(log["logIndex"]))
    return [
        block
        for block in doubtful
        if places.get(block.number, set())
        != {quantity(log["logIndex"]) for log in by_block.get(block.number, ())}
    ]


def _read_proven(
    provider: Provider, others: Sequence[Provider], wanted: LogFilter, blocks: Sequence[Block]
) -> list[tuple[Block, list[Log]]]:
    found: list[tuple[Block, list[Log]]] = []
    for chunk in _chunks(blocks):
        failures: list[str] = []
        for candidate in (provider, *others):
            try:
                found += zip(chunk, read_receipts(candidate, wanted, chunk), strict=True)
                break
            except ProviderError as error:
                failures.append(f"{candidate.name}: {error}")
        else:
            raise ProviderError(
                f"no proof of blocks {chunk[0].number} to {chunk[-1].number}: {'; '.join(failures)}"
            )
    return found


def _chunks(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Blocks in groups whose receipts one answer can hold; a larger block stands alone."""
    chunk: list[Block] = []
    count = 0
    for block in blocks:
        if chunk and count + block.transaction_count > _RECEIPTS_PER_REQUEST:
            yield chunk
            chunk, count = [], 0
        chunk.append(block)
        count += block.transaction_count
    if chunk:
        yield chunk


def read_receipts(provider: Provider, wanted: LogFilter, blocks: Sequence[Block]) -> list[list[Log]]:
    """The wanted logs of each block, from receipts that the blocks' headers commit to.

    Raises:
        ProviderError: the provider has no such receipts.
    """
    answers = provider.answers([("eth_getBlockReceipts", [hex(block.number)]) for block in blocks])
    found: list[list[Log]] = []
    for block, answer in zip(blocks, answers, strict=True):
        if isinstance(answer, NodeError):
            answer = _one_by_one(provider, block)  # noqa: PLW2901 - another way to the same receipts
        logs = receipts.proven_logs(answer, block_hash=block.hash, root=block.receipts_root)
        found.append([log for log in logs if wanted.matches(log)])
    return found


def _one_by_one(provider: Provider, block: Block) -> list[object]:
    """The receipts of a node that does not know ``eth_getBlockReceipts``."""
    (answer,) = provider.results([("eth_getBlockByHash", [block.hash, False])])
    if not isinstance(answer, dict) or not isinstance(answer.get("transactions"), list):
        raise ProviderError(f"a node does not have block {block.hash}", kind=RefusalKind.UNKNOWN_BLOCK)
    return provider.results([("eth_getTransactionReceipt", [each]) for each in answer["transactions"]])
