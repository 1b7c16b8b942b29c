"""``submitSettlementCommand``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from datetime import UTC, datetime

import strawberry

from gateway.context import Info
from gateway.permissions import NeedsCommandsWriteScope, visible_account
from gateway.settlement.types import (
    SettlementCommandAccepted,
    SettlementCommandConflict,
    SettlementCommandInput,
    SettlementCommandKind,
    SettlementCommandRefused,
    SettlementCommandRepeated,
    SubmitSettlementCommandResult,
    command_type,
)
from shared.domain.settlement_commands import CommandRefusedError
from shared.runtime import command_intake
from shared.runtime.command_intake import Asked, Outcome


@strawberry.type
class SettlementMutations:
    """Mixed into the schema's Mutation."""

    @strawberry.mutation(
        permission_classes=[NeedsCommandsWriteScope],
        description="Have something done on chain for an account in custody. Safe to repeat: the same"
        " client key and body are the same command.",
    )
    async def submit_settlement_command(
        self,
        info: Info,
        input: SettlementCommandInput,  # noqa: A002 the name of a mutation's argument by convention
    ) -> SubmitSettlementCommandResult:
        account_id = visible_account(info, input.account_id, "input.accountId")
        asked = Asked(
            account_id=account_id,
            client_key=input.client_key,
            chain_id=input.chain_id,
            # Strawberry hands on an enum variable's bare value.
            kind=SettlementCommandKind(input.kind),
            arguments=tuple((argument.name, argument.value) for argument in input.arguments),
            deadline=input.deadline,
        )
        try:
            intake = await info.context.stores.apply(
                command_intake.take, info.context.network, asked, datetime.now(UTC)
            )
        except CommandRefusedError as error:
            return SettlementCommandRefused(field=error.field, reason=error.reason)
        if intake.outcome is Outcome.ACCEPTED:
            return SettlementCommandAccepted(command=command_type(intake.command))
        if intake.outcome is Outcome.REPEATED:
            return SettlementCommandRepeated(command=command_type(intake.command))
        return SettlementCommandConflict(
            command_id=intake.command.command_id,  # type: ignore[arg-type]
            client_key=asked.client_key,
            message=f"The client key {asked.client_key} already names another command: use a new one.",
        )
