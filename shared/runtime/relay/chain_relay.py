"""The relay of one chain: one look at its head, and everything that follows from it."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from shared.chain import contract_events, rpc
from shared.chain.blocks import Block, Log, LogFilter, header_call, parse_block, read_headers
from shared.chain.completeness import ProvenLogs
from shared.chain.provider_errors import RefusalKind
from shared.chain.ranges import RangeSize, read_range
from shared.chain.rpc import Provider, ProviderError, quantity
from shared.domain.chain_progress import ChainProgress, begun
from shared.domain.network import Chain
from shared.errors import RetryableError, TerminalError
from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.relay import alerts, announcing
from shared.runtime.relay.sighting import Standing, View, ask, common_ancestor, look
from shared.stores import announced_blocks, chain_cursors, database, outbox

_RANGES_IN_FLIGHT = 4
# A step ends in time to look at the head again, and to end with its window.
_STEP_S = 1.5
_NO_HASH = "0x" + "00" * 32
_MOST_RECORDS = 100_000

_log = logging.getLogger(__name__)

Publish = Callable[[database.Commit], None]


class HistoryPrunedError(RetryableError):
    """No provider has the next blocks any more. The cursor stays where it is."""


class ChainRelay:
    """Announces what a chain has, takes back what it no longer has, in the order of the chain.

    Every commit is conditioned on the cursor as it was read: of two relays at work, one gets a
    :class:`~shared.errors.ConflictError` and looks again.
    """

    def __init__(self, context: Context, chain: Chain) -> None:
        self.context = context
        self.chain = chain
        self.database = database.connect(context.settings)
        self.nodes = rpc.connect(context.settings, chain.chain_id, clock)
        self.wanted = LogFilter(contract_events.emitters(chain), tuple(contract_events.announced_topics()))
        self.sizes = {provider.name: RangeSize(chain.block_range) for provider in self.nodes.providers}
        self.counts: Counter[str] = Counter()
        self.unreadable: str | None = None
        self.cursor_time: int | None = None
        self._read_at: Any = None

    def step(self) -> tuple[View, ChainProgress, bool] | None:
        """Look once, and announce what is new.

        Returns:
            What was seen, the progress after it, and whether there is more to read; None while the chain is
            halted.

        Raises:
            RetryableError: no node gave what is needed, Firestore failed, or a log cannot be decoded; the
                cursor has not moved over anything that was not announced.
        """
        known = chain_cursors.find(self.database, self.chain.chain_id)
        progress, self._read_at = known if known is not None else (None, None)
        if progress is not None and progress.halted is not None:
            return None
        view = look(self.nodes, self.chain, progress)
        self.counts["forks"] += view.forks
        if progress is None:
            progress = self._begin(view)
        if view.sight.standing is Standing.BEHIND:
            self.counts["head_regressions"] += 1
            return view, progress, False
        if view.sight.standing is Standing.DIFFERS:
            after = self._go_back(view, progress)
            return None if after is None else (view, after, True)
        with self._publishing() as publish:
            progress, behind = self._go_forward(view, progress, publish)
        return view, progress, behind

    def _begin(self, view: View) -> ChainProgress:
        start = self.chain.start_block
        if start == 0:
            return begun(self.chain.chain_id, start, _NO_HASH)
        (answer,) = view.sight.provider.results([header_call(start - 1)])
        return begun(self.chain.chain_id, start, parse_block(answer, start - 1).hash)

    def _go_forward(
        self, view: View, progress: ChainProgress, publish: Publish
    ) -> tuple[ChainProgress, bool]:
        target = view.sight.head.number - self.chain.confirmations
        if progress.partial is not None and target > progress.block_number:
            (answer,) = view.sight.provider.results([header_call(progress.block_number + 1)])
            if parse_block(answer, progress.block_number + 1).hash != progress.partial:
                progress = self._retract_above(progress, progress.block_number, publish)
        ends_at = clock.monotonic() + _STEP_S
        for proven in self._read_ahead(view, progress.block_number + 1, target, ends_at):
            if proven.headers[0].parent_hash != progress.block_hash:
                raise RetryableError(f"block {progress.block_number} changed while the next was being read")
            progress = self._announce(view, progress, proven, publish)
        return progress, progress.block_number < target

    def _read_ahead(self, view: View, first: int, target: int, ends_at: float) -> Iterator[ProvenLogs]:
        """The next ranges in order, several of them being read at a time, until the step's time is over."""
        size = self.sizes[view.sight.provider.name]
        if target - first < size.blocks:
            if first <= target:
                yield self.read(view, first, target)
            return
        waiting: deque[Future[ProvenLogs]] = deque()

        def unended() -> bool:
            return clock.monotonic() < ends_at

        with ThreadPoolExecutor(_RANGES_IN_FLIGHT) as readers:
            try:
                while True:
                    while len(waiting) < _RANGES_IN_FLIGHT and first <= target and unended():
                        last = min(target, first + size.blocks - 1)
                        waiting.append(readers.submit(self.read, view, first, last))
                        first = last + 1
                    if not waiting:
                        return
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def read(self, view: View, first: int, last: int, *, again: bool = False) -> ProvenLogs:
        """The proven logs of a range, from the provider that is believed or else from another.

        Args:
            view: whom to believe. What another gives must be of the same chain.
            first: the first block.
            last: the last one.
            again: from another provider, if there is one that answers in time, or else from the believed one.

        Raises:
            HistoryPrunedError: every provider says that it no longer has these blocks.
            RetryableError: no provider gave them.
        """
        believed = view.sight.provider
        # Nor for a second opinion: what is new at the head would wait as well.
        heard = [each for each in view.others if not each.health.silent]
        providers = (*heard, believed) if again else (believed, *view.others)
        failures: list[str] = []
        pruned = 0
        for provider in providers:
            others = [each for each in (believed, *heard) if each is not provider]
            size, head = self.sizes[provider.name], view.sight.head
            try:
                found = read_range(provider, others, self.wanted, size, first=first, last=last, head=head)
            except ProviderError as error:
                self.counts["retries"] += 1
                pruned += error.kind is RefusalKind.PRUNED
                if error.kind not in (RefusalKind.PRUNED, RefusalKind.HEAD_RACE, RefusalKind.RATE_LIMIT):
                    provider.health.failed()
                failures.append(f"{provider.name}: {error}")
                continue
            if provider is believed or _is_in_chain(believed, found.headers[-1]):
                return found
            self.counts["forks"] += 1
            provider.health.failed()
            failures.append(f"{provider.name}: block {last} is not that of {believed.name}")
        reason = f"blocks {first} to {last} of chain {self.chain.chain_id}: {'; '.join(failures)}"
        if pruned == len(providers):
            self.unreadable = reason
            alerts.history_pruned(self.context, self.chain, first, reason)
            raise HistoryPrunedError(reason)
        raise RetryableError(reason)

    def _announce(
        self, view: View, progress: ChainProgress, proven: ProvenLogs, publish: Publish
    ) -> ChainProgress:
        self.unreadable = None
        events = self.decode(proven, progress)
        progress = replace(progress, differences=progress.differences + len(proven.differences))
        for group, done in announcing.parts(proven.headers, events):
            progress = announcing.progress_after(
                progress, proven.headers, group, done, view.sight.final_number
            )
            commit = self._commit()
            for part in group:
                announcing.announce(commit, self.chain.chain_id, part)
            self._apply(commit, progress)
            publish(commit)
        self.cursor_time = proven.headers[-1].time
        if proven.differences:
            alerts.logs_incomplete(self.context, self.chain, proven.differences)
        return progress

    def decode(
        self, proven: ProvenLogs, progress: ChainProgress
    ) -> dict[int, list[contract_events.ContractLogEvent]]:
        """The events of proven logs by block, under the revision that their block has.

        Raises:
            RetryableError: one cannot be decoded; operators are told.
        """
        times = {header.number: header.time for header in proven.headers}
        events: dict[int, list[contract_events.ContractLogEvent]] = {}
        for log in proven.logs:
            number = quantity(log["blockNumber"])
            event = self._decode(log, times[number], progress.revision_of(number))
            events.setdefault(number, []).append(event)
        return events

    def _decode(self, log: Log, block_time: int, revision: int) -> contract_events.ContractLogEvent:
        try:
            return contract_events.decode_log(self.chain, log, block_time, revision)
        except TerminalError as error:
            alerts.log_not_understood(self.context, self.chain, log, block_time, error)
            raise RetryableError(
                f"log {log['logIndex']} of block {log['blockNumber']} cannot be decoded: {error}"
            ) from error

    def _go_back(self, view: View, progress: ChainProgress) -> ChainProgress | None:
        """Take back what is no longer in the chain, once what replaces it has been read."""
        ancestor = common_ancestor(view.sight, progress)
        if ancestor == progress.block_number:
            raise RetryableError(f"{view.sight.provider.name} showed two chains at once")
        if ancestor is None or ancestor < progress.final_number:
            self._ask_again(view, progress)
            self.halt(progress, view.sight.head, ancestor)
            return None
        target = view.sight.head.number - self.chain.confirmations
        replacement: ProvenLogs | None = None
        if target > ancestor:
            last = min(target, ancestor + self.sizes[view.sight.provider.name].blocks)
            replacement = self.read(replace(view, others=()), ancestor + 1, last)
            if replacement.headers[0].parent_hash != progress.hash_of(ancestor):
                raise RetryableError(f"block {ancestor} changed while its successors were being read")
        _log.warning(
            "chain reorganised",
            extra={"chain": self.chain.name, "ancestor": ancestor, "announced": progress.block_number},
        )
        with self._publishing() as publish:
            progress = self._retract_above(progress, ancestor, publish)
            if replacement is not None:
                progress = self._announce(view, progress, replacement, publish)
        return progress

    def _ask_again(self, view: View, progress: ChainProgress) -> None:
        """Make sure that every provider shows the same other chain, for what follows stops the relay.

        Raises:
            RetryableError: one does not, or not twice.
        """
        for provider in (view.sight.provider, *view.others):
            sight = ask(provider, self.chain, progress)
            if sight.standing is not Standing.DIFFERS or sight.shown_hash != view.sight.shown_hash:
                raise RetryableError(f"{provider.name} does not show what {view.sight.provider.name} did")

    def make_sure(self, view: View, number: int, announced_hash: str) -> None:
        """Make sure that no provider has a final block as it was announced, for what follows stops the relay.

        Raises:
            RetryableError: one has, or does not answer.
        """
        for provider in (view.sight.provider, *view.others):
            (header,) = read_headers(provider, number, number)
            if header.hash == announced_hash:
                raise RetryableError(f"{provider.name} has block {number} as it was announced")

    def _retract_above(self, progress: ChainProgress, ancestor: int, publish: Publish) -> ChainProgress:
        revision = progress.revision + 1
        records = announced_blocks.list_between(
            self.database, self.chain.chain_id, ancestor + 1, None, limit=_MOST_RECORDS
        )
        commit = self._commit()
        for index, record in reversed(list(enumerate(records))):
            self.counts["retractions"] += announcing.retract(commit, record, revision)
            following = records[index - 1] if index else None
            if following is None or len(commit) + len(following.announcements) + 2 < database.MAX_WRITES:
                continue
            progress = progress.rewound(
                min(record.block_number - 1, progress.block_number), revision, ancestor
            )
            if following.block_hash == record.block_hash:
                progress = progress.begun_block(record.block_hash)
            self._apply(commit, progress)
            publish(commit)
            commit = self._commit()
        progress = progress.rewound(ancestor, revision, ancestor)
        self._apply(commit, progress)
        publish(commit)
        return progress

    def halt(self, progress: ChainProgress, head: Block, ancestor: int | None) -> None:
        """Announce nothing more of this chain until an operator has looked."""
        shared = "none that is known" if ancestor is None else f"block {ancestor}"
        reason = (
            f"block {progress.final_number} was final, but the chain of head {head.number} ({head.hash}) has "
            f"another one; the last block that both have is {shared}"
        )
        commit = self._commit()
        alerts.finality_violated(commit, self.chain, progress, reason)
        self._apply(commit, replace(progress, halted=reason))
        _log.error("finality violated, relay halted", extra={"chain": self.chain.name, "reason": reason})
        self._publish(commit)

    def settle(self, progress: ChainProgress, write: Callable[[database.Commit], None]) -> None:
        """Commit a progress that announces no new block, with what else ``write`` puts into the commit."""
        commit = self._commit()
        write(commit)
        self._apply(commit, progress)
        self._publish(commit)

    def _commit(self) -> database.Commit:
        return database.Commit(self.database, traceparent=self.context.traceparent)

    def _apply(self, commit: database.Commit, progress: ChainProgress) -> None:
        path = chain_cursors.path(self.chain.chain_id)
        index = commit.replace(path, chain_cursors.encode(progress), read_at=self._read_at)
        commit.apply()
        self._read_at = commit.update_time(index)

    def _publish(self, commit: database.Commit) -> None:
        outbox.publish(self.database, publisher.connect(self.context.settings), commit.announced)

    @contextmanager
    def _publishing(self) -> Iterator[Publish]:
        """Publish commit behind commit, beside the reading of what comes next."""
        with ThreadPoolExecutor(1) as thread:
            running: list[Future[None]] = []

            def publish(commit: database.Commit) -> None:
                if commit.announced:
                    running.append(thread.submit(self._publish, commit))

            yield publish
            for future in running:
                future.result()


def _is_in_chain(provider: Provider, block: Block) -> bool:
    (header,) = read_headers(provider, block.number, block.number)
    return header.hash == block.hash
