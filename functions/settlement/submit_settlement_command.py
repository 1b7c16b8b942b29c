"""Turns an accepted command into a signed transaction with a nonce of its own, and sends it.

Trigger: ``settlement.commands.v1``.
Reads: ``settlement_commands``, ``custody``, ``escrows``, ``dvp_escrows``, ``signer_nonces``; the chain.
Writes: ``signer_nonces``, ``transactions`` and ``settlement_commands`` in one commit.
Publishes: ``settlement.progress.v1``.

Nothing is sent before the commit. Two copies that lease the same nonce cannot both commit, and what was
signed for nothing is thrown away. A crash after the commit leaves a transaction that was never sent:
``follow_transactions`` sends the same bytes.
"""

from __future__ import annotations

import logging
from typing import Any

from pydantic import TypeAdapter

from shared.chain import rpc, settlement_calls, submission
from shared.chain.send_errors import SendOutcome
from shared.domain.dvp import DvpEscrow
from shared.domain.fees import opening_bid
from shared.domain.network import Chain
from shared.domain.settlement_commands import Command, CommandRefusedError, CommandStatus
from shared.domain.transactions import Transaction, TransactionStatus, transaction_id
from shared.errors import ConflictError, RetryableError, TerminalError
from shared.events import topics
from shared.events.settlement_commands import SettlementCommand
from shared.messaging import publisher
from shared.runtime import attempts, clock, command_progress
from shared.runtime.context import Context
from shared.runtime.triggers import pubsub_function
from shared.signing.custody import find_signer
from shared.signing.signer import SignerError
from shared.stores import (
    custody,
    database,
    dvp_escrows,
    escrows,
    outbox,
    settlement_commands,
    transactions,
)
from shared.stores.escrow_collection import escrow_id

_ATTEMPTS = 5

_log = logging.getLogger(__name__)


@pubsub_function(
    uses=("firestore", "pubsub"),
    settings=("NETWORK_FILE", "RPC_URLS", "SIGNER_KEYS", "FEE_CAPS"),
    messages={topics.SETTLEMENT_COMMANDS: TypeAdapter(SettlementCommand)},
)
def submit_settlement_command(event: SettlementCommand, context: Context) -> None:
    """Submit one command."""
    for attempt in range(_ATTEMPTS):
        try:
            _submit(event, context)
        except ConflictError:
            # Another command of the signer took the nonce, or another copy this command: decide again.
            if attempt + 1 == _ATTEMPTS:
                raise
        else:
            return


def _submit(event: SettlementCommand, context: Context) -> None:
    client = database.connect(context.settings)
    found = settlement_commands.find(client, event.event_id)
    if found is None or found[0].body.hash != event.body_hash:
        raise TerminalError(f"no command {event.event_id} with this body was accepted", field="event_id")
    command, read_at = found
    if command.status is not CommandStatus.ACCEPTED:
        return
    if clock.now() >= command.body.deadline:
        expired = command.advanced(
            CommandStatus.EXPIRED, reason="the deadline passed before it was submitted"
        )
        _conclude(expired, read_at, context)
        return
    try:
        chain, call = _call(command, context)
        transaction = _transaction(command, chain, call, context)
    except CommandRefusedError as error:
        refused = command.advanced(CommandStatus.REFUSED, reason=error.reason, field=error.field)
        _conclude(refused, read_at, context)
        return
    _lease(command, read_at, *transaction, context=context)
    _send(transaction[0], context)


def _call(command: Command, context: Context) -> tuple[Chain, settlement_calls.ContractCall]:
    body = command.body
    chain = context.network.chains.get(body.chain_id)
    if chain is None:
        raise CommandRefusedError("chainId", f"{body.chain_id} is not one of our chains any more")
    call = settlement_calls.contract_call(
        chain,
        body.kind,
        body.arguments,
        sender=command.account_id,
        trade=_find_named_escrow(command, context),
    )
    return chain, call


def _find_named_escrow(command: Command, context: Context) -> DvpEscrow | None:
    """The trade that the command's arguments name, if they name one; an escrow has only to be one of ours."""
    escrow = command.body.arguments.get("escrow")
    if escrow is None:
        return None
    client = database.connect(context.settings)
    identifier = escrow_id(command.body.chain_id, escrow)
    if settlement_calls.concerns_trade(command.body.kind):
        trades = dvp_escrows.find_many(client, [identifier])
        if trades:
            return trades[identifier].escrow
    elif escrows.find_many(client, [identifier]):
        return None
    raise CommandRefusedError(
        "arguments.escrow",
        f"{escrow} is not an escrow of ours for {command.body.kind} that the chain has reported",
    )


