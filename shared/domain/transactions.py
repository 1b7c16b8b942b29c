"""Transactions of our signers: each holds one nonce until something with that nonce is final on chain.

A transaction is signed before it is recorded and recorded before it is sent, with its raw bytes: whatever a
crash leaves can be sent again unchanged. A replacement is a further attempt at the same nonce. A no-op
(nothing sent to oneself) takes the place of what may no longer happen, so that later nonces are not held up.

What a node is seen to hold decides the next action (:func:`decide`); it is pure, so every case is a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.fees import FeeCap, FeeMarket, Fees, raised_bid


class TransactionStatus(StrEnum):
    """Where a transaction stands. MINED may fall back to PENDING in a reorganisation; the last two are final.

    LOST: something that is not ours took the nonce, and that is final.
    """

    PENDING = "PENDING"
    MINED = "MINED"
    FINAL = "FINAL"
    LOST = "LOST"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed version. ``resent_at`` is when its identical bytes last went out again."""

    hash: str
    raw: str
    fees: Fees
    no_op: bool
    signed_at: datetime
    resent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Mined:
    """Where one of the attempts stands on chain, and whether it did what it was to do."""

    hash: str
    block_number: int
    block_hash: str
    succeeded: bool


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one nonce of a signer is used for.

    ``command_id`` is None where it fills a gap. ``abandoned`` says why it must not happen any more,
    ``trouble`` what last stood in its way; ``alerted`` that operators know.
    """

    chain_id: int
    signer: str
    nonce: int
    command_id: str | None
    to: str
    data: str
    value_base: int
    gas_limit: int
    deadline: datetime | None
    attempts: tuple[Attempt, ...]
    status: TransactionStatus
    created_at: datetime
    mined: Mined | None = None
    abandoned: str | None = None
    trouble: str | None = None
    alerted: bool = False

    @property
    def transaction_id(self) -> str:
        """``chain_id:signer:nonce``."""
        return transaction_id(self.chain_id, self.signer, self.nonce)

    @property
    def newest(self) -> Attempt:
        """The attempt that replaces the others."""
        return self.attempts[-1]

    @property
    def happened(self) -> bool:
        """Whether what is on chain is what was asked for, not the no-op in its place."""
        if self.mined is None:
            return False
        return any(each.hash == self.mined.hash and not each.no_op for each in self.attempts)


def transaction_id(chain_id: int, signer: str, nonce: int) -> str:
    """The id of what a nonce is used for."""
    return f"{chain_id}:{signer}:{nonce}"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one node showed at one look: the signer's counts, the receipt of whichever attempt has one, and
    the number of the newest final block."""

    latest_count: int
    pending_count: int
    final_count: int
    final_number: int
    receipt: Mined | None
    market: FeeMarket


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a transaction may wait: before its bytes are sent again, and before it bids more."""

    resend_after: timedelta
    raise_after: timedelta


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now."""


@dataclass(frozen=True, slots=True)
class Note:
    """Record where it stands; None: not on chain (any more)."""

    mined: Mined | None


@dataclass(frozen=True, slots=True)
class Conclude:
    """It is final."""

    mined: Mined


@dataclass(frozen=True, slots=True)
class Lose:
    """The nonce is gone for good, to a transaction that is not ours."""


@dataclass(frozen=True, slots=True)
class Resend:
    """Send the identical bytes again. ``capped``: it would bid more, but may not."""

    capped: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Send nothing: it may not happen any more, and the no-op in its place may not bid enough."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Sign another attempt with these fees; ``no_op`` in place of what was asked for."""

    fees: Fees
    no_op: bool


Action = Wait | Note | Conclude | Lose | Resend | Hold | Replace


def decide(transaction: Transaction, sight: Sight, patience: Patience, cap: FeeCap, now: datetime) -> Action:
    """What to do next about a transaction that is not concluded.

    The identical bytes are always sent again before a higher bid: a node may merely have forgotten them.
    """
    if sight.receipt is not None:
        if sight.receipt.block_number <= sight.final_number:
            return Conclude(sight.receipt)
        return Wait() if transaction.mined == sight.receipt else Note(sight.receipt)
    if transaction.mined is not None:
        # Its block vanished; whatever is to be done about that is decided at the next look.
        return Note(None)
    if transaction.nonce < sight.final_count:
        return Lose()
    if transaction.nonce < sight.latest_count:
        # The node counts it but has no receipt: it lags in one of the two.
        return Wait()
    return _unmined(transaction, sight, patience, cap, now)


def _unmined(
    transaction: Transaction, sight: Sight, patience: Patience, cap: FeeCap, now: datetime
) -> Action:
    newest = transaction.newest
    overdue = transaction.deadline is not None and now >= transaction.deadline
    unwanted = not newest.no_op and (overdue or transaction.abandoned is not None)
    is_call = not (newest.no_op or unwanted)
    limit = cap.at(since=transaction.created_at, deadline=transaction.deadline if is_call else None, now=now)
    first_in_line = transaction.nonce == sight.latest_count
    impatient = (
        first_in_line and newest.resent_at is not None and now - newest.signed_at >= patience.raise_after
    )
    capped = False
    if unwanted or impatient:
        fees = raised_bid(newest.fees, sight.market, limit)
        if fees is not None:
            return Replace(fees, no_op=newest.no_op or unwanted)
        if unwanted:
            return Hold()
        capped = True
    # What the node does not hold never arrived or was dropped: a crash before the first sending leaves it so.
    forgotten = sight.pending_count <= transaction.nonce
    interval = patience.resend_after / 4 if forgotten else patience.resend_after
    last = newest.resent_at or newest.signed_at
    return Resend(capped) if now - last >= interval else Wait()


def gaps(latest_count: int, pending_count: int, open_nonces: frozenset[int]) -> list[int]:
    """Nonces that hold up later ones: below an open one, not mined, not waiting in the node, and unknown."""
    if not open_nonces:
        return []
    first = max(latest_count, pending_count)
    return [nonce for nonce in range(first, max(open_nonces)) if nonce not in open_nonces]
