"""Live alerts: nothing is left out, however slowly it is read or however long the client was away.

What does not fit into a stream's memory is forgotten and read from the store when its turn comes, so a
slow reader costs reads and not memory.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.alerts.cursors import (
    OVERLAP,
    decode_moment,
    decode_sequences,
    encode_moment,
    encode_sequences,
)
from gateway.alerts.types import AlertsMessage, from_transition
from gateway.errors import ClientError, ErrorCode
from gateway.live.hub import LiveHub
from gateway.live.streams import LiveStream
from gateway.margin.types import MessageKind
from gateway.reading import StoreReader
from shared.errors import RetryableError
from shared.events.margin import MarginTransition, transition_id
from shared.stores import alerts, margin_states

LATEST = 20
"""Alerts in the snapshot of a client that says nothing of what it has seen."""

_MESSAGE_SIZE = 100
_BUFFER_SIZE = 500
_REMEMBERED = 20_000
_ATTEMPTS = 5

_log = logging.getLogger(__name__)


class AlertsStream(LiveStream[AlertsMessage]):
    """What both kinds of stream share: reading behind, in a task of its own, when it has to."""

    def __init__(self, hub: LiveHub, stores: StoreReader) -> None:
        super().__init__()
        self._hub = hub
        self._stores = stores
        self._kind = MessageKind.SNAPSHOT
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    @abstractmethod
    def offer(self, transition: MarginTransition) -> None:
        """A transition was announced; it may be an old or a repeated one."""

    @abstractmethod
    def resume(self) -> None:
        """Announcements may have been missed: look into the store."""

    @abstractmethod
    async def _read_on(self) -> None:
        """Read some of what is missing into memory."""

    def _start_reading(self) -> None:
        if self._reading is None and not self._closed:
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        pause_s = 0.1
        for attempt in range(_ATTEMPTS):
            try:
                await self._read_on()
                break
            except RetryableError as error:
                _log.warning("alerts could not be read", extra={"error": repr(error), "attempt": attempt})
                await asyncio.sleep(pause_s)
                pause_s *= 2
        else:
            self.fail(
                ClientError(ErrorCode.UNAVAILABLE, "Alerts could not be read. Subscribe again with after.")
            )
        self._reading = None
        self.wake()

    def close(self) -> None:
        """See :meth:`LiveStream.close`."""
        self._closed = True
        if self._reading is not None:
            self._reading.cancel()
        self._hub.close_alerts_stream(self)


class AccountAlertsStream(AlertsStream):
    """Alerts of named accounts, each transition exactly once and in its account's order.

    ``seen`` is the last sequence sent of each account, ``latest`` the last one known to exist.
    """

    def __init__(self, hub: LiveHub, stores: StoreReader, account_ids: Sequence[str]) -> None:
        super().__init__(hub, stores)
        self.account_ids = tuple(sorted(account_ids))
        self._seen = dict.fromkeys(self.account_ids, 0)
        self._latest = dict.fromkeys(self.account_ids, 0)
        self._buffer: dict[tuple[str, int], MarginTransition] = {}
        self._opened = False
        self._resuming = False

    async def open(self, after: str | None) -> None:
        """Find out what the client missed: everything after the cursor, or the latest few.

        Whatever happens from here on is sent, also what happens while this reads.

        Raises:
            BadUserInputError: the cursor is not one of a subscription to these accounts.
            RetryableError: Firestore did not answer.
        """
        if after is not None:
            claimed = decode_sequences(after, self.account_ids)
            await self._read_latest()
            self._seen = {
                account_id: min(claimed[account_id], self._latest[account_id]) for account_id in claimed
            }
        else:
            first = {account_id: stored + 1 for account_id, stored in (await self._read_latest()).items()}
            newest = await self._stores.read(
                alerts.list_page, account_ids=self.account_ids, before=None, limit=LATEST
            )
            for transition in newest:
                self._keep(transition)
                first[transition.account_id] = min(first[transition.account_id], transition.sequence)
            self._seen = {account_id: sequence - 1 for account_id, sequence in first.items()}
        self._buffer = {
            (account_id, sequence): transition
            for (account_id, sequence), transition in self._buffer.items()
            if sequence > self._seen[account_id]
        }
        self._opened = True

    async def _read_latest(self) -> dict[str, int]:
        """How many transitions each account has in the store."""
        records = await self._stores.read(margin_states.find_many, self.account_ids)
        stored = dict.fromkeys(self.account_ids, 0)
        for account_id, (record, _) in records.items():
            stored[account_id] = record.transitions
            self._latest[account_id] = max(self._latest[account_id], record.transitions)
        return stored

    def _keep(self, transition: MarginTransition) -> None:
        account_id, sequence = transition.account_id, transition.sequence
        self._latest[account_id] = max(self._latest[account_id], sequence)
        if len(self._buffer) < _BUFFER_SIZE:
            self._buffer[account_id, sequence] = transition

    def offer(self, transition: MarginTransition) -> None:
        """See :meth:`AlertsStream.offer`."""
        if self._opened and transition.sequence <= self._seen[transition.account_id]:
            return
        self._keep(transition)
        self.wake()

    def resume(self) -> None:
        """See :meth:`AlertsStream.resume`."""
        self._resuming = True
        self._start_reading()

    def take(self) -> AlertsMessage | None:
        """See :meth:`LiveStream.take`."""
        batch: list[MarginTransition] = []
        missing = False
        for account_id, latest in self._latest.items():
            while self._seen[account_id] < latest and len(batch) < _MESSAGE_SIZE:
                found = self._buffer.pop((account_id, self._seen[account_id] + 1), None)
                if found is None:
                    missing = True
                    break
                batch.append(found)
                self._seen[account_id] += 1
        if missing:
            self._start_reading()
        caught_up = not missing and self._seen == self._latest
        is_first = self._kind is MessageKind.SNAPSHOT
        if not batch and not (is_first and caught_up):
            return None
        kind = self._kind
        if caught_up:
            self._kind = MessageKind.UPDATE
        batch.sort(key=lambda transition: (transition.as_of, transition.account_id, transition.sequence))
        return AlertsMessage(
            kind=kind,
            alerts=list(map(from_transition, batch)),
            cursor=encode_sequences(self.account_ids, [self._seen[a] for a in self.account_ids]),
        )

    async def _read_on(self) -> None:
        if self._resuming:
            await self._read_latest()
            self._resuming = False
        wanted: list[tuple[str, int]] = []
        for account_id, latest in self._latest.items():
            for sequence in range(self._seen[account_id] + 1, latest + 1):
                if len(wanted) < _MESSAGE_SIZE and (account_id, sequence) not in self._buffer:
                    wanted.append((account_id, sequence))
                if len(wanted) == _MESSAGE_SIZE:
                    break
        found = await self._stores.read(
            alerts.find_many, [transition_id(account_id, sequence) for account_id, sequence in wanted]
        )
        for account_id, sequence in wanted:
            transition = found.get(transition_id(account_id, sequence))
            if transition is None:
                raise RetryableError(f"alert {transition_id(account_id, sequence)} is announced, not stored")
            self._buffer[account_id, sequence] = transition


class AllAlertsStream(AlertsStream):
    """Alerts of every account, each at least once; those of one account in order while nothing is missed."""

    def __init__(self, hub: LiveHub, stores: StoreReader) -> None:
        super().__init__(hub, stores)
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._buffer: OrderedDict[str, MarginTransition] = OrderedDict()
        self._moment = datetime.fromtimestamp(0, UTC)
        self._behind: tuple[datetime, str | None] | None = None
        self._ready = False
        self._dropped = False

    async def open(self, after: str | None) -> None:
        """See :meth:`AccountAlertsStream.open`."""
        if after is not None:
            self._moment = decode_moment(after)
            self._behind = (self._moment - OVERLAP, None)
        else:
            newest = await self._stores.read(alerts.list_page, account_ids=None, before=None, limit=LATEST)
            for transition in reversed(newest):
                self._buffer.setdefault(transition.event_id, transition)
            if newest:
                self._moment = newest[0].as_of
        self._ready = True

    def offer(self, transition: MarginTransition) -> None:
        """See :meth:`AlertsStream.offer`."""
        if transition.event_id in self._sent:
            return
        if len(self._buffer) < _BUFFER_SIZE:
            self._buffer.setdefault(transition.event_id, transition)
        else:
            self._dropped = True
            self.resume()
        self.wake()

    def resume(self) -> None:
        """See :meth:`AlertsStream.resume`."""
        if self._behind is None:
            self._behind = (self._moment - OVERLAP, None)

    def take(self) -> AlertsMessage | None:
        """See :meth:`LiveStream.take`."""
        if not self._ready:
            return None
        batch: list[MarginTransition] = []
        while self._buffer and len(batch) < _MESSAGE_SIZE:
            event_id, transition = self._buffer.popitem(last=False)
            if event_id in self._sent:
                continue
            self._sent[event_id] = None
            self._moment = max(self._moment, transition.as_of)
            batch.append(transition)
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        caught_up = not self._buffer and self._behind is None
        if not self._buffer and self._behind is not None:
            self._start_reading()
        is_first = self._kind is MessageKind.SNAPSHOT
        if not batch and not (is_first and caught_up):
            return None
        kind = self._kind
        if caught_up:
            self._kind = MessageKind.UPDATE
        return AlertsMessage(
            kind=kind, alerts=list(map(from_transition, batch)), cursor=encode_moment(self._moment)
        )

    async def _read_on(self) -> None:
        if self._behind is None:
            return
        moment, after = self._behind
        found = await self._stores.read(alerts.list_since, moment, after=after, limit=_MESSAGE_SIZE)
        for transition in found:
            self._buffer.setdefault(transition.event_id, transition)
        if len(found) == _MESSAGE_SIZE:
            self._behind = (found[-1].as_of, found[-1].event_id)
            return
        self._behind = None
        if self._dropped:
            # What was announced during the reading and did not fit may not have been among what was read.
            self._dropped = False
            self.resume()