def _transaction(
    command: Command, chain: Chain, call: settlement_calls.ContractCall, context: Context
) -> tuple[Transaction, Any]:
    """The transaction with the signer's next nonce, signed, and what that nonce's lease is conditioned on."""
    client = database.connect(context.settings)
    kept = custody.find(client, command.account_id)
    if kept is None:
        raise CommandRefusedError("accountId", f"{command.account_id} is not in custody any more")
    try:
        signer = find_signer(context.settings, command.account_id, kept.key_version)
    except SignerError as error:
        raise RetryableError(str(error)) from error
    next_nonce, leased_at = transactions.find_next_nonce(client, chain.chain_id, signer.address)
    node = rpc.connect(context.settings, chain.chain_id)
    try:
        standing, gas_limit = submission.read_for_call(node, signer.address, call)
    except (submission.CallRevertedError, submission.CallUnfundedError) as error:
        if next_nonce > _mined_count(node, signer.address):
            # What is still on its way may be what makes it possible.
            raise RetryableError(f"waits for earlier transactions of {signer.address}: {error}") from error
        if isinstance(error, submission.CallUnfundedError):
            raise CommandRefusedError("accountId", f"cannot pay for the call and its gas: {error}") from error
        raise CommandRefusedError("arguments", f"are refused by the contract: {error}") from error
    # Nonces that the node's pool counts and we did not give out belong to somebody else with this key.
    nonce = max(next_nonce, standing.pending_count)
    now = clock.now()
    cap = context.settings.fee_caps[chain.chain_id]
    limit_wei = cap.at(since=now, deadline=command.body.deadline, now=now)
    attempt = attempts.sign_call(
        signer,
        chain_id=chain.chain_id,
        nonce=nonce,
        fees=opening_bid(standing.market, limit_wei),
        to=call.to,
        data=call.data,
        value_base=call.value_base,
        gas_limit=gas_limit,
        now=now,
    )
    transaction = Transaction(
        chain_id=chain.chain_id,
        signer=signer.address,
        nonce=nonce,
        command_id=command.command_id,
        to=call.to,
        data=call.data,
        value_base=call.value_base,
        gas_limit=gas_limit,
        deadline=command.body.deadline,
        attempts=(attempt,),
        status=TransactionStatus.PENDING,
        created_at=now,
    )
    return transaction, leased_at


def _mined_count(node: rpc.RpcClient, signer: str) -> int:
    return rpc.quantity(node.call("eth_getTransactionCount", signer, "latest"))


def _lease(
    command: Command, read_at: Any, transaction: Transaction, leased_at: Any, *, context: Context
) -> None:
    """Take the nonce for the command: all in one commit, or nothing."""
    client = database.connect(context.settings)
    submitted = command.advanced(
        CommandStatus.SUBMITTED,
        transaction_id=transaction_id(transaction.chain_id, transaction.signer, transaction.nonce),
    )
    commit = database.Commit(client, traceparent=context.traceparent)
    commit.replace(
        transactions.nonce_path(transaction.chain_id, transaction.signer),
        transactions.encode_nonce(transaction.nonce + 1),
        read_at=leased_at,
    )
    commit.create(transactions.path(transaction.transaction_id), transactions.encode(transaction))
    progress = command_progress.record(
        commit, submitted, read_at=read_at, transaction=transaction, now=clock.now()
    )
    commit.announce(topics.SETTLEMENT_PROGRESS, progress, ordering_key=command.account_id)
    commit.apply()
    outbox.publish(client, publisher.connect(context.settings), commit.announced)


def _send(transaction: Transaction, context: Context) -> None:
    """The first sending. Whatever comes of it, the transaction is followed from here on."""
    try:
        refusal = submission.send(rpc.connect(context.settings, transaction.chain_id), transaction.newest.raw)
    except RetryableError as error:
        _log.warning(
            "a transaction may not have been sent",
            extra={"transaction": transaction.transaction_id, "reason": str(error)},
        )
        return
    if refusal.outcome is not SendOutcome.SENT:
        _log.warning(
            "a node refused a transaction",
            extra={
                "transaction": transaction.transaction_id,
                "outcome": refusal.outcome.value,
                "reason": refusal.message,
            },
        )


def _conclude(command: Command, read_at: Any, context: Context) -> None:
    client = database.connect(context.settings)
    commit = database.Commit(client, traceparent=context.traceparent)
    progress = command_progress.record(commit, command, read_at=read_at, transaction=None, now=clock.now())
    commit.announce(topics.SETTLEMENT_PROGRESS, progress, ordering_key=command.account_id)
    commit.apply()
    outbox.publish(client, publisher.connect(context.settings), commit.announced)
