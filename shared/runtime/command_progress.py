"""Moving a command on, and saying so in the same commit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from shared.domain.settlement_commands import Command
from shared.domain.transactions import Transaction
from shared.events.settlement_commands import CommandTransaction, SettlementCommandChanged, progress_id
from shared.stores import database, settlement_commands


def record(
    commit: database.Commit,
    command: Command,
    *,
    read_at: Any,
    transaction: Transaction | None,
    now: datetime,
) -> SettlementCommandChanged:
    """Write a command's new status if it has not changed since ``read_at``; what is to be announced of it."""
    commit.replace(
        settlement_commands.path(command.command_id), settlement_commands.encode(command), read_at=read_at
    )
    return SettlementCommandChanged(
        event_id=progress_id(command.command_id, command.status),
        command_id=command.command_id,
        account_id=command.account_id,
        chain_id=command.body.chain_id,
        kind=command.body.kind,
        status=command.status,
        reason=command.reason,
        field=command.field,
        transaction=None if transaction is None else _described(transaction),
        as_of=now,
    )


def _described(transaction: Transaction) -> CommandTransaction:
    mined = transaction.mined
    return CommandTransaction(
        hash=transaction.newest.hash if mined is None else mined.hash,
        nonce=transaction.nonce,
        block_number=None if mined is None else mined.block_number,
    )
