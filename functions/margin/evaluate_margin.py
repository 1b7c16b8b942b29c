"""Keeps every account's margin state and announces its transitions.

Trigger: ``market.prices.v1``, ``positions.changed.v1``, ``margin.sweeps.v1``, ``margin.shards.v1``.
Reads: ``accounts`` and ``margin_states`` as they change, ``price_ticks`` that it missed, ``margin_progress``;
``margin_snapshots`` and ``margin_packs`` when it starts.
Writes: ``margin_states`` and ``alerts`` per transition, ``margin_progress`` per tick.
Publishes: ``alerts.margin.v1`` per transition; ``margin.samples.v1`` per sweep; ``alerts.operations.v1``
when ticks stop and when they resume, and when a snapshot of the book is refused; ``margin.shards.v1`` per
shard, where the book is cut into several.

Ticks are evaluated in the order of their sequence, each exactly once, whatever order they arrive in: one
that was overtaken is read from ``price_ticks``. Each shard of the book goes on by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from pydantic import TypeAdapter

from shared.combining import Combiner
from shared.domain.margin import RecordedValuation, Severity, concerns_client, severity
from shared.domain.margin_book import Decision, Reading
from shared.domain.market import UsableMarks
from shared.domain.positions import Account, Position, position_key
from shared.domain.sharding import SLOTS, WHOLE, Shard, shard_of
from shared.errors import ConflictError, RetryableError
from shared.events import topics
from shared.events.margin import (
    MarginSamples,
    MarginShardWork,
    MarginSweep,
    MarginTransition,
    Sample,
    Valuation,
    shard_work_id,
    transition_id,
)
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.events.positions import PositionsChanged
from shared.events.prices import PriceTick
from shared.messaging import publisher
from shared.messaging.attributes import EVENT_ID, TRACEPARENT
from shared.runtime.context import Context
from shared.runtime.triggers import pubsub_function
from shared.runtime.warm_book import Announce, WarmBook, warm_book
from shared.stores import alerts, database, outbox, ticks

_POSITIONS_PER_BATCH = 100
_SAMPLES_PER_MESSAGE = 250
_ATTEMPTS = 5


@pubsub_function(
    uses=("firestore", "pubsub"),
    settings=("NETWORK_FILE", "MARGIN_SHARDS"),
    messages={
        topics.MARKET_PRICES: TypeAdapter(PriceTick),
        topics.POSITIONS_CHANGED: TypeAdapter(PositionsChanged),
        topics.MARGIN_SWEEPS: TypeAdapter(MarginSweep),
        topics.MARGIN_SHARDS: TypeAdapter(MarginShardWork),
    },
)
def evaluate_margin(
    event: PriceTick | PositionsChanged | MarginSweep | MarginShardWork, context: Context
) -> None:
    """Evaluate the book at a tick, an account at its new positions, or the ages of marks at a sweep."""
    shards = context.settings.margin_shards
    if isinstance(event, PositionsChanged):
        book = warm_book(context.settings, shard_of(event.account_id, shards))
        _positions_of(book).do((event, context))
    elif isinstance(event, MarginShardWork):
        # Of as many shards as the message says: another number may have been set since it was sent.
        book = warm_book(context.settings, Shard(event.shard, event.shards))
        _work(event.tick, book, replace(context, as_of=event.as_of))
    elif shards == 1:
        _work(event if isinstance(event, PriceTick) else None, warm_book(context.settings, WHOLE), context)
    else:
        _fan_out(event, shards, context)


def _fan_out(event: PriceTick | MarginSweep, shards: int, context: Context) -> None:
    """Hand each shard its part. What is sent again because one failed is recognised by each shard."""
    tick = event if isinstance(event, PriceTick) else None
    work = tick.event_id if tick else f"sweep:{context.as_of.isoformat()}"
    parts = [
        MarginShardWork(
            event_id=shard_work_id(work, shard, shards),
            shard=shard,
            shards=shards,
            tick=tick,
            as_of=context.as_of,
        )
        for shard in range(shards)
    ]
    messages = [
        publisher.OutboundMessage(
            topics.MARGIN_SHARDS,
            part.encode(),
            attributes={EVENT_ID: part.event_id, TRACEPARENT: context.traceparent},
        )
        for part in parts
    ]
    failures = [error for error in publisher.connect(context.settings).publish(messages) if error]
    if failures:
        raise RetryableError(f"{len(failures)} of {shards} shards were not told: {failures[0]!r}")


def _work(tick: PriceTick | None, book: WarmBook, context: Context) -> None:
    if tick is None:
        _sweep(book, context)
    else:
        _evaluate_tick(tick, book, context)


def _catch_up(book: WarmBook, context: Context, applied: list[database.Commit]) -> None:
    """Bring the book up to date, and tell operators where it refused its snapshot."""
    book.catch_up()
    if book.refused_snapshot is None:
        return
    alert = OperationsAlert(
        event_id=f"{OperationsAlertKind.MARGIN_SNAPSHOT_REFUSED}:{book.progress}",
        kind=OperationsAlertKind.MARGIN_SNAPSHOT_REFUSED,
        subject="margin_snapshots",
        severity=Severity.HIGH,
        message="A snapshot of the margin book could not be used; every document was read instead.",
        details={"reason": book.refused_snapshot},
        as_of=context.as_of,
    )
    commit = database.Commit(database.connect(context.settings), traceparent=context.traceparent)
    commit.announce(topics.OPERATIONS_ALERTS, alert)
    commit.apply()
    applied.append(commit)
    book.refused_snapshot = None


def _evaluate_tick(event: PriceTick, book: WarmBook, context: Context) -> None:
    applied: list[database.Commit] = []
    try:
        with book.lock:
            for attempt in range(_ATTEMPTS):
                _catch_up(book, context, applied)
                try:
                    _advance_to(event, book, context, applied)
                except ConflictError:
                    # Another instance is evaluating the same ticks: see how far it got.
                    if attempt + 1 == _ATTEMPTS:
                        raise
                else:
                    return
    finally:
        # What was committed is announced even where a later tick failed.
        _publish(applied, context)


def _advance_to(event: PriceTick, book: WarmBook, context: Context, applied: list[database.Commit]) -> None:
    if event.sequence <= book.progress:
        return
    for tick in _up_to(event, book, context):
        marks = tick.usable_marks()
        _, commits = book.evaluate(
            marks,
            tick_sequence=tick.sequence,
            as_of=tick.as_of,
            announce=_announcer(book, marks),
            traceparent=context.traceparent,
        )
        applied += commits
        commit = database.Commit(database.connect(context.settings), traceparent=context.traceparent)
        if book.prices_stopped:
            _announce_prices(commit, book, tick, stopped=False, context=context)
        book.advance(tick, commit)
        applied.append(commit)


def _up_to(event: PriceTick, book: WarmBook, context: Context) -> Iterator[PriceTick]:
    """The ticks that the book has missed, in order, and then this one."""
    while event.sequence > book.progress + 1:
        missed = ticks.list_between(database.connect(context.settings), book.progress, event.sequence)
        yield from missed
        if not missed:
            # They have expired: whoever has been away for days goes on from here.
            break
    yield event


def _announcer(book: WarmBook, marks: UsableMarks) -> Announce:
    def announce(commit: database.Commit, decision: Decision) -> None:
        if not decision.is_transition:
            return
        transition = _transition(book, marks, decision)
        alerts.add(commit, transition)
        commit.announce(topics.MARGIN_ALERTS, transition)

    return announce


def _transition(book: WarmBook, marks: UsableMarks, decision: Decision) -> MarginTransition:
    record = decision.record
    if record.valuation is None:
        raise AssertionError(f"{record.account_id}: a transition without a valuation")
    held = {asset: marks.get(asset) for asset in book.book.held_assets(record.account_id)}
    return MarginTransition(
        event_id=transition_id(record.account_id, record.transitions),
        account_id=record.account_id,
        sequence=record.transitions,
        previous_state=decision.previous_state,
        state=record.state,
        severity=severity(decision.previous_state, record.state),
        notify=concerns_client(decision.previous_state, record.state),
        valuation=_valuation(record.valuation),
        marks={asset: mark.price for asset, mark in held.items() if mark is not None},
        tick_sequence=record.tick_sequence,
        position_version=record.position_version,
        as_of=record.as_of,
    )


def _valuation(valuation: RecordedValuation) -> Valuation:
    return Valuation(
        collateral_usd=valuation.collateral_usd,
        debt_usd=valuation.debt_usd,
        health_pct=valuation.health_pct,
    )


@lru_cache(maxsize=2 * SLOTS)
def _positions_of(book: WarmBook) -> Combiner[tuple[PositionsChanged, Context], None]:
    """Position changes that arrive together are evaluated, recorded and announced together."""

    def evaluate(batch: Sequence[tuple[PositionsChanged, Context]]) -> list[None]:
        context = batch[0][1]
        _publish(_evaluate_positions([event for event, _ in batch], book, context), context)
        return [None] * len(batch)

    return Combiner(evaluate, limit=_POSITIONS_PER_BATCH, lock=book.lock)


def _evaluate_positions(
    events: list[PositionsChanged], book: WarmBook, context: Context
) -> list[database.Commit]:
    applied: list[database.Commit] = []
    _catch_up(book, context, applied)
    book.take(_account(event) for event in events)
    tick_sequence = book.progress
    as_of = max(event.as_of for event in events)
    marks: UsableMarks = {}
    if book.tick is not None:
        as_of = max(as_of, book.tick.as_of)
        marks = book.tick.usable_marks_at(book.latest(context.as_of), context.network.tick_max_age_s)
    changed, commits = book.evaluate(
        marks,
        tick_sequence=tick_sequence,
        as_of=as_of,
        announce=_announcer(book, marks),
        traceparent=context.traceparent,
    )
    unchanged = dict.fromkeys(event.account_id for event in events if event.account_id not in changed)
    acknowledged = [
        book.book.acknowledge(account_id, marks, tick_sequence=tick_sequence, as_of=as_of)
        for account_id in unchanged
    ]
    book.record([decision for decision in acknowledged if decision is not None], context.traceparent)
    return [*applied, *commits]


def _account(event: PositionsChanged) -> Account:
    return Account(
        event.account_id,
        event.version,
        event.as_of,
        {
            position_key(position.chain_id, position.asset): Position(
                position.chain_id,
                position.asset,
                position.decimals,
                position.collateral_base,
                position.debt_shares,
                sequence=0,
            )
            for position in event.positions
        },
    )


def _sweep(book: WarmBook, context: Context) -> None:
    """Unvalue what has become too old since the last tick, and sample every account's health."""
    applied: list[database.Commit] = []
    with book.lock:
        _catch_up(book, context, applied)
        tick = book.tick
        if tick is None or context.as_of < book.latest(context.as_of):
            # Nothing to value yet, or a sweep that a later one overtook.
            return
        marks = tick.usable_marks_at(context.as_of, context.network.tick_max_age_s)
        if marks != book.marks:
            changed, commits = book.evaluate(
                marks,
                tick_sequence=tick.sequence,
                as_of=context.as_of,
                announce=_announcer(book, marks),
                traceparent=context.traceparent,
            )
            applied += commits
            if changed:
                book.note_records(
                    database.Commit(database.connect(context.settings), traceparent=context.traceparent)
                )
        # The first shard speaks for all.
        if (
            book.shard.number == 0
            and not book.prices_stopped
            and not tick.is_current(context.as_of, context.network.tick_max_age_s)
        ):
            commit = database.Commit(database.connect(context.settings), traceparent=context.traceparent)
            _announce_prices(commit, book, tick, stopped=True, context=context)
            book.stop_prices(commit)
            applied.append(commit)
        readings = list(book.book.read_all(marks))
    _publish(applied, context)
    _publish_samples(readings, tick, book.shard, context)


