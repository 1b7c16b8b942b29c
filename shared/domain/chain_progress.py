"""How far a chain has been announced, and what a reorganisation would have to go back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

RETAINED_BLOCKS = 32
"""Blocks below the final one whose hashes and announcements are kept, so that an operator can accept a
reorganisation that went a little deeper than finality allows."""

MAX_WINDOW_BLOCKS = 4_096
_HASH_BYTES = 32
_MAX_REVISIONS = 500


@dataclass(frozen=True, slots=True)
class ChainProgress:
    """The last announced block of a chain and the hashes of those before it that may still vanish.

    Args:
        chain_id: which chain.
        block_number: the last block whose events are all announced.
        window: 32-byte hashes of consecutive blocks, the last one that of ``block_number``.
        final_number: the last block that is final; none that was announced at or below it may vanish.
        verified_number: the last block that was read a second time after it was final.
        revisions: (revision, first block) of each reorganisation: the revision under which a block that is
            still part of the chain was announced.
        partial: hash of the block after ``block_number``, where some of its events are announced already.
        halted: why nothing more may be announced, if so.
        differences: how often a provider gave other logs than there are.
    """

    chain_id: int
    block_number: int
    window: bytes
    final_number: int
    verified_number: int
    revisions: tuple[tuple[int, int], ...] = ()
    partial: str | None = None
    halted: str | None = None
    differences: int = 0

    @property
    def block_hash(self) -> str:
        """The hash of the last announced block."""
        return "0x" + self.window[-_HASH_BYTES:].hex()

    @property
    def revision(self) -> int:
        """How many reorganisations were seen."""
        return self.revisions[-1][0] if self.revisions else 0

    @property
    def first_known(self) -> int:
        """The lowest block whose hash is known."""
        return self.block_number - len(self.window) // _HASH_BYTES + 1

    def hash_of(self, number: int) -> str | None:
        """The hash under which a block was announced; None for one outside the window."""
        if not self.first_known <= number <= self.block_number:
            return None
        start = (number - self.first_known) * _HASH_BYTES
        return "0x" + self.window[start : start + _HASH_BYTES].hex()

    def revision_of(self, number: int) -> int:
        """The revision under which a block was, or is to be, announced."""
        standing = [revision for revision, first in self.revisions if first <= number]
        return standing[-1] if standing else 0

    def advanced(self, hashes: Sequence[str], final_number: int) -> ChainProgress:
        """After the next blocks, in order, have been announced."""
        number = self.block_number + len(hashes)
        final = max(self.final_number, min(final_number, number))
        window = self.window + b"".join(bytes.fromhex(value[2:]) for value in hashes)
        kept = min(MAX_WINDOW_BLOCKS, number - final + RETAINED_BLOCKS + 1)
        return replace(
            self,
            block_number=number,
            window=window[-kept * _HASH_BYTES :],
            final_number=final,
            partial=None,
        )

    def begun_block(self, block_hash: str) -> ChainProgress:
        """After some events of the next block have been announced."""
        return replace(self, partial=block_hash)

    def rewound(self, number: int, revision: int, ancestor: int) -> ChainProgress:
        """Back at block ``number``, on the way to ``ancestor``, in the reorganisation ``revision``.

        Raises:
            ValueError: the block's hash is not known.
        """
        if self.hash_of(number) is None:
            raise ValueError(f"the hash of block {number} of chain {self.chain_id} is not known")
        kept = tuple(entry for entry in self.revisions if entry[1] <= ancestor and entry[0] < revision)
        return replace(
            self,
            block_number=number,
            window=self.window[: (number - self.first_known + 1) * _HASH_BYTES],
            revisions=(*kept, (revision, ancestor + 1))[-_MAX_REVISIONS:],
            partial=None,
        )

    def reopened(self, ancestor: int) -> ChainProgress:
        """No longer halted, and free to go back as far as ``ancestor``, by an operator's decision."""
        return replace(
            self,
            halted=None,
            final_number=min(self.final_number, ancestor),
            verified_number=min(self.verified_number, ancestor),
        )


def begun(chain_id: int, start_block: int, parent_hash: str) -> ChainProgress:
    """The progress before the first block that is relayed, whose parent is known."""
    before = start_block - 1
    return ChainProgress(
        chain_id,
        block_number=before,
        window=bytes.fromhex(parent_hash[2:]),
        final_number=before,
        verified_number=before,
    )
