"""How a book is cut: by a hash of the account id that never changes.

An account's *slot* is kept in its documents, so that each shard asks Firestore for its own accounts only. A
book may have 1, 2, 4, … :data:`SLOTS` shards; whatever the number, a shard is whole slots.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

SLOTS = 32
"""Slots of every book; the most shards that it may have. Changing it means rewriting every document."""

SHARD_COUNTS = (1, 2, 4, 8, 16, 32)
"""Into how many shards a book may be cut."""


def account_hash(account_id: str) -> int:
    """64 bits of an account id, the same in every process and release (BLAKE2b, RFC 7693)."""
    return int.from_bytes(hashlib.blake2b(account_id.encode(), digest_size=8).digest(), "little")


def slot_of(account_id: str) -> int:
    """The slot of an account."""
    return account_hash(account_id) % SLOTS


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` parts of a book, numbered from 0. Raises ValueError for what is none."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if self.count not in SHARD_COUNTS or not 0 <= self.number < self.count:
            raise ValueError(f"shard {self.number} of {self.count}: there may be {SHARD_COUNTS}")

    @property
    def slots(self) -> tuple[int, ...] | None:
        """Its slots; None where it is the whole book, which needs no choice."""
        return None if self.count == 1 else tuple(range(self.number, SLOTS, self.count))

    def has_bucket(self, bucket: int) -> bool:
        """Whether a bucket (see :mod:`shared.domain.margin_pack`) of at least :data:`SLOTS` is its own."""
        return bucket % self.count == self.number


WHOLE = Shard(0, 1)
"""The only shard of a book that is not cut."""


def shard_of(account_id: str, count: int) -> Shard:
    """The shard of an account among so many."""
    return Shard(slot_of(account_id) % count, count)
