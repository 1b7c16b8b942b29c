"""How long a process takes to have the whole book: from packs, against reading every document.

    python -m benchmarks.margin.cold_load [--accounts 100000]

Both load the same book in the same run, through the emulator, and must end with the same one. The emulator's
part of the time differs from Firestore's, so CPU time of this process is given as well, and what is charged.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from google.cloud import firestore

from benchmarks.margin.evaluate import world
from benchmarks.measure import Timing, timed
from benchmarks.progress import say
from benchmarks.results import Row, report
from shared.config import Settings
from shared.domain.margin import MarginRecord, State
from shared.domain.positions import Account, Position, position_key
from shared.domain.sharding import SLOTS, WHOLE, Shard
from shared.runtime import book_snapshot
from shared.runtime.book_snapshot import pack_book
from shared.runtime.context import load_network
from shared.runtime.warm_book import WarmBook
from shared.stores import accounts, database, margin_snapshots, margin_states
from tests.firestore_bill import Bill, metered

DOCUMENTS = "reading every document"
PLAIN_GET = "the same packs read and nothing done with them"
LIMIT = "Firestore's limit for a document"
WHOLE_PACKING = "packing it for the first time"


def _store_states(client: database.Client, listed: Sequence[Account]) -> None:
    """What was recorded of every account, an hour ago."""
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    for start in range(0, len(listed), database.MAX_WRITES):
        batch = client.batch()
        for account in listed[start : start + database.MAX_WRITES]:
            record = MarginRecord(
                account.account_id, State.HEALTHY, State.HEALTHY, 1, (), None, 1, 1, long_ago
            )
            fields = margin_states.encode(record) | {"updated_at": long_ago}
            batch.set(client.document(margin_states.path(account.account_id)), fields)
        batch.commit()


def _load(settings: Settings, shard: Shard) -> tuple[WarmBook, Timing, Bill]:
    client = database.connect(settings)
    book = WarmBook(client, load_network(settings), shard)
    with metered(client) as bill:
        took = timed(book.catch_up)
    if book.refused_snapshot is not None:
        raise RuntimeError(f"the snapshot was refused: {book.refused_snapshot}")
    return book, took, bill


def _best(settings: Settings, shard: Shard, repeats: int) -> tuple[WarmBook, Timing, Bill]:
    return min((_load(settings, shard) for _ in range(repeats)), key=lambda loaded: loaded[1].wall_s)


def _check(one: WarmBook, other: WarmBook, listed: Sequence[Account]) -> None:
    for account in listed[:: max(1, len(listed) // 1000)]:
        account_id = account.account_id
        standings = [book.book.standing(account_id) for book in (one, other)]
        held = [book.book.held_assets(account_id) for book in (one, other)]
        if standings[0] is None or standings[0] != standings[1] or held[0] != held[1]:
            raise RuntimeError(f"the two books differ in {account_id}: {standings} {held}")
    if not len(one.book) == len(other.book) == len(listed):
        raise RuntimeError(f"{len(one.book)} and {len(other.book)} accounts, not {len(listed)}")


def _change(client: database.Client, listed: Sequence[Account], share: float) -> int:
    """Give some accounts another position, now; how many."""
    changed = listed[:: round(1 / share)]
    for start in range(0, len(changed), database.MAX_WRITES):
        commit = database.Commit(client)
        for account in changed[start : start + database.MAX_WRITES]:
            extra = Position(1, "USDC", 6, 10**6, 0, sequence=2)
            positions = {**account.positions, position_key(1, "USDC"): extra}
            newer = Account(account.account_id, 2, account.as_of, positions)
            commit.put(accounts.path(account.account_id), accounts.encode(newer))
        commit.apply()
    return len(changed)


def _pack_rows(client: firestore.Client, count: int, packed: Timing) -> list[Row]:
    read = margin_snapshots.read_head(client)
    head = read.head()
    if head is None:
        raise RuntimeError("nothing was packed")
    packs = margin_snapshots.read_packs(client, head, range(head.buckets))
    sizes = [len(data) for _, data in packs]
    kib = 1024.0
    return [
        Row(f"{count} accounts: packs", len(sizes), "documents", DOCUMENTS, 2.0 * count),
        Row("largest pack", max(sizes) / kib, "KiB", LIMIT, 1024.0),
        Row("per account", sum(sizes) / count, "bytes", "", None, f"{sum(sizes) / kib**2:.1f} MiB in all"),
        Row(f"{count} accounts: first packing", packed.wall_s, "s", "", None, f"CPU {packed.cpu_s:.1f} s"),
    ]


def _spare_the_emulator() -> None:
    """It scans and sorts a whole collection per query, where Firestore follows an index: ask less often."""
    database.TIMEOUT_S = 600.0
    database.DOCUMENTS_PER_PAGE = 50_000
    book_snapshot.READ_AT_ONCE = 1_000_000


def measure(count: int, repeats: int) -> list[Row]:
    """The figures of a run."""
    _spare_the_emulator()
    say(f"writing {count} accounts and their states")
    with world(count) as running:
        client = database.connect(running.settings)
        _store_states(client, running.listed)
        say("a start that reads every document")
        by_documents, from_documents, documents_bill = _best(running.settings, WHOLE, 1)
        say(f"that took {from_documents.wall_s:.0f} s; packing")
        packed = timed(lambda: pack_book(client, now=datetime.now(UTC)))
        rows = _pack_rows(client, count, packed)
        say(f"packed in {packed.wall_s:.0f} s; {repeats} starts from packs")
        by_packs, from_packs, packs_bill = _best(running.settings, WHOLE, repeats)
        _check(by_documents, by_packs, running.listed)
        head = margin_snapshots.read_head(client).head()
        if head is None:
            raise RuntimeError("the head is gone")
        plain = timed(lambda: margin_snapshots.read_packs(client, head, range(head.buckets)))
        rows += [
            Row(f"{count} accounts: load", from_packs.wall_s, "s", DOCUMENTS, from_documents.wall_s),
            Row(f"{count} accounts: load", from_packs.wall_s, "s", PLAIN_GET, plain.wall_s),
            Row(f"{count} accounts: load, CPU", from_packs.cpu_s, "CPU s", DOCUMENTS, from_documents.cpu_s),
            Row(
                f"{count} accounts: load, charged", packs_bill.reads, "reads", DOCUMENTS, documents_bill.reads
            ),
        ]
        say(f"the fastest took {from_packs.wall_s:.1f} s; a start of one shard of {SLOTS}")
        # Of several slots each query is as many scans of the emulator's.
        _, of_one, one_bill = _load(running.settings, Shard(0, SLOTS))
        rows.append(
            Row(
                f"{count} accounts: load of one of {SLOTS} shards",
                of_one.wall_s,
                "s",
                "the whole book from packs",
                from_packs.wall_s,
                f"{one_bill.reads} reads",
            )
        )
        say("a start after a change of some accounts")
        changed = _change(client, running.listed, 0.001)
        _, caught_up, changed_bill = _load(running.settings, WHOLE)
        rows.append(
            Row(
                f"{count} accounts: load, {changed} changed since",
                caught_up.wall_s,
                "s",
                "the whole book from packs",
                from_packs.wall_s,
                f"{changed_bill.reads} reads",
            )
        )
        say("packing again")
        again = timed(lambda: pack_book(client, now=datetime.now(UTC)))
        name = f"{count} accounts: packing, {changed} changed since"
        return [*rows, Row(name, again.wall_s, "s", WHOLE_PACKING, packed.wall_s)]


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    report("margin_cold_load", measure(options.accounts, options.repeats))


if __name__ == "__main__":
    main()
