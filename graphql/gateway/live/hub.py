"""The live state of one gateway process, and who is told when it changes.

Everything here runs in the event loop. Messages that arrive together are applied together, in order, and
followed by one valuation and one round of telling; a tick costs no Firestore operation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gateway.errors import AccountNotFoundError, ClientError, ErrorCode
from gateway.live.book import Holding, LiveBook
from gateway.live.feed import Feed
from gateway.live.streams import LiveStream, MarginHealthStream, MarksStream
from gateway.margin.types import MessageKind
from gateway.marks.types import Marks, MarksMessage, from_tick, message
from gateway.reading import StoreReader
from shared.config import Settings
from shared.domain.network import Network
from shared.events import topics
from shared.events.margin import MarginTransition
from shared.events.positions import PositionsChanged
from shared.events.prices import PriceTick
from shared.runtime import clock
from shared.stores import accounts, margin_states, ticks

if TYPE_CHECKING:
    from gateway.alerts.streams import AlertsStream

TOPICS = (topics.MARKET_PRICES, topics.POSITIONS_CHANGED, topics.MARGIN_ALERTS)

_LOAD_DELAY_S = 0.002
_LOAD_SIZE = 300

_log = logging.getLogger(__name__)


class LiveHub:
    """Holds the accounts that someone follows and hands out streams of what becomes of them."""

    def __init__(self, network: Network, stores: StoreReader) -> None:
        self.book = LiveBook(network)
        self.moment = clock.now()
        self.refused_messages = 0
        self._network = network
        self._stores = stores
        self._inbox: list[tuple[str, bytes, str]] = []
        self._followers: dict[str, int] = {}
        self._early: dict[str, list[PositionsChanged | MarginTransition]] = {}
        self._loads: dict[str, asyncio.Future[bool]] = {}
        self._queued: list[str] = []
        self._loader: asyncio.Task[None] | None = None
        self._margin_streams: dict[str, dict[MarginHealthStream, None]] = {}
        self._marks_streams: dict[MarksStream, None] = {}
        self._alerts_streams: dict[str | None, dict[AlertsStream, None]] = {}
        self._marks: Marks | None = None
        self._marks_messages: dict[MessageKind, MarksMessage] = {}
        self._ageing: asyncio.TimerHandle | None = None
        self._feed: Feed | None = None

    async def start(self, settings: Settings) -> None:
        """Listen to the live topics and read where things stand.

        Raises:
            RetryableError: Pub/Sub or Firestore did not answer, or a topic does not exist.
        """
        self._feed = Feed(
            settings,
            TOPICS,
            name=f"gateway-{clock.new_id()}",
            receive=self.receive,
            caught_up=self.catch_up,
        )
        await self._feed.start()

    async def stop(self) -> None:
        """End every stream, stop listening and delete the subscriptions."""
        self._close_streams()
        if self._feed is not None:
            await self._feed.stop()

    @property
    def connected(self) -> bool:
        """Whether every live topic is being heard."""
        return self._feed is not None and self._feed.connected

    @property
    def marks(self) -> Marks | None:
        """The latest tick as it may be used now; None before the first."""
        return self._marks

    def marks_message(self, kind: MessageKind) -> MarksMessage:
        """The message that shows :attr:`marks`: one object for all who read it."""
        if kind not in self._marks_messages:
            assert self._marks is not None
            self._marks_messages[kind] = message(kind, self._marks)
        return self._marks_messages[kind]

    @property
    def followed_accounts(self) -> int:
        """How many accounts are held."""
        return len(self.book)

    # Opening and closing streams

    async def margin_stream(self, account_ids: Sequence[str], argument: str) -> MarginHealthStream:
        """A stream of some accounts' margins.

        Raises:
            AccountNotFoundError: naming the first account that does not exist.
            RetryableError: Firestore did not answer.
        """
        await self._follow(account_ids, argument)
        stream = MarginHealthStream(self, account_ids)
        for account_id in account_ids:
            self._margin_streams.setdefault(account_id, {})[stream] = None
        return stream

    def close_margin_stream(self, stream: MarginHealthStream) -> None:
        """Take a stream out; nothing if it is out already."""
        for account_id in stream.account_ids:
            streams = self._margin_streams.get(account_id, {})
            if stream in streams:
                del streams[stream]
                self._unfollow((account_id,))
                if not streams:
                    del self._margin_streams[account_id]

    def marks_stream(self) -> MarksStream:
        """A stream of every tick."""
        stream = MarksStream(self)
        self._marks_streams[stream] = None
        return stream

    def close_marks_stream(self, stream: MarksStream) -> None:
        """Take a stream out; nothing if it is out already."""
        self._marks_streams.pop(stream, None)

    def add_alerts_stream(self, stream: AlertsStream, account_ids: Sequence[str] | None) -> None:
        """Offer a stream the transitions of some accounts (None: of all) from now on."""
        for account_id in account_ids if account_ids is not None else (None,):
            self._alerts_streams.setdefault(account_id, {})[stream] = None

    def close_alerts_stream(self, stream: AlertsStream) -> None:
        """Take a stream out; nothing if it is out already."""
        account_ids: Iterable[str | None] = getattr(stream, "account_ids", (None,))
        for account_id in account_ids:
            streams = self._alerts_streams.get(account_id, {})
            streams.pop(stream, None)
            if not streams:
                self._alerts_streams.pop(account_id, None)

    # Accounts: followed first, read second, so that no change falls in between

    async def _follow(self, account_ids: Sequence[str], argument: str) -> None:
        for account_id in account_ids:
            self._followers[account_id] = self._followers.get(account_id, 0) + 1
        try:
            exists = await asyncio.gather(*(self._load(account_id) for account_id in account_ids))
            for index, (account_id, known) in enumerate(zip(account_ids, exists, strict=True)):
                if not known:
                    raise AccountNotFoundError(account_id, f"{argument}.{index}")
        except BaseException:
            self._unfollow(account_ids)
            raise

    def _unfollow(self, account_ids: Iterable[str]) -> None:
        for account_id in account_ids:
            self._followers[account_id] -= 1
            if self._followers[account_id]:
                continue
            del self._followers[account_id]
            self._early.pop(account_id, None)
            if account_id in self.book:
                self.book.remove(account_id)

    async def _load(self, account_id: str) -> bool:
        if account_id in self.book:
            return True
        load = self._loads.get(account_id)
        if load is None:
            load = self._loads[account_id] = asyncio.get_running_loop().create_future()
            self._queued.append(account_id)
            if self._loader is None:
                self._loader = asyncio.create_task(self._load_queued())
        return await asyncio.shield(load)

    async def _load_queued(self) -> None:
        # Subscribers that come together are read together.
        await asyncio.sleep(_LOAD_DELAY_S)
        while self._queued:
            batch, self._queued = self._queued[:_LOAD_SIZE], self._queued[_LOAD_SIZE:]
            failure: Exception | None = None
            try:
                await self._read_accounts(batch)
            except Exception as error:  # noqa: BLE001 whoever waits for the account is told
                failure = error
            for account_id in batch:
                load = self._loads.pop(account_id)
                if failure is not None:
                    load.set_exception(failure)
                    load.exception()  # whoever waited may be gone
                else:
                    load.set_result(account_id in self.book)
        self._loader = None

    async def _read_accounts(self, account_ids: list[str]) -> None:
        found, records = await asyncio.gather(
            self._stores.read(accounts.find_many, account_ids),
            self._stores.read(margin_states.find_many, account_ids),
        )
        for account_id in account_ids:
            if account_id not in self._followers:
                continue
            account = found.get(account_id)
            if account is not None:
                self.book.put_positions(
                    account_id,
                    account.version,
                    account.as_of,
                    [Holding.of(p) for p in account.positions.values()],
                )
                if account_id in records:
                    self.book.put_record(account_id, records[account_id][0])
            for event in self._early.pop(account_id, ()):
                self._apply_now(event)
        self._tell(self.book.settle())

    async def catch_up(self) -> None:
        """Read what may have been announced while nobody listened.

        Raises:
            RetryableError: Firestore did not answer.
        """
        tick = await self._stores.read(ticks.find_latest)
        self.moment = clock.now()
        if tick is not None and self.book.apply_tick(tick, self.moment):
            self._show_tick()
        followed = [account_id for account_id in self._followers if account_id in self.book]
        for start in range(0, len(followed), _LOAD_SIZE):
            await self._read_accounts(followed[start : start + _LOAD_SIZE])
        for stream in [stream for streams in self._alerts_streams.values() for stream in streams]:
            stream.resume()
            stream.wake()
        self._tell(self.book.settle())

    # Messages

    def receive(self, topic: str, data: bytes, ordering_key: str) -> None:
        """Take a message in; it is applied with all others of the same turn of the event loop."""
        if not self._inbox:
            asyncio.get_running_loop().call_soon(self._apply_inbox)
        self._inbox.append((topic, data, ordering_key))

    def _apply_inbox(self) -> None:
        inbox, self._inbox = self._inbox, []
        self.moment = clock.now()
        for topic, data, ordering_key in inbox:
            try:
                self._apply_message(topic, data, ordering_key)
            except ValidationError as error:
                # The function that consumes the topic dead-letters it with the reason.
                self.refused_messages += 1
                _log.warning("a message was ignored", extra={"topic": topic, "error": str(error)})
            except Exception:  # noqa: BLE001 whatever is wrong with one, those behind it are applied
                _log.exception("a message could not be applied", extra={"topic": topic})
        self._tell(self.book.settle())

    def _apply_message(self, topic: str, data: bytes, ordering_key: str) -> None:
        if topic == topics.MARKET_PRICES:
            if self.book.apply_tick(PriceTick.model_validate_json(data), self.moment):
                self._show_tick()
        elif topic == topics.POSITIONS_CHANGED:
            # Most accounts have no follower here; their messages are not even parsed.
            if not ordering_key or ordering_key in self._followers:
                self._apply(PositionsChanged.model_validate_json(data))
        elif topic == topics.MARGIN_ALERTS:
            self._announce(MarginTransition.model_validate_json(data))

    def _apply(self, event: PositionsChanged | MarginTransition) -> None:
        if event.account_id in self.book:
            self._apply_now(event)
        elif event.account_id in self._followers:
            self._early.setdefault(event.account_id, []).append(event)

    def _apply_now(self, event: PositionsChanged | MarginTransition) -> None:
        if isinstance(event, MarginTransition):
            self.book.apply_transition(event)
            return
        self.book.put_positions(
            event.account_id,
            event.version,
            event.as_of,
            [Holding.of(p) for p in event.positions],
        )

    def _announce(self, transition: MarginTransition) -> None:
        self._apply(transition)
        for key in (transition.account_id, None):
            for stream in list(self._alerts_streams.get(key, ())):
                _guarded(stream, partial(stream.offer, transition))

    def _show_tick(self) -> None:
        tick = self.book.tick
        assert tick is not None
        self._marks = from_tick(tick, self._network.tick_max_age_s, self.moment)
        self._marks_messages.clear()
        for stream in list(self._marks_streams):
            stream.offer()
            _guarded(stream, stream.wake)
        if self._ageing is not None:
            self._ageing.cancel()
            self._ageing = None
        expiry = self.book.next_expiry(self.moment)
        if expiry is not None:
            # A millisecond later, for at the moment itself it may still be used.
            delay_s = (expiry - self.moment).total_seconds() + 0.001
            self._ageing = asyncio.get_running_loop().call_later(delay_s, self._age)

    def _age(self) -> None:
        self._ageing = None
        self.moment = clock.now()
        self.book.age(self.moment)
        self._show_tick()
        self._tell(self.book.settle())

    def _tell(self, changed: Iterable[str]) -> None:
        told: dict[MarginHealthStream, None] = {}
        for account_id in changed:
            for stream in self._margin_streams.get(account_id, ()):
                stream.offer(account_id)
                told[stream] = None
        for stream in told:
            _guarded(stream, stream.wake)

    def _close_streams(self) -> None:
        if self._ageing is not None:
            self._ageing.cancel()
        if self._loader is not None:
            self._loader.cancel()
        error = ClientError(ErrorCode.UNAVAILABLE, "The gateway is shutting down. Subscribe again.")
        streams: set[LiveStream[Any]] = set(self._marks_streams)
        streams.update(stream for held in self._margin_streams.values() for stream in held)
        streams.update(stream for held in self._alerts_streams.values() for stream in held)
        for stream in streams:
            _guarded(stream, partial(stream.fail, error))


def _guarded(stream: LiveStream[Any], call: Any) -> None:
    """One subscriber's failure must not keep the others from being told."""
    try:
        call()
    except Exception:  # noqa: BLE001
        _log.exception("a subscriber could not be told", extra={"stream": type(stream).__name__})
        stream.close()
