"""``margin_snapshots`` and ``margin_packs``: the book in a few large documents, for who starts without it.

One *head* names the packs, one per bucket (:mod:`shared.domain.margin_pack`), and the *watermark*: whatever
was committed before it is in them. Packs are named by their content and never change; the head is replaced,
conditioned on what was read. It is a cache: it may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.margin_pack import FORMAT, PackError, digest
from shared.domain.sharding import SLOTS
from shared.stores import database

HEADS = "margin_snapshots"
PACKS = "margin_packs"
HEAD_PATH = f"{HEADS}/book"

MAX_PACK_BYTES = 700_000
"""The largest pack that is written; Firestore's limit for a document is 1 MiB."""

_PACKS_TOGETHER = 16
_COMMIT_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Head:
    """What the packs are. ``packs`` are their names and ``sizes`` their numbers of accounts, by bucket."""

    packs: tuple[str, ...]
    sizes: tuple[int, ...]
    watermark: datetime

    @property
    def buckets(self) -> int:
        """How many buckets there are: a power of two, at least one per slot."""
        return len(self.packs)


@dataclass(frozen=True, slots=True)
class HeadRead:
    """The head as it was read: ``fields`` and ``read_at`` are None where there is none. ``seen_at`` is
    Firestore's time of the read."""

    fields: Mapping[str, Any] | None
    read_at: Any
    seen_at: datetime

    def head(self) -> Head | None:
        """The head, or None.

        Raises:
            PackError: it is of another format, or contradicts itself.
        """
        if self.fields is None:
            return None
        try:
            if self.fields["format"] != FORMAT:
                raise PackError(f"head: format {self.fields['format']}, this code reads {FORMAT}")
            head = Head(tuple(self.fields["packs"]), tuple(self.fields["sizes"]), self.fields["watermark"])
            power_of_two = head.buckets & (head.buckets - 1) == 0
            if (
                head.buckets < SLOTS
                or not power_of_two
                or len(head.sizes) != head.buckets
                or head.watermark > self.seen_at
            ):
                raise PackError(
                    f"head: {head.buckets} packs, {len(head.sizes)} sizes, watermark {head.watermark}, "
                    f"read at {self.seen_at}"
                )
        except (KeyError, TypeError) as error:
            raise PackError(f"head: cannot be read: {error!r}") from error
        return head


def read_head(client: firestore.Client) -> HeadRead:
    """The head as it is."""
    document, seen_at = database.find_at(client, HEAD_PATH)
    if document is None:
        return HeadRead(None, None, seen_at)
    return HeadRead(document.fields, document.read_at, seen_at)


def replace_head(client: firestore.Client, head: Head, *, read: HeadRead) -> None:
    """Put a head in the place of the one that was read.

    Raises:
        ConflictError: somebody else did.
    """
    commit = database.Commit(client)
    fields = {
        "format": FORMAT,
        "packs": list(head.packs),
        "sizes": list(head.sizes),
        "watermark": head.watermark,
    }
    commit.replace(HEAD_PATH, fields, read_at=read.read_at)
    commit.apply()


def pack_id(bucket: int, data: bytes) -> str:
    """The name of a pack."""
    return f"{bucket:05d}-{digest(data)}"


def read_packs(client: firestore.Client, head: Head, buckets: Iterable[int]) -> list[tuple[int, bytes]]:
    """The packs of some buckets, as (bucket, data).

    Raises:
        PackError: one is missing, or is not what its name says.
    """
    wanted = list(buckets)
    found: list[tuple[int, bytes]] = []
    for start in range(0, len(wanted), _PACKS_TOGETHER):
        paths = {
            bucket: f"{PACKS}/{head.packs[bucket]}" for bucket in wanted[start : start + _PACKS_TOGETHER]
        }
        documents = database.find_all(client, paths.values())
        for bucket, path in paths.items():
            if path not in documents:
                raise PackError(f"bucket {bucket}: pack {head.packs[bucket]} is missing")
            data: bytes = documents[path].fields["data"]
            if pack_id(bucket, data) != head.packs[bucket]:
                raise PackError(f"bucket {bucket}: pack {head.packs[bucket]} is not what its name says")
            found.append((bucket, data))
    return found


class PackWriter:
    """Writes packs, several a request; whoever reads does not see them before the head names them."""

    def __init__(self, client: firestore.Client) -> None:
        self._client = client
        self._commit = database.Commit(client)
        self._bytes = 0
        self.written = 0

    def put(self, bucket: int, data: bytes) -> str:
        """Write a pack, now or with the next; its name."""
        if self._bytes and self._bytes + len(data) > _COMMIT_BYTES:
            self.flush()
        name = pack_id(bucket, data)
        # Written also where it is there: one that is named again must not be cleared away as an old one.
        self._commit.put(f"{PACKS}/{name}", {"data": data})
        self._bytes += len(data)
        self.written += 1
        return name

    def flush(self) -> None:
        """Write what waits."""
        self._commit.apply()
        self._commit, self._bytes = database.Commit(self._client), 0


def list_packs_before(client: firestore.Client, moment: datetime) -> dict[str, Any]:
    """Packs written before ``moment`` by name, with what their deletion is conditioned on."""
    statement = (
        client.collection(PACKS)
        .where(filter=firestore.FieldFilter("updated_at", "<", moment))
        .order_by("updated_at")
        .select(["updated_at"])
    )
    return {document.id: document.read_at for document in database.query(statement)}


def delete_packs(client: firestore.Client, packs: Mapping[str, Any]) -> None:
    """Delete packs, by name with what :func:`list_packs_before` gave for each.

    Raises:
        ConflictError: one was written again meanwhile; some may have been deleted.
    """
    wanted = list(packs.items())
    for start in range(0, len(wanted), database.MAX_WRITES):
        commit = database.Commit(client)
        for name, read_at in wanted[start : start + database.MAX_WRITES]:
            commit.delete(f"{PACKS}/{name}", read_at=read_at)
        commit.apply()