def _announce_prices(
    commit: database.Commit, book: WarmBook, tick: PriceTick, *, stopped: bool, context: Context
) -> None:
    kind = OperationsAlertKind.PRICES_STOPPED if stopped else OperationsAlertKind.PRICES_RESUMED
    alert = OperationsAlert(
        event_id=f"{kind}:{book.progress}",
        kind=kind,
        subject="prices",
        severity=Severity.CRITICAL if stopped else Severity.INFO,
        message=(
            f"No price tick since {tick.as_of.isoformat()}: every account with positions is unvalued."
            if stopped
            else "Price ticks arrive again."
        ),
        details={"tick": str(tick.sequence), "accounts": str(len(book.book))},
        as_of=context.as_of,
    )
    commit.announce(topics.OPERATIONS_ALERTS, alert)


def _publish(commits: list[database.Commit], context: Context) -> None:
    announced = {key: message for commit in commits for key, message in commit.announced.items()}
    outbox.publish(database.connect(context.settings), publisher.connect(context.settings), announced)


def _publish_samples(readings: list[Reading], tick: PriceTick, shard: Shard, context: Context) -> None:
    """Samples are published without an outbox: a sweep that fails is delivered again with the same ids."""
    messages: list[publisher.OutboundMessage] = []
    minute = context.as_of.replace(second=0, microsecond=0).isoformat()
    work = (
        f"samples:{minute}"
        if shard == WHOLE
        else shard_work_id(f"samples:{minute}", shard.number, shard.count)
    )
    for number, chunk in enumerate(batched(readings, _SAMPLES_PER_MESSAGE)):
        event = MarginSamples(
            event_id=f"{work}:{number}",
            as_of=context.as_of,
            tick_sequence=tick.sequence,
            samples=tuple(
                Sample(
                    account_id=reading.account_id,
                    state=reading.state,
                    valuation=None if reading.valuation is None else _valuation(reading.valuation),
                )
                for reading in chunk
            ),
        )
        messages.append(
            publisher.OutboundMessage(
                topics.MARGIN_SAMPLES, event.encode(), attributes={EVENT_ID: event.event_id}
            )
        )
    failures = [error for error in publisher.connect(context.settings).publish(messages) if error]
    if failures:
        raise RetryableError(f"{len(failures)} of {len(messages)} samples were not taken: {failures[0]!r}")


def batched(readings: list[Reading], size: int) -> Iterator[list[Reading]]:
    """Consecutive chunks of up to ``size``."""
    for start in range(0, len(readings), size):
        yield readings[start : start + size]
