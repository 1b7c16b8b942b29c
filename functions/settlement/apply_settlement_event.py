"""Projects contract events onto accounts, lenders, markets and escrows.

Trigger: ``settlement.events.v1``.
Reads: ``accounts``, ``supplies``, ``markets``, ``market_changes``, ``escrows``, ``dvp_escrows``.
Writes: ``accounts``, ``supplies``, ``markets``, ``market_changes``, ``escrows``, ``dvp_escrows``.
Publishes: ``positions.changed.v1``; ``alerts.operations.v1`` for an event that contradicts an escrow.

Events carry absolute balances, the contracts' own counters and the chain's revision, so duplicates and any
order of arrival, retractions included, end in the same documents. A step whose escrow is not known yet waits
in the document; one that contradicts the escrow changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from shared.domain import dvp as dvp_rules
from shared.domain import escrows as escrow_rules
from shared.domain.interest import Market
from shared.domain.lending import LostHistoryError, Supply
from shared.domain.margin import Severity
from shared.domain.positions import LENDER_ACTIONS, Account, Position, apply_position, before
from shared.domain.steps import Contradiction, StepError, StepRecord, without
from shared.errors import ConflictError, TerminalError
from shared.events import positions as position_messages
from shared.events import topics
from shared.events.escrow_steps import dvp_step, escrow_step
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.events.settlement import (
    AnyContractEvent,
    AnyDvpEvent,
    AnyEscrowEvent,
    EventRetracted,
    MarketChanged,
    PositionChanged,
    SettlementEvent,
)
from shared.messaging import publisher
from shared.runtime.context import Context
from shared.runtime.triggers import pubsub_function
from shared.stores import accounts, database, dvp_escrows, escrows, markets, outbox, supplies
from shared.stores.escrow_collection import escrow_id

_ATTEMPTS = 5

Step = TypeVar("Step")


@pubsub_function(
    uses=("firestore", "pubsub"),
    messages={topics.SETTLEMENT_EVENTS: TypeAdapter(SettlementEvent)},
)
def apply_settlement_event(event: AnyContractEvent | EventRetracted, context: Context) -> None:
    """Apply one contract event, or undo one that a reorganisation took back."""
    reported = event.retracted if isinstance(event, EventRetracted) else event
    retracted_at = event.revision if isinstance(event, EventRetracted) else None
    for attempt in range(_ATTEMPTS):
        try:
            if isinstance(reported, MarketChanged):
                _apply_market(reported, retracted_at, context)
            elif isinstance(reported, PositionChanged) and reported.action in LENDER_ACTIONS:
                _apply_supply(reported, retracted_at, context)
            elif isinstance(reported, PositionChanged):
                _apply_position(reported, retracted_at, context)
            elif isinstance(reported, AnyDvpEvent):
                _apply_step(_DVP, reported, dvp_step(reported), retracted_at, context)
            else:
                _apply_step(_ESCROW, reported, escrow_step(reported), retracted_at, context)
        except ConflictError:
            # Another event of the same account or escrow won the race: read what it wrote, decide again.
            if attempt + 1 == _ATTEMPTS:
                raise
        else:
            return


def _apply_market(event: MarketChanged, retracted_at: int | None, context: Context) -> None:
    """Keep a report of a market's books, and the latest that stands as what they are."""
    client = database.connect(context.settings)
    path = markets.path(event.chain_id, event.asset)
    change_path = markets.change_path(event.chain_id, event.asset, event.sequence)
    found = database.find_all(client, (path, change_path))
    document, change = found.get(path), found.get(change_path)
    known: StepRecord[Market] = StepRecord() if change is None else markets.decode_change(change.fields)
    record = _recorded(known, _books(event), event, retracted_at)
    if record == known:
        return
    market = None if document is None else markets.decode(document.fields)
    books = None if market is None else market.books
    if record.live is not None:
        if books is None or books.sequence <= event.sequence:
            books = record.live
    elif books is not None and books.sequence == event.sequence:
        books = markets.find_standing_before(client, event.chain_id, event.asset, event.sequence)
    commit = database.Commit(client, traceparent=context.traceparent)
    commit.replace(
        change_path,
        markets.encode_change(event.sequence, record),
        read_at=change.read_at if change else None,
    )
    # Written also where it stays the same: what was read of other changes holds only while this does.
    commit.replace(
        path,
        markets.encode(event.chain_id, event.asset, event.decimals, books),
        read_at=document.read_at if document else None,
    )
    commit.apply()


