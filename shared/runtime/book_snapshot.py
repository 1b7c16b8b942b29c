"""Snapshots of the book: made from the last one and what changed since, and loaded instead of every document.

A snapshot is the state of a warm book at its watermark, so whoever loads one goes on as a warm book does: it
reads what was written since, overlapped. Nothing in it is believed blindly: packs are checked against their
names, and the number of accounts against Firestore's own count. What is wrong with one is a
:class:`~shared.domain.margin_pack.PackError`, and then the documents are read.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.margin import Standing
from shared.domain.margin_pack import (
    PackedAccount,
    PackedAccounts,
    PackedPosition,
    PackError,
    bucket_of,
    decode_packs,
    encode_pack,
)
from shared.domain.positions import Account
from shared.domain.sharding import SLOTS, Shard, slot_of
from shared.errors import ConflictError
from shared.stores import accounts, database, margin_snapshots, margin_states
from shared.stores.margin_snapshots import Head, HeadRead, PackWriter

OVERLAP = timedelta(seconds=3)
"""How far before the last look the next one begins: a write is seen less than this after its stamp."""

EXPECTED_AGE = timedelta(hours=1)
"""Up to how old a snapshot is while its function runs, with some of its calls failing."""

ACCOUNTS_PER_PACK = 4_000
"""The most to aim at: packs of about 400 KB, of which a change rewrites one."""

READ_AT_ONCE = 10_000
"""The largest book that is packed for the first time in one go; a larger one is read slot by slot."""

_KEPT_FOR = timedelta(hours=1)
"""How long packs that no head names are kept: longer than a packing takes."""

_ATTEMPTS = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A shard's accounts as they were at the watermark."""

    accounts: PackedAccounts
    watermark: datetime


@dataclass(frozen=True, slots=True)
class Packing:
    """What a packing did."""

    accounts: int
    packs: int
    packs_written: int


def load_snapshot(client: database.Client, shard: Shard) -> Snapshot | None:
    """The last snapshot of a shard, or None where there is none.

    Raises:
        PackError: there is one and it cannot be used.
        RetryableError: Firestore failed.
    """
    read = margin_snapshots.read_head(client)
    for attempt in range(_ATTEMPTS):
        head = read.head()
        if head is None:
            return None
        wanted = [bucket for bucket in range(head.buckets) if shard.has_bucket(bucket)]
        try:
            packs = margin_snapshots.read_packs(client, head, wanted)
        except PackError:
            # While they were read, a packing may have put others in their place.
            again = margin_snapshots.read_head(client)
            if again.read_at == read.read_at or attempt + 1 == _ATTEMPTS:
                raise
            read = again
        else:
            return Snapshot(decode_packs(packs, buckets=head.buckets), head.watermark)
    raise AssertionError("the last attempt returns or raises")


def read_documents(client: database.Client, shard: Shard) -> PackedAccounts:
    """Every account of a shard as its documents say: slow, and charged as two reads per account."""
    everything = _changes(client, None, shard.slots)
    packs: list[tuple[int, bytes]] = []
    for slot in shard.slots or range(SLOTS):
        rows: dict[str, PackedAccount] = {}
        _merge(rows, everything, slot)
        packs.append((slot, encode_pack(rows.values(), bucket=slot, buckets=SLOTS)))
    return decode_packs(packs, buckets=SLOTS)


def pack_book(client: database.Client, *, now: datetime) -> Packing:
    """Bring the snapshot up to date, and clear away packs that it no longer names.

    The head is written last, and only where nobody has written another meanwhile: whatever happens on the
    way, it names whole packs.

    Raises:
        ConflictError: another packing was faster.
        RetryableError: Firestore failed.
    """
    read = margin_snapshots.read_head(client)
    writer = PackWriter(client)
    try:
        head = _pack(client, read.head(), read, writer)
    except PackError as error:
        _log.error("the snapshot cannot be used and is made anew", extra={"reason": str(error)})
        head = _pack(client, None, read, writer)
    named = set(head.packs)
    old = margin_snapshots.list_packs_before(client, now - _KEPT_FOR)
    try:
        margin_snapshots.delete_packs(client, {name: old[name] for name in old if name not in named})
    except ConflictError:
        # Another packing is writing one of them again, to name it.
        _log.info("old packs are left to the next packing")
    return Packing(sum(head.sizes), head.buckets, writer.written)


class _PackTooLargeError(Exception):
    """The buckets are too few."""


