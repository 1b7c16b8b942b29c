"""Projects contract events onto accounts and escrows.

Trigger: ``settlement.events.v1``.
Reads: ``accounts``, ``escrows``.
Writes: ``accounts``, ``escrows``.
Publishes: ``positions.changed.v1``.

Events carry absolute balances, the contracts' own counters and the chain's revision, so duplicates and any
order of arrival, retractions included, end in the same documents.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import TypeAdapter

from shared.domain import escrows as escrow_rules
from shared.domain.positions import Account, Position, apply_position, before
from shared.errors import ConflictError, TerminalError
from shared.events import positions as position_messages
from shared.events import topics
from shared.events.settlement import (
    AnyContractEvent,
    AnyEscrowEvent,
    EscrowApproved,
    EscrowCreated,
    EscrowRefunded,
    EscrowReleased,
    EventRetracted,
    PositionChanged,
    SettlementEvent,
)
from shared.messaging import publisher
from shared.runtime.context import Context
from shared.runtime.triggers import pubsub_function
from shared.stores import accounts, database, escrows, outbox

_ATTEMPTS = 5


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
            if isinstance(reported, PositionChanged):
                _apply_position(reported, retracted_at, context)
            else:
                _apply_escrow_step(reported, retracted_at, context)
        except ConflictError:
            # Another event of the same account or escrow won the race: read what it wrote, decide again.
            if attempt + 1 == _ATTEMPTS:
                raise
        else:
            return


def _apply_position(event: PositionChanged, retracted_at: int | None, context: Context) -> None:
    client = database.connect(context.settings)
    path = accounts.path(event.account_id)
    document = database.find(client, path)
    position = Position(
        chain_id=event.chain_id,
        asset=event.asset,
        decimals=event.decimals,
        collateral_base=event.collateral_base,
        debt_base=event.debt_base,
        sequence=event.sequence,
        revision=event.revision,
    )
    if retracted_at is not None:
        try:
            position = before(position, event.action, event.amount_base)
        except ValueError as error:
            raise TerminalError(str(error), field="retracted.amount_base") from error
        position = replace(position, revision=retracted_at, retracted=True)
    known = None if document is None else accounts.decode(document.fields)
    account = apply_position(known, event.account_id, position, event.block_time)
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
                debt_base=position.debt_base,
            )
            for _, position in sorted(account.positions.items())
        ),
    )


def _apply_escrow_step(event: AnyEscrowEvent, retracted_at: int | None, context: Context) -> None:
    client = database.connect(context.settings)
    identifier = escrows.escrow_id(event.chain_id, event.escrow)
    path = escrows.path(identifier)
    document = database.find(client, path)
    records = {} if document is None else escrows.decode_records(document.fields)
    known = records.get(event.step, escrow_rules.StepRecord())
    try:
        if retracted_at is not None:
            record = known.taken_back(retracted_at)
        else:
            record = known.announced(_step(event), event.revision)
        if record == known:
            return
        fields = escrows.encode(identifier, event.chain_id, event.escrow, {**records, event.step: record})
    except escrow_rules.EscrowStepError as error:
        raise TerminalError(f"escrow {identifier}, step {event.step}: {error}", field="step") from error
    commit = database.Commit(client, traceparent=context.traceparent)
    commit.replace(path, fields, read_at=document.read_at if document else None)
    commit.apply()


def _step(event: AnyEscrowEvent) -> escrow_rules.EscrowStep:
    if isinstance(event, EscrowCreated):
        return escrow_rules.Created(
            payer=event.payer,
            payee=event.payee,
            arbiter=event.arbiter,
            asset=event.asset,
            decimals=event.decimals,
            amount_base=event.amount_base,
            release_time=event.release_time,
            refund_time=event.refund_time,
            policy=event.policy,
        )
    if isinstance(event, EscrowApproved):
        return escrow_rules.Approved(event.role)
    if isinstance(event, EscrowReleased):
        return escrow_rules.Released()
    if isinstance(event, EscrowRefunded):
        return escrow_rules.Refunded()
    return escrow_rules.Withdrawn()