def _apply_supply(event: PositionChanged, retracted_at: int | None, context: Context) -> None:
    """Keep a report of a lender's shares."""
    client = database.connect(context.settings)
    path = supplies.path(event.account_id)
    document = database.find(client, path)
    held = {} if document is None else supplies.decode(document.fields)
    supply = Supply(event.chain_id, event.asset, event.decimals)
    supply = held.get(supply.key, supply)
    known: StepRecord[int] = supply.records.get(event.sequence, StepRecord())
    record = _recorded(known, event.supply_shares, event, retracted_at)
    if record == known:
        return
    supply = supply.with_record(event.sequence, record)
    try:
        _ = supply.shares
    except LostHistoryError as error:
        raise TerminalError(str(error), field="retracted.sequence") from error
    commit = database.Commit(client, traceparent=context.traceparent)
    commit.replace(
        path,
        supplies.encode(event.account_id, {**held, supply.key: supply}),
        read_at=document.read_at if document else None,
    )
    commit.apply()


def _recorded(
    known: StepRecord[Step], step: Step, event: MarketChanged | PositionChanged, retracted_at: int | None
) -> StepRecord[Step]:
    """What is known of a number after a message about it.

    Raises:
        TerminalError: another report has the number at the same revision.
    """
    if retracted_at is not None:
        return known.taken_back(retracted_at)
    try:
        return known.announced(step, event.revision)
    except StepError as error:
        raise TerminalError(f"report {event.sequence} of {event.asset}: {error}", field="sequence") from error


def _books(event: MarketChanged) -> Market:
    return Market(
        cash_base=event.cash_base,
        supply_shares=event.supply_shares,
        debt_shares=event.debt_shares,
        borrow_index=event.borrow_index,
        pending_reserves_base=event.pending_reserves_base,
        reserves_base=event.reserves_base,
        rate_per_second=event.rate_per_second,
        reserve_factor_bps=event.reserve_factor_bps,
        accrued_at=int(event.block_time.timestamp()),
        sequence=event.sequence,
    )


def _apply_position(event: PositionChanged, retracted_at: int | None, context: Context) -> None:
    client = database.connect(context.settings)
    path = accounts.path(event.account_id)
    document = database.find(client, path)
    position = Position(
        chain_id=event.chain_id,
        asset=event.asset,
        decimals=event.decimals,
        collateral_base=event.collateral_base,
        debt_shares=event.debt_shares,
        sequence=event.sequence,
        revision=event.revision,
    )
    if retracted_at is not None:
        try:
            position = before(position, event.action, event.amount_base, event.borrow_index)
        except ValueError as error:
            raise TerminalError(str(error), field="retracted.amount_base") from error
        position = replace(position, revision=retracted_at, retracted=True)
    known = None if document is None else accounts.decode(document.fields)
    try:
        account = apply_position(known, event.account_id, position, event.block_time)
    except StepError as error:
        raise TerminalError(f"report {event.sequence} of {event.asset}: {error}", field="sequence") from error
    if account is None:
        return
    commit = database.Commit(client, traceparent=context.traceparent)
    commit.replace(path, accounts.encode(account), read_at=document.read_at if document else None)
    commit.announce(topics.POSITIONS_CHANGED, _changed(account), ordering_key=account.account_id)
    commit.apply()
    outbox.publish(client, publisher.connect(context.settings), commit.announced)


def _changed(account: Account) -> position_messages.PositionsChanged:
    return position_messages.PositionsChanged(
        event_id=position_messages.positions_id(account.account_id, account.version),
        account_id=account.account_id,
        version=account.version,
        as_of=account.as_of,
        positions=tuple(
            position_messages.Position(
                chain_id=position.chain_id,
                asset=position.asset,
                decimals=position.decimals,
                collateral_base=position.collateral_base,
                debt_shares=position.debt_shares,
            )
            for _, position in sorted(account.positions.items())
        ),
    )


