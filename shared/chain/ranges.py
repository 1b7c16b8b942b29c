"""How many blocks to ask a provider for at once: its own hint, else by trial."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from shared.chain import blocks, completeness
from shared.chain.blocks import Block, LogFilter, RangeRefusedError
from shared.chain.completeness import ProvenLogs
from shared.chain.rpc import Provider

_GROWTH = 1.5
_MOST_LOGS = 1_000
"""So many of a range are announced in a few commits, and held in memory several times over."""


class RangeSize:
    """The range that a provider takes. Shrinks when it refuses one or the blocks are full of logs, grows
    while it answers.

    Args:
        most: the longest range that is ever asked for.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._blocks = most
        self._lock = threading.Lock()

    @property
    def blocks(self) -> int:
        """How many blocks to ask for next."""
        with self._lock:
            return self._blocks

    def refused(self, asked: int, hint: int | None) -> None:
        """A range of ``asked`` blocks was refused; ``hint`` is the length that it says would work."""
        shorter = hint if hint is not None and hint < asked else asked // 2
        with self._lock:
            self._blocks = max(1, min(self._blocks, shorter))

    def answered(self, asked: int, logs: int) -> None:
        """A range of ``asked`` blocks was answered, with so many logs."""
        with self._lock:
            if logs > _MOST_LOGS:
                self._blocks = max(1, min(self._blocks, asked * _MOST_LOGS // logs))
            elif asked >= self._blocks:
                self._blocks = min(self._most, max(asked + 1, int(asked * _GROWTH)))


def read_range(
    provider: Provider,
    others: Sequence[Provider],
    wanted: LogFilter,
    size: RangeSize,
    *,
    first: int,
    last: int,
    head: Block,
) -> ProvenLogs:
    """The proven logs of blocks ``first`` to ``last``, in as many requests as the provider wants.

    ``head`` is the newest block as it was seen.

    Down to one block by number, and where even that is refused, from its receipts.

    Raises:
        ProviderError: the provider failed.
    """
    headers = blocks.read_linked_headers(provider, first, last, head)
    done: list[ProvenLogs] = []
    rest: Sequence[Block] = headers
    while rest:
        part = rest[: size.blocks]
        try:
            logs = blocks.read_logs(provider, wanted, part)
        except RangeRefusedError as error:
            if len(part) > 1:
                size.refused(len(part), error.block_count)
                continue
            (logs,) = completeness.read_receipts(provider, wanted, part)
            done.append(ProvenLogs(part, logs))
        else:
            size.answered(len(part), len(logs))
            done.append(completeness.prove(provider, others, wanted, part, logs))
        rest = rest[len(part) :]
    return ProvenLogs(
        headers,
        [log for part in done for log in part.logs],
        [difference for part in done for difference in part.differences],
    )
