"""Follows every transaction of our signers until it is final, and keeps its nonce from getting stuck.

Trigger: every minute by Cloud Scheduler; looks every ``FOLLOW_INTERVAL_S`` while it holds its lease.
Reads: ``transactions``, ``settlement_commands``, ``custody``; receipts, counts and fees of the chains.
Writes: ``transactions``, ``settlement_commands``.
Publishes: ``settlement.progress.v1``; ``alerts.operations.v1`` when a transaction needs a person.

The identical bytes are sent again before any higher bid; a new attempt is recorded before it is sent. A
receipt counts for good once it is final; one whose block vanishes makes the transaction pending again, and it
is sent again. What may no longer happen is replaced by a no-op, and so is a nonce that nobody uses.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from typing import Any

from shared.chain import rpc, submission
from shared.chain.raw_transactions import TRANSFER_GAS
from shared.chain.send_errors import SendOutcome
from shared.domain import transactions as rules
from shared.domain.fees import FeeCap, opening_bid
from shared.domain.margin import Severity
from shared.domain.network import Chain
from shared.domain.settlement_commands import CommandStatus
from shared.domain.transactions import (
    Action,
    Conclude,
    Hold,
    Lose,
    Note,
    Replace,
    Resend,
    Transaction,
    TransactionStatus,
)
from shared.errors import ConflictError, RetryableError
from shared.events import topics
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.messaging import publisher
from shared.runtime import attempts, clock, command_progress
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.runtime.window import tick_under_lease
from shared.signing.custody import find_signer
from shared.signing.signer import Signer, SignerError
from shared.stores import custody, database, outbox, settlement_commands, transactions

_BATCH = 300

_log = logging.getLogger(__name__)


@http_function(
    uses=("firestore", "pubsub"),
    settings=(
        "NETWORK_FILE",
        "RPC_URLS",
        "SIGNER_KEYS",
        "FEE_CAPS",
        "FOLLOW_INTERVAL_S",
        "RESEND_AFTER_S",
        "WINDOW_S",
    ),
)
def follow_transactions(_request: Request, context: Context) -> Response:
    """Follow until the window ends."""
    looked = tick_under_lease(
        database.connect(context.settings),
        context,
        interval_s=context.settings.follow_interval_s,
        begin=lambda: _begin(context),
    )
    return Response({"looks": looked})


def _begin(context: Context) -> Callable[[], bool]:
    after: str | None = None
    failures: list[str] = []

    def step() -> bool:
        nonlocal after
        _expire_overdue(context)
        open_now = transactions.list_open(database.connect(context.settings), after=after, limit=_BATCH)
        # Past a full page, whatever becomes of it: what does not get on must not hold up the rest.
        is_full = len(open_now) == _BATCH
        after = open_now[-1][0].transaction_id if is_full else None
        open_now.sort(key=lambda row: (row[0].chain_id, row[0].signer, row[0].nonce))
        for (chain_id, signer), rows in groupby(open_now, key=lambda row: (row[0].chain_id, row[0].signer)):
            try:
                _Follower.of(context, chain_id, signer).look(list(rows))
            except RetryableError as error:
                failures.append(f"{chain_id}:{signer}: {error}")
        if failures and not is_full:
            raise RetryableError("; ".join(failures))
        return is_full

    return step


def _expire_overdue(context: Context) -> None:
    """Conclude commands that nobody submitted in time, whatever became of their messages."""
    client = database.connect(context.settings)
    now = clock.now()
    for command, read_at in settlement_commands.list_overdue(client, now, limit=_BATCH):
        expired = command.advanced(
            CommandStatus.EXPIRED, reason="the deadline passed before it was submitted"
        )
        commit = database.Commit(client, traceparent=context.traceparent)
        progress = command_progress.record(commit, expired, read_at=read_at, transaction=None, now=now)
        commit.announce(topics.SETTLEMENT_PROGRESS, progress, ordering_key=command.account_id)
        try:
            commit.apply()
        except ConflictError:
            # It was submitted or expired meanwhile.
            continue
        outbox.publish(client, publisher.connect(context.settings), commit.announced)


@dataclass(frozen=True)
class _Follower:
    """One signer's transactions on one chain."""

    context: Context
    chain: Chain
    signer: str
    node: rpc.RpcClient
    cap: FeeCap
    patience: rules.Patience

    @staticmethod
    def of(context: Context, chain_id: int, signer: str) -> _Follower:
        chain = context.network.chains.get(chain_id)
        if chain is None:
            raise RetryableError(f"chain {chain_id} is not in the network description any more")
        resend_after = timedelta(seconds=context.settings.resend_after_s)
        return _Follower(
            context,
            chain,
            signer,
            rpc.connect(context.settings, chain_id),
            context.settings.fee_caps[chain_id],
            rules.Patience(resend_after, raise_after=2 * resend_after),
        )

    def look(self, rows: Sequence[tuple[Transaction, Any]]) -> None:
        """Do what is due for each transaction, by nonce, and fill the gaps between them."""
        seen = submission.read_for_following(
            self.node,
            self.signer,
            [attempt.hash for transaction, _ in rows for attempt in transaction.attempts],
            finality=self.chain.finality,
        )
        standing = seen.standing
        open_nonces = frozenset(transaction.nonce for transaction, _ in rows)
        gaps = rules.gaps(standing.latest_count, standing.pending_count, open_nonces)
        # What is open beyond this page is no gap.
        ids = {rules.transaction_id(self.chain.chain_id, self.signer, nonce): nonce for nonce in gaps}
        known = transactions.find_many(database.connect(self.context.settings), ids)
        for identifier in ids.keys() - known.keys():
            self._fill(ids[identifier], standing)
        for transaction, read_at in rows:
            try:
                receipt = self._receipt(transaction, seen)
            except RetryableError as error:
                _log.warning(
                    "a nonce that may be lost waits for every node's word",
                    extra={"transaction": transaction.transaction_id, "reason": str(error)},
                )
                continue
            sight = rules.Sight(
                latest_count=standing.latest_count,
                pending_count=standing.pending_count,
                final_count=seen.final_count,
                final_number=seen.final_number,
                receipt=receipt,
                market=standing.market,
            )
            action = rules.decide(transaction, sight, self.patience, self.cap, clock.now())
            try:
                self._act(transaction, read_at, action)
            except ConflictError:
                _log.info("somebody else moved it", extra={"transaction": transaction.transaction_id})

    def _receipt(self, transaction: Transaction, seen: submission.SignerSight) -> rules.Mined | None:
        """The receipt of whichever attempt has one. One that is missing although its nonce is final is asked
        of every node before the nonce is believed to be somebody else's."""
        hashes = [attempt.hash for attempt in transaction.attempts]
        receipt = _first(hashes, seen.receipts)
        if receipt is None and transaction.nonce < seen.final_count:
            receipt = _first(hashes, submission.read_receipts(self.node, hashes))
        return receipt

    def _act(self, transaction: Transaction, read_at: Any, action: Action) -> None:
        match action:
            case Note(mined):
                status = TransactionStatus.PENDING if mined is None else TransactionStatus.MINED
                self._write(replace(transaction, mined=mined, status=status), read_at)
            case Conclude(mined):
                if self._stands(mined):
                    done = replace(transaction, mined=mined, status=TransactionStatus.FINAL, trouble=None)
                    self._conclude(done, read_at)
            case Lose():
                reason = (
                    f"nonce {transaction.nonce} of {self.signer} was used by a transaction that is not ours"
                )
                lost = replace(transaction, status=TransactionStatus.LOST, trouble=reason, alerted=True)
                self._conclude(lost, read_at)
            case Resend(capped):
                self._resend(transaction, read_at, capped)
            case Hold():
                self._hold(transaction, read_at)
            case Replace(fees, no_op):
                self._replace(transaction, read_at, Replace(fees, no_op))

    def _stands(self, mined: rules.Mined) -> bool:
        """Whether the block of a receipt is the one with its number: a node may answer from a stale
        branch."""
        block = self.node.call("eth_getBlockByNumber", hex(mined.block_number), False)
        return isinstance(block, dict) and block.get("hash") == mined.block_hash

    def _signer(self) -> Signer:
        kept = custody.find(database.connect(self.context.settings), self.signer)
        try:
            return find_signer(self.context.settings, self.signer, kept.key_version if kept else None)
        except SignerError as error:
            raise RetryableError(str(error)) from error

    def _resend(self, transaction: Transaction, read_at: Any, capped: bool) -> None:
        refusal = submission.send(self.node, transaction.newest.raw)
        newest = replace(transaction.newest, resent_at=clock.now())
        trouble = _trouble(refusal)
        if capped:
            trouble = f"may not bid more than {newest.fees.max_fee_wei} wei per gas; {trouble or 'it waits'}"
        changed = replace(
            transaction,
            attempts=(*transaction.attempts[:-1], newest),
            trouble=trouble,
            abandoned=refusal.message if refusal.outcome is SendOutcome.FATAL else transaction.abandoned,
            alerted=transaction.alerted or self._needs_a_person(refusal, capped),
        )
        alert = self._alert(changed) if changed.alerted and not transaction.alerted else None
        self._write(changed, read_at, alert)

    def _hold(self, transaction: Transaction, read_at: Any) -> None:
        if transaction.alerted:
            return
        bid_wei = transaction.newest.fees.max_fee_wei
        trouble = f"a no-op in its place may not bid more than {bid_wei} wei per gas"
        held = replace(transaction, trouble=trouble, alerted=True)
        self._write(held, read_at, self._alert(held))

    @staticmethod
    def _needs_a_person(refusal: submission.Refusal, capped: bool) -> bool:
        return capped or refusal.outcome in (
            SendOutcome.UNFUNDED,
            SendOutcome.FATAL,
            SendOutcome.UNKNOWN,
        )

    def _replace(self, transaction: Transaction, read_at: Any, wanted: Replace) -> None:
        now = clock.now()
        signer = self._signer()
        if wanted.no_op:
            attempt = attempts.sign_no_op(
                signer,
                chain_id=transaction.chain_id,
                nonce=transaction.nonce,
                fees=wanted.fees,
                now=now,
            )
        else:
            attempt = attempts.sign_call(
                signer,
                chain_id=transaction.chain_id,
                nonce=transaction.nonce,
                fees=wanted.fees,
                to=transaction.to,
                data=transaction.data,
                value_base=transaction.value_base,
                gas_limit=transaction.gas_limit,
                now=now,
            )
        self._write(replace(transaction, attempts=(*transaction.attempts, attempt)), read_at)
        self._send_first(transaction.transaction_id, attempt)

    def _fill(self, nonce: int, standing: submission.Standing) -> None:
        """Use a nonce up that nobody uses and that holds later ones up."""
        now = clock.now()
        fees = opening_bid(standing.market, self.cap.ceiling_wei)
        attempt = attempts.sign_no_op(
            self._signer(), chain_id=self.chain.chain_id, nonce=nonce, fees=fees, now=now
        )
        filler = Transaction(
            chain_id=self.chain.chain_id,
            signer=self.signer,
            nonce=nonce,
            command_id=None,
            to=self.signer,
            data="0x",
            value_base=0,
            gas_limit=TRANSFER_GAS,
            deadline=None,
            attempts=(attempt,),
            status=TransactionStatus.PENDING,
            created_at=now,
        )
        commit = database.Commit(database.connect(self.context.settings))
        commit.create(transactions.path(filler.transaction_id), transactions.encode(filler))
        try:
            commit.apply()
        except ConflictError:
            # It is in use after all; the node that was asked lags.
            return
        _log.warning("a gap is filled", extra={"transaction": filler.transaction_id})
        self._send_first(filler.transaction_id, attempt)

    def _send_first(self, identifier: str, attempt: rules.Attempt) -> None:
        refusal = submission.send(self.node, attempt.raw)
        if refusal.outcome is not SendOutcome.SENT:
            _log.warning(
                "a node refused a transaction",
                extra={
                    "transaction": identifier,
                    "outcome": refusal.outcome.value,
                    "reason": refusal.message,
                },
            )

    def _write(self, transaction: Transaction, read_at: Any, alert: OperationsAlert | None = None) -> None:
        client = database.connect(self.context.settings)
        commit = database.Commit(client, traceparent=self.context.traceparent)
        commit.replace(
            transactions.path(transaction.transaction_id), transactions.encode(transaction), read_at=read_at
        )
        if alert is not None:
            commit.announce(topics.OPERATIONS_ALERTS, alert)
        commit.apply()
        outbox.publish(client, publisher.connect(self.context.settings), commit.announced)

    def _conclude(self, transaction: Transaction, read_at: Any) -> None:
        """Record a final transaction together with what it makes of its command."""
        client = database.connect(self.context.settings)
        commit = database.Commit(client, traceparent=self.context.traceparent)
        commit.replace(
            transactions.path(transaction.transaction_id), transactions.encode(transaction), read_at=read_at
        )
        if transaction.status is TransactionStatus.LOST:
            commit.announce(topics.OPERATIONS_ALERTS, self._alert(transaction))
        found = transaction.command_id and settlement_commands.find(client, transaction.command_id)
        if found and not found[0].status.final:
            command, command_read_at = found
            status, reason = _result(transaction)
            progress = command_progress.record(
                commit,
                command.advanced(status, reason=reason),
                read_at=command_read_at,
                transaction=transaction,
                now=clock.now(),
            )
            commit.announce(topics.SETTLEMENT_PROGRESS, progress, ordering_key=command.account_id)
        commit.apply()
        outbox.publish(client, publisher.connect(self.context.settings), commit.announced)

    def _alert(self, transaction: Transaction) -> OperationsAlert:
        lost = transaction.status is TransactionStatus.LOST
        kind = OperationsAlertKind.NONCE_TAKEN if lost else OperationsAlertKind.TRANSACTION_STUCK
        return OperationsAlert(
            event_id=f"{kind}:{transaction.transaction_id}",
            kind=kind,
            subject=transaction.signer,
            severity=Severity.CRITICAL if lost else Severity.HIGH,
            message=f"Transaction {transaction.transaction_id} does not get on: {transaction.trouble}",
            details={
                "chain_id": str(transaction.chain_id),
                "nonce": str(transaction.nonce),
                "command_id": transaction.command_id or "none",
                "hash": transaction.newest.hash,
            },
            as_of=clock.now(),
        )


def _first(hashes: Sequence[str], receipts: Mapping[str, rules.Mined]) -> rules.Mined | None:
    return next((receipts[each] for each in hashes if each in receipts), None)


def _trouble(refusal: submission.Refusal) -> str | None:
    return None if refusal.outcome is SendOutcome.SENT else f"{refusal.outcome}: {refusal.message}"


def _result(transaction: Transaction) -> tuple[CommandStatus, str | None]:
    if transaction.status is TransactionStatus.LOST:
        return CommandStatus.FAILED, transaction.trouble
    if not transaction.happened:
        if transaction.abandoned is not None:
            return CommandStatus.FAILED, f"no node takes it: {transaction.abandoned}"
        return CommandStatus.EXPIRED, "the deadline passed before it was mined; a no-op took its nonce"
    if transaction.mined is not None and transaction.mined.succeeded:
        return CommandStatus.SUCCEEDED, None
    return CommandStatus.REVERTED, "the contract reverted when it was mined"
