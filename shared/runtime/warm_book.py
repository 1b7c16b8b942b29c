"""The margin book that a process keeps warm between invocations: a cache of Firestore, never its master.

It is loaded once, from a snapshot where there is one (:mod:`shared.runtime.book_snapshot`), and then catches
up by reading only what was written since. What is recorded is decided on
the documents as they were read: a commit that finds one changed is given up, the accounts in question are
read again, and the decision is made anew. Firestore operations per tick therefore follow what changed:
one read of the progress, a query for the accounts and one for the states written since the last look, one
write of the progress, two writes per transition, and one for what a commit announces.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from shared.config import Settings
from shared.domain.margin import MarginRecord
from shared.domain.margin_book import Decision, MarginBook
from shared.domain.margin_pack import PackedAccounts, PackError
from shared.domain.market import UsableMarks
from shared.domain.network import Network
from shared.domain.positions import Account
from shared.domain.sharding import SLOTS, Shard
from shared.errors import ConflictError, RetryableError
from shared.events.prices import PriceTick
from shared.runtime.book_snapshot import EXPECTED_AGE, OVERLAP, load_snapshot, read_documents
from shared.runtime.context import load_network
from shared.stores import accounts, database, margin_progress, margin_states, ticks

_DECISIONS_PER_COMMIT = database.MAX_WRITES // 3
_ROUNDS = 8

_log = logging.getLogger(__name__)

Announce = Callable[[database.Commit, Decision], None]
"""Adds to a commit what a decision announces."""


class WarmBook:
    """One shard's book, the marks it was last evaluated at, and its place in Firestore.

    Use it under :attr:`lock`.
    """

    def __init__(self, client: database.Client, network: Network, shard: Shard) -> None:
        self.lock = threading.Lock()
        self.network = network
        self.shard = shard
        self.refused_snapshot: str | None = None
        """Why a snapshot was refused and the documents were read instead, until somebody has said so."""
        self._client = client
        self._reset()

    def _reset(self) -> None:
        self.book = MarginBook(self.network)
        self.tick: PriceTick | None = None
        self.marks: UsableMarks = {}
        self._swept_at: datetime | None = None
        self._recorded_ns: dict[str, int] = {}
        """When the record that the book goes on from was written, by account (`database.nanoseconds`)."""
        self._progress: int = 0
        self._evaluated_before: int = 0
        """The tick up to which the book was evaluated while it was cut into another number of shards."""
        self._prices_stopped = False
        self._progress_read_at: Any = None
        self._looked_at: datetime | None = None

    @property
    def progress(self) -> int:
        """The sequence of the last tick that the book was evaluated at; 0 before the first."""
        return self._progress

    @property
    def prices_stopped(self) -> bool:
        """Whether operators know that ticks have stopped, and not yet that they come again."""
        return self._prices_stopped

    def latest(self, moment: datetime) -> datetime:
        """The later of ``moment`` and every moment asked about before: ages of marks never go back."""
        self._swept_at = moment if self._swept_at is None else max(moment, self._swept_at)
        return self._swept_at

    def catch_up(self) -> None:
        """Load the book, or read what was written since the last look.

        Raises:
            RetryableError: Firestore failed; the book will be loaded anew.
        """
        try:
            if self._looked_at is None:
                self._load()
                return
            known, known_at, since = self._progress, self._progress_read_at, self._looked_at
            looked_at = self._read_progress()
            self._take_changes(since - OVERLAP, all_records=self._progress_read_at != known_at)
            if self._progress != known:
                self._take_tick()
            self._looked_at = looked_at
        except RetryableError:
            self._reset()
            raise

    def _load(self) -> None:
        self._reset()
        self._evaluated_before = margin_progress.find_evaluated(self._client) or 0
        try:
            looked_at = self._load_snapshot()
        except PackError as error:
            _log.error("the snapshot is refused, every document is read", extra={"reason": str(error)})
            self.refused_snapshot = str(error)
            looked_at = None
        source = "snapshot"
        if looked_at is None:
            source = "documents"
            looked_at = self._read_progress()
            self._adopt(read_documents(self._client, self.shard))
        if self._progress:
            self._take_tick()
        self._looked_at = looked_at
        _log.info(
            "book loaded",
            extra={"accounts": len(self.book), "tick": self._progress, "source": source},
        )

    def _load_snapshot(self) -> datetime | None:
        """Take over the snapshot and what changed since; Firestore's time of the look, None without one.

        Raises:
            PackError: it cannot be used, or contradicts the documents.
        """
        snapshot = load_snapshot(self._client, self.shard)
        if snapshot is None:
            return None
        self._adopt(snapshot.accounts)
        count = accounts.count(self._client, self.shard.slots)
        looked_at = self._read_progress()
        versions = self._take_changes(snapshot.watermark - OVERLAP, all_records=True)
        # Accounts are never deleted: where one went back, is missing, or there is one too many, the
        # documents are not those that were packed.
        back = [
            account_id for account_id, version in versions.items() if version < self.book.version(account_id)
        ]
        if back:
            raise PackError(
                f"{back[0]} is packed at version {self.book.version(back[0])}, it has an earlier one"
            )
        if not count <= len(self.book) <= max(count, accounts.count(self._client, self.shard.slots)):
            raise PackError(f"the book has {len(self.book)} accounts, Firestore {count}")
        age = looked_at - snapshot.watermark
        if age > EXPECTED_AGE:
            # As right as a young one, since what was written since has been read, but it cost as much.
            _log.warning("the snapshot is old: pack_margin_book does not run", extra={"age": str(age)})
        return looked_at

    def _read_progress(self) -> datetime:
        found = margin_progress.read(self._client, self.shard)
        self._progress = max(found.tick_sequence, self._evaluated_before)
        self._prices_stopped = found.prices_stopped
        self._progress_read_at = found.read_at
        return found.seen_at

    def _adopt(self, packed: PackedAccounts) -> None:
        """Begin with these accounts, and no others."""
        self.book = MarginBook(self.network, packed)
        self._recorded_ns = {
            account_id: recorded_ns
            for account_id, recorded_ns in zip(packed.ids, packed.recorded_ns.tolist(), strict=True)
            if recorded_ns
        }
        # What was decided on positions that came after the accounts were read.
        behind = (packed.position_versions > packed.versions).nonzero()[0].tolist()
        self.take(accounts.find_many(self._client, [packed.ids[row] for row in behind]).values())

    def _take_changes(self, since: datetime, *, all_records: bool) -> dict[str, int]:
        """What others wrote: positions that this book does not have, with what was decided on them; and
        every record, where another instance has evaluated ticks or swept.

        Returns the version of each account that was written.
        """
        versions = accounts.list_versions_since(self._client, since, self.shard.slots)
        news = [
            account_id for account_id, version in versions.items() if version > self.book.version(account_id)
        ]
        self.take(accounts.find_many(self._client, news).values())
        if all_records:
            self._take_records_since(since)
        else:
            self._take_records(margin_states.find_many(self._client, news))
        return versions

    def _take_records_since(self, since: datetime | None) -> None:
        self._take_records(
            {
                record.account_id: (record, read_at)
                for record, read_at, _ in margin_states.list_updated_since(
                    self._client, since, self.shard.slots
                )
            }
        )

    def _take_records(self, found: Mapping[str, tuple[MarginRecord, Any]]) -> None:
        """Take over what another instance, or an earlier process, recorded.

        Where it decided on newer positions than the book has, these are read too: a record never goes back.
        """
        news: list[MarginRecord] = []
        for account_id, (record, read_at) in found.items():
            recorded_ns = database.nanoseconds(read_at)
            if self._recorded_ns.get(account_id) != recorded_ns:
                self._recorded_ns[account_id] = recorded_ns
                self.book.set_record(record)
                news.append(record)
        behind = [
            record.account_id
            for record in news
            if record.position_version > self.book.version(record.account_id)
        ]
        self.take(accounts.find_many(self._client, behind).values())

    def _take_tick(self) -> None:
        for tick in ticks.list_between(self._client, self._progress - 1, self._progress + 1):
            self.tick, self.marks = tick, tick.usable_marks()

    def take(self, changed: Iterable[Account]) -> None:
        """Give the book accounts' newer positions; older ones are ignored."""
        for account in changed:
            self.book.replace_positions(account)

    def evaluate(
        self, marks: UsableMarks, *, tick_sequence: int, as_of: datetime, announce: Announce, traceparent: str
    ) -> tuple[set[str], list[database.Commit]]:
        """Decide at these marks and record every change with its announcement.

        Returns:
            The accounts for which something was recorded, and the commits whose announcements to publish.

        Raises:
            RetryableError: not everything could be recorded; the book has been brought back to what is.
        """
        applied: list[database.Commit] = []
        changed: set[str] = set()
        for _ in range(_ROUNDS):
            decisions = self.book.decide(marks, tick_sequence=tick_sequence, as_of=as_of)
            changed |= {decision.record.account_id for decision in decisions}
            conflict = self._record(decisions, announce, traceparent, applied)
            if not conflict:
                self.marks = marks
                return changed, applied
        raise ConflictError("other instances kept winning the race for the same accounts")

    def record(self, decisions: Sequence[Decision], traceparent: str) -> None:
        """Record decisions that announce nothing; where another instance was faster, its stand."""
        self._record(decisions, lambda _commit, _decision: None, traceparent, [])

    def _record(
        self,
        decisions: Sequence[Decision],
        announce: Announce,
        traceparent: str,
        applied: list[database.Commit],
    ) -> bool:
        conflict = False
        for start in range(0, len(decisions), _DECISIONS_PER_COMMIT):
            commit = database.Commit(self._client, traceparent=traceparent)
            written: dict[str, int] = {}
            for decision in decisions[start : start + _DECISIONS_PER_COMMIT]:
                account_id = decision.record.account_id
                written[account_id] = commit.replace(
                    margin_states.path(account_id),
                    margin_states.encode(decision.record),
                    read_at=self._read_at(account_id),
                )
                announce(commit, decision)
            try:
                commit.apply()
            except ConflictError:
                conflict = True
                self._restore(written)
            except RetryableError:
                # Whether it was written is not known, and the chunks behind it were not.
                self._restore(decision.record.account_id for decision in decisions[start:])
                raise
            else:
                self._recorded_ns.update(
                    {
                        account_id: database.nanoseconds(commit.update_time(index))
                        for account_id, index in written.items()
                    }
                )
                applied.append(commit)
        return conflict

    def _read_at(self, account_id: str) -> Any:
        recorded_ns = self._recorded_ns.get(account_id)
        return None if recorded_ns is None else database.at_nanoseconds(recorded_ns)

    def _restore(self, account_ids: Iterable[str]) -> None:
        """Bring the book back to what is recorded of some accounts."""
        wanted = list(account_ids)
        for account_id in wanted:
            # What the book holds of it was decided here and not recorded.
            self._recorded_ns.pop(account_id, None)
        try:
            found = margin_states.find_many(self._client, wanted)
            self._take_records(found)
        except RetryableError:
            self._reset()
            raise
        for account_id in wanted:
            if account_id not in found:
                self.book.forget_record(account_id)

    def advance(self, tick: PriceTick, commit: database.Commit) -> None:
        """Record, together with ``commit``, that a tick has been evaluated, and so that ticks come.

        Raises:
            ConflictError: another instance recorded one meanwhile.
        """
        self._record_progress(tick.sequence, commit, prices_stopped=False)
        self.tick = tick

    def stop_prices(self, commit: database.Commit) -> None:
        """Record that operators know that ticks have stopped, together with ``commit``.

        Raises:
            ConflictError: another instance did, or evaluated a tick.
        """
        self._record_progress(self._progress, commit, prices_stopped=True)

    def note_records(self, commit: database.Commit) -> None:
        """Tell other instances that records changed though no tick was evaluated.

        Raises:
            ConflictError: another instance did, or evaluated a tick.
        """
        self._record_progress(self._progress, commit, prices_stopped=self._prices_stopped)

    def _record_progress(self, sequence: int, commit: database.Commit, *, prices_stopped: bool) -> None:
        index = commit.replace(
            margin_progress.path(self.shard),
            margin_progress.encode(sequence, prices_stopped=prices_stopped, shard=self.shard),
            read_at=self._progress_read_at,
        )
        commit.apply()
        self._progress_read_at = commit.update_time(index)
        self._progress, self._prices_stopped = sequence, prices_stopped


@lru_cache(maxsize=2 * SLOTS)
def warm_book(settings: Settings, shard: Shard) -> WarmBook:
    """The process's book of a shard; empty until :meth:`WarmBook.catch_up`."""
    return WarmBook(database.connect(settings), load_network(settings), shard)
