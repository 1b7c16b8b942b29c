"""``preparedCommand``: a command as a transaction for the sender's own wallet; nothing is signed here."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from typing import Annotated, TypeAlias

import strawberry

from gateway.context import Info
from gateway.permissions import NeedsCommandsScope, visible_account
from gateway.scalars import Address, BigInt
from gateway.settlement.types import (
    SettlementCommandArgument,
    SettlementCommandArgumentInput,
    SettlementCommandKind,
    SettlementCommandRefused,
    argument_list,
)
from shared.chain.settlement_calls import ContractCall, concerns_trade, contract_call
from shared.domain.dvp import DvpEscrow
from shared.domain.settlement_commands import CommandKind, CommandRefusedError
from shared.runtime.command_intake import checked_arguments
from shared.stores.escrow_collection import escrow_id


@strawberry.type(description="What a wallet signs and sends itself; it knows nonce, gas and fees.")
class UnsignedTransaction:
    chain_id: int
    sender: Address = strawberry.field(description="Whose wallet must send it.")
    to: Address
    data: str
    value_base: BigInt = strawberry.field(description="Of the native asset, in base units.")


def unsigned_transaction(chain_id: int, sender: str, call: ContractCall) -> UnsignedTransaction:
    """A call as a wallet is given it."""
    return UnsignedTransaction(
        chain_id=chain_id,
        sender=Address(sender),
        to=Address(call.to),
        data=call.data,
        value_base=BigInt(call.value_base),
    )


@strawberry.input(description="As in submitSettlementCommand; the sender need not be in custody.")
class PreparedCommandInput:
    sender: Address = strawberry.field(description="Whose wallet will send it.")
    chain_id: int
    kind: SettlementCommandKind  # type: ignore[valid-type]
    arguments: list[SettlementCommandArgumentInput]


@strawberry.type(description="A command that the sender's own wallet carries out.")
class PreparedCommand:
    kind: SettlementCommandKind  # type: ignore[valid-type]
    arguments: list[SettlementCommandArgument] = strawberry.field(description="In canonical form.")
    transaction: UnsignedTransaction


PreparedCommandResult: TypeAlias = Annotated[
    PreparedCommand | SettlementCommandRefused,
    strawberry.union("PreparedCommandResult"),
]


@strawberry.type
class PreparedCommandQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsCommandsScope],
        description="A command of any kind as a transaction for the client's own wallet. Whether the"
        " contract will take it is for the wallet to try. An approval may also be signed: escrowApproval.",
    )
    async def prepared_command(
        self,
        info: Info,
        input: PreparedCommandInput,  # noqa: A002 the name of such an argument by convention
    ) -> PreparedCommandResult:
        sender = visible_account(info, input.sender, "input.sender")
        # Strawberry hands on an enum variable's bare value.
        kind = CommandKind(input.kind)
        given = tuple((argument.name, argument.value) for argument in input.arguments)
        network = info.context.network
        try:
            arguments = checked_arguments(network, input.chain_id, kind, given)
            call = contract_call(
                network.chains[input.chain_id],
                kind,
                arguments,
                sender=sender,
                trade=await _find_named_escrow(info, input.chain_id, kind, arguments.get("escrow")),
            )
        except CommandRefusedError as error:
            return SettlementCommandRefused(field=error.field, reason=error.reason)
        return PreparedCommand(
            kind=input.kind,
            arguments=argument_list(arguments),
            transaction=unsigned_transaction(input.chain_id, sender, call),
        )


async def _find_named_escrow(
    info: Info, chain_id: int, kind: CommandKind, escrow: str | None
) -> DvpEscrow | None:
    """The trade that the arguments name, if they do; an escrow has only to be one that the key may see."""
    if escrow is None:
        return None
    loaders, identifier = info.context.loaders, escrow_id(chain_id, escrow)
    if concerns_trade(kind):
        trade = await loaders.dvp_escrow.load(identifier)
        if trade is not None:
            return trade.escrow
    elif await loaders.escrow.load(identifier) is not None:
        return None
    raise CommandRefusedError("arguments.escrow", f"{escrow} is no escrow for {kind} that was found")
