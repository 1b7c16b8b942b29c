"""A settlement command, the transaction that it became, and the answers to sending one."""

# Strawberry types its field decorator with Any once a description is given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import strawberry

from gateway.context import Info
from gateway.scalars import Address, BigInt, DateTime
from shared.chain.settlement_calls import parameters
from shared.domain import settlement_commands, transactions

SettlementCommandKind = strawberry.enum(
    settlement_commands.CommandKind,
    name="SettlementCommandKind",
    description="What may be asked for; settlementCommandKinds says what each takes.",
)
SettlementCommandStatus = strawberry.enum(
    settlement_commands.CommandStatus,
    name="SettlementCommandStatus",
    description="Only ever moves forward. SUCCEEDED and REVERTED are said once they are final on chain.",
)
TransactionStatus = strawberry.enum(
    transactions.TransactionStatus,
    name="TransactionStatus",
    description="MINED may fall back to PENDING in a reorganisation. LOST: something else took the nonce.",
)


@strawberry.type(description="What a nonce of a signer is used for.")
class Transaction:
    id: strawberry.ID
    chain_id: int
    signer: Address
    nonce: int
    status: TransactionStatus  # type: ignore[valid-type]
    hash: str = strawberry.field(description="Of the attempt that is mined, else of the newest.")
    attempts: int = strawberry.field(description="How many versions were signed, each bidding more.")
    no_op: bool = strawberry.field(description="Whether a no-op took the place of what was asked for.")
    max_fee_wei: BigInt = strawberry.field(description="The newest bid per gas.")
    block_number: int | None
    block_hash: str | None
    trouble: str | None = strawberry.field(description="What last stood in its way.")


def transaction_type(stored: transactions.Transaction) -> Transaction:
    """The type of a stored transaction."""
    mined = stored.mined
    return Transaction(
        id=stored.transaction_id,  # type: ignore[arg-type]
        chain_id=stored.chain_id,
        signer=Address(stored.signer),
        nonce=stored.nonce,
        status=stored.status,
        hash=stored.newest.hash if mined is None else mined.hash,
        attempts=len(stored.attempts),
        no_op=stored.newest.no_op if mined is None else not stored.happened,
        max_fee_wei=BigInt(stored.newest.fees.max_fee_wei),
        block_number=None if mined is None else mined.block_number,
        block_hash=None if mined is None else mined.block_hash,
        trouble=stored.trouble,
    )


@strawberry.type(description="One argument of a command, in canonical form.")
class SettlementCommandArgument:
    name: str
    value: str


def argument_list(arguments: Mapping[str, str]) -> list[SettlementCommandArgument]:
    """Arguments in order of name."""
    return [SettlementCommandArgument(name=name, value=value) for name, value in sorted(arguments.items())]


@strawberry.type(description="Something that a client asked us to do on chain for an account in custody.")
class SettlementCommand:
    id: strawberry.ID
    account_id: Address
    client_key: str
    chain_id: int
    kind: SettlementCommandKind  # type: ignore[valid-type]
    arguments: list[SettlementCommandArgument]
    deadline: DateTime
    status: SettlementCommandStatus  # type: ignore[valid-type]
    reason: str | None = strawberry.field(description="Why it was refused, failed, reverted or expired.")
    field: str | None = strawberry.field(description="What is to blame, where it was refused.")
    accepted_at: DateTime
    transaction_id: strawberry.Private[str | None]

    @strawberry.field(description="Null until it has one.")
    async def transaction(self, info: Info) -> Transaction | None:
        if self.transaction_id is None:
            return None
        stored = await info.context.loaders.transaction.load(self.transaction_id)
        return None if stored is None else transaction_type(stored)


def command_type(stored: settlement_commands.Command) -> SettlementCommand:
    """The type of a stored command."""
    body = stored.body
    return SettlementCommand(
        id=stored.command_id,  # type: ignore[arg-type]
        account_id=Address(stored.account_id),
        client_key=stored.client_key,
        chain_id=body.chain_id,
        kind=body.kind,
        arguments=argument_list(body.arguments),
        deadline=body.deadline,
        status=stored.status,
        reason=stored.reason,
        field=stored.field,
        accepted_at=stored.accepted_at,
        transaction_id=stored.transaction_id,
    )


@strawberry.type(description="What a kind of command takes.")
class SettlementCommandKindDescription:
    kind: SettlementCommandKind  # type: ignore[valid-type]
    parameters: list[SettlementCommandParameter]


@strawberry.type(description="An argument's name and its type in the contract ABI.")
class SettlementCommandParameter:
    name: str
    type: str


def kind_descriptions() -> list[SettlementCommandKindDescription]:
    """Every kind of command and its parameters."""
    return [
        SettlementCommandKindDescription(
            kind=kind,
            parameters=[
                SettlementCommandParameter(name=parameter.name, type=parameter.type)
                for parameter in parameters(kind)
            ],
        )
        for kind in settlement_commands.CommandKind
    ]


@strawberry.input(description="An argument: amounts as decimal digits in base units, up to 2^256 - 1.")
class SettlementCommandArgumentInput:
    name: str
    value: str


@strawberry.input
class SettlementCommandInput:
    account_id: Address = strawberry.field(description="The account in custody that signs.")
    client_key: str = strawberry.field(
        description="Names the command within its account: the same key and body are the same command."
    )
    chain_id: int
    kind: SettlementCommandKind  # type: ignore[valid-type]
    arguments: list[SettlementCommandArgumentInput]
    deadline: DateTime = strawberry.field(description="After it the command will not happen any more.")


@strawberry.type(description="The command was accepted; its id is where to ask for its progress.")
class SettlementCommandAccepted:
    command: SettlementCommand


@strawberry.type(description="The same command was accepted before, and nothing was done again.")
class SettlementCommandRepeated:
    command: SettlementCommand


@strawberry.type(description="The client key already names a command with another body.")
class SettlementCommandConflict:
    command_id: strawberry.ID
    client_key: str
    message: str


@strawberry.type(description="The command cannot be accepted as it is.")
class SettlementCommandRefused:
    field: str = strawberry.field(description="The path of what is to blame, as in arguments.amount.")
    reason: str


SubmitSettlementCommandResult: TypeAlias = Annotated[
    SettlementCommandAccepted
    | SettlementCommandRepeated
    | SettlementCommandConflict
    | SettlementCommandRefused,
    strawberry.union("SubmitSettlementCommandResult", description="What became of a command that was sent."),
]