@dataclass(frozen=True)
class _Projection(Generic[Step]):
    """One kind of escrow: where its documents are, and the rules of its steps."""

    path: Callable[[str], str]
    encode: Callable[[int, str, Mapping[int, StepRecord[Step]]], dict[str, Any]]
    decode_records: Callable[[Mapping[str, Any]], dict[int, StepRecord[Step]]]
    fold_records: Callable[[Mapping[int, StepRecord[Step]]], tuple[object, Contradiction | None]]


_ESCROW: _Projection[escrow_rules.EscrowStep] = _Projection(
    escrows.path, escrows.encode, escrows.decode_records, escrow_rules.fold_records
)
_DVP: _Projection[dvp_rules.DvpStep] = _Projection(
    dvp_escrows.path, dvp_escrows.encode, dvp_escrows.decode_records, dvp_rules.fold_records
)


def _apply_step(
    projection: _Projection[Step],
    event: AnyEscrowEvent | AnyDvpEvent,
    step: Step,
    retracted_at: int | None,
    context: Context,
) -> None:
    client = database.connect(context.settings)
    path = projection.path(escrow_id(event.chain_id, event.escrow))
    document = database.find(client, path)
    known = {} if document is None else projection.decode_records(document.fields)
    records, alert = _after(projection, known, event, step, retracted_at)
    if records == known and alert is None:
        return
    commit = database.Commit(client, traceparent=context.traceparent)
    if records != known:
        fields = projection.encode(event.chain_id, event.escrow, records)
        commit.replace(path, fields, read_at=document.read_at if document else None)
    if alert is not None:
        commit.announce(topics.OPERATIONS_ALERTS, alert)
    commit.apply()
    outbox.publish(client, publisher.connect(context.settings), commit.announced)


def _after(
    projection: _Projection[Step],
    known: Mapping[int, StepRecord[Step]],
    event: AnyEscrowEvent | AnyDvpEvent,
    step: Step,
    retracted_at: int | None,
) -> tuple[dict[int, StepRecord[Step]], OperationsAlert | None]:
    """The records after a message, and the alert where it shows a contradiction.

    A step that is certain to contradict is left out. One that a retraction may still explain is kept and
    holds up the ones behind it; that is said once.
    """
    record = known.get(event.step, StepRecord())
    try:
        record = (
            record.announced(step, event.revision)
            if retracted_at is None
            else record.taken_back(retracted_at)
        )
    except StepError as error:
        return dict(known), _contradicted(event, f"step {event.step}: {error}", certain=True)
    records = {**known, event.step: record}
    _, contradiction = projection.fold_records(records)
    if contradiction is None:
        return records, None
    if contradiction.certain:
        alert = _contradicted(event, contradiction.reason, certain=True)
        return without(records, contradiction.number), alert
    _, before = projection.fold_records(known)
    if contradiction == before:
        return records, None
    return records, _contradicted(event, contradiction.reason, certain=False)


_LEFT_OUT = "Compare the contract with the escrow's document, and the nodes with each other."
_HELD_UP = (
    "It was announced after a reorganisation: unless the retraction of an earlier step is still on its way, "
    "compare the contract with the escrow's document, and the nodes with each other."
)


def _contradicted(event: AnyEscrowEvent | AnyDvpEvent, reason: str, *, certain: bool) -> OperationsAlert:
    return OperationsAlert(
        event_id=f"{OperationsAlertKind.EVENT_CONTRADICTED}:{event.event_id}",
        kind=OperationsAlertKind.EVENT_CONTRADICTED,
        subject=escrow_id(event.chain_id, event.escrow),
        severity=Severity.CRITICAL if certain else Severity.HIGH,
        message=(
            f"Escrow {event.escrow} of chain {event.chain_id} keeps its state: {reason}. "
            f"{_LEFT_OUT if certain else _HELD_UP}"
        ),
        details={
            "event_id": event.event_id,
            "event": event.kind,
            "step": str(event.step),
            "transaction": event.transaction_hash,
        },
        as_of=event.block_time,
    )