def _pack(client: database.Client, known: Head | None, read: HeadRead, writer: PackWriter) -> Head:
    count = accounts.count(client)
    buckets = SLOTS if known is None else known.buckets
    while count > buckets * ACCOUNTS_PER_PACK:
        buckets *= 2
    changes = None
    if known is not None:
        changes = _changes(client, known.watermark - OVERLAP)
    elif count <= READ_AT_ONCE:
        changes = _changes(client, None)
    while True:
        try:
            names, sizes = _write(client, known, changes, buckets, writer)
        except _PackTooLargeError:
            buckets *= 2
        else:
            break
    head = Head(names, sizes, read.seen_at)
    if not count <= sum(sizes) <= accounts.count(client):
        raise PackError(f"{sum(sizes)} accounts are packed where Firestore had {count}")
    margin_snapshots.replace_head(client, head, read=read)
    return head


@dataclass(frozen=True, slots=True)
class _Recorded:
    account_id: str
    standing: Standing
    recorded_ns: int


@dataclass(frozen=True, slots=True)
class _Changes:
    """What was written since a watermark, by slot."""

    accounts: Mapping[int, list[Account]]
    records: Mapping[int, list[_Recorded]]

    def touched(self, slot: int, buckets: int) -> set[int]:
        """The buckets of a slot in which anything changed."""
        ids = [each.account_id for each in self.accounts.get(slot, ())]
        ids += [each.account_id for each in self.records.get(slot, ())]
        return {bucket_of(account_id, buckets) for account_id in ids}


def _changes(client: database.Client, since: datetime | None, slots: Iterable[int] | None = None) -> _Changes:
    changed: dict[int, list[Account]] = defaultdict(list)
    recorded: dict[int, list[_Recorded]] = defaultdict(list)
    for account, _ in accounts.list_updated_since(client, since, slots):
        changed[slot_of(account.account_id)].append(account)
    for record, read_at, _ in margin_states.list_updated_since(client, since, slots):
        found = _Recorded(record.account_id, record.standing, database.nanoseconds(read_at))
        recorded[slot_of(record.account_id)].append(found)
    return _Changes(changed, recorded)


def _write(
    client: database.Client,
    known: Head | None,
    changes: _Changes | None,
    buckets: int,
    writer: PackWriter,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Write the packs that changed, slot by slot; the names and sizes of all."""
    names, sizes = [""] * buckets, [0] * buckets
    for slot in range(SLOTS):
        news = _changes(client, None, [slot]) if changes is None else changes
        touched = set(range(slot, buckets, SLOTS))
        if known is not None and known.buckets == buckets:
            changed = news.touched(slot, buckets)
            for bucket in touched - changed:
                names[bucket], sizes[bucket] = known.packs[bucket], known.sizes[bucket]
            touched = changed
        rows = {} if known is None else _rows(client, known, touched, buckets)
        _merge(rows, news, slot)
        by_bucket: dict[int, list[PackedAccount]] = {bucket: [] for bucket in touched}
        for row in rows.values():
            by_bucket[bucket_of(row.account_id, buckets)].append(row)
        for bucket in sorted(touched):
            data = encode_pack(by_bucket[bucket], bucket=bucket, buckets=buckets)
            if len(data) > margin_snapshots.MAX_PACK_BYTES:
                raise _PackTooLargeError
            names[bucket] = writer.put(bucket, data)
            sizes[bucket] = sum(1 for row in by_bucket[bucket] if row.version)
    writer.flush()
    return tuple(names), tuple(sizes)


def _rows(client: database.Client, known: Head, touched: set[int], buckets: int) -> dict[str, PackedAccount]:
    """What the snapshot has in the buckets that are written anew."""
    # Fewer buckets are fewer bits of the same hash, so each of theirs holds whole ones of ours.
    wanted = sorted({bucket % known.buckets for bucket in touched})
    packed = decode_packs(margin_snapshots.read_packs(client, known, wanted), buckets=known.buckets)
    return {
        account_id: row
        for account_id, row in packed.accounts().items()
        if bucket_of(account_id, buckets) in touched
    }


def _merge(rows: dict[str, PackedAccount], news: _Changes, slot: int) -> None:
    """Put what is new of a slot in the place of what is known.

    Raises:
        PackError: an account went back to an earlier version: the documents are not those that were packed.
    """
    for account in news.accounts.get(slot, ()):
        known = rows.get(account.account_id) or PackedAccount(account.account_id, 0, (), None, 0)
        if account.version < known.version:
            raise PackError(
                f"{account.account_id} is packed at version {known.version}, Firestore has {account.version}"
            )
        positions = tuple(
            PackedPosition(each.chain_id, each.asset, each.decimals, each.collateral_base, each.debt_shares)
            for _, each in sorted(account.positions.items())
        )
        rows[account.account_id] = replace(known, version=account.version, positions=positions)
    for found in news.records.get(slot, ()):
        known = rows.get(found.account_id) or PackedAccount(found.account_id, 0, (), None, 0)
        rows[found.account_id] = replace(known, standing=found.standing, recorded_ns=found.recorded_ns)
