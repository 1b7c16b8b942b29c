"""``settlement.commands.v1`` and ``settlement.progress.v1``: what clients ask for on chain, and what became
of it."""

from __future__ import annotations

from pydantic import Field

from shared.domain.settlement_commands import Command, CommandKind, CommandStatus
from shared.events.base import (
    Address,
    Event,
    Hash32,
    Identifier,
    Instant,
    NonNegativeInt,
    PositiveInt,
    Record,
)


class SettlementCommand(Event):
    """A command was accepted. ``event_id`` is the command's id; ``arguments`` are in canonical form."""

    account_id: Address
    chain_id: PositiveInt
    kind: CommandKind
    arguments: dict[str, str]
    deadline: Instant
    body_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    as_of: Instant


class CommandTransaction(Record):
    """The transaction that a command became. ``block_number`` is given once it is final."""

    hash: Hash32
    nonce: NonNegativeInt
    block_number: NonNegativeInt | None


class SettlementCommandChanged(Event):
    """A command reached a new status; each at most once, since statuses only move forward."""

    command_id: Identifier
    account_id: Address
    chain_id: PositiveInt
    kind: CommandKind
    status: CommandStatus
    reason: str | None
    field: str | None
    transaction: CommandTransaction | None
    as_of: Instant


def command_message(command: Command) -> SettlementCommand:
    """The announcement of an accepted command."""
    body = command.body
    return SettlementCommand(
        event_id=command.command_id,
        account_id=command.account_id,
        chain_id=body.chain_id,
        kind=body.kind,
        arguments=dict(body.arguments),
        deadline=body.deadline,
        body_hash=body.hash,
        as_of=command.accepted_at,
    )


def progress_id(command_id: str, status: CommandStatus) -> str:
    """The event id of a command's status."""
    return f"{command_id}:{status}"
