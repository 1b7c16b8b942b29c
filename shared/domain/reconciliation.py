"""Whether what we keep of an account's positions is what its vault has, and what is said if it is not.

A vault is read at a final block; our projection has one state only, the present. What makes the two
comparable is the vault's count of the account's events, which both know: a position that we keep as of a
later event than the block has says nothing about that block. Where the block has as many events or more, the
balances must be equal, or an event is missing, wrong, or still on its way. Only time tells the last from the
others: a difference is announced once our projection has stood still with it for :data:`PATIENCE`.

Debt is compared in what the vault stores, shares of the market's debt, so that interest makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.network import Chain
from shared.domain.positions import Account, Position, position_key

PATIENCE = timedelta(minutes=10)
"""Longer than a message is delivered again before it is kept as a dead letter."""

BETWEEN_PASSES = timedelta(hours=1)
"""From the beginning of one pass over all accounts to that of the next: a pass reads every account."""


@dataclass(frozen=True, slots=True)
class VaultBalance:
    """Collateral in base units and debt in shares, as a vault stores them."""

    collateral_base: int = 0
    debt_shares: int = 0

    def __add__(self, other: VaultBalance) -> VaultBalance:
        return VaultBalance(
            self.collateral_base + other.collateral_base, self.debt_shares + other.debt_shares
        )


@dataclass(frozen=True, slots=True)
class VaultAccount:
    """An account in a vault at a block: how many events it has had, and its balances by asset."""

    sequence: int
    balances: Mapping[str, VaultBalance]


@dataclass(frozen=True, slots=True)
class PositionDifference:
    """A balance that is not the vault's, as of the look at which it was found or last judged.

    ``account_id`` is None where it is the vault's total that differs from all accounts that we know.
    ``found_at`` is when our side was first seen as it is here; ``is_announced``: operators were told.
    """

    chain_id: int
    account_id: str | None
    asset: str
    block_number: int
    vault: VaultBalance
    vault_sequence: int
    stored: VaultBalance
    stored_sequence: int
    found_at: datetime
    is_announced: bool = False

    @property
    def difference_id(self) -> str:
        """Unique among what differs now."""
        return self.id_of(self.chain_id, self.account_id, self.asset)

    @staticmethod
    def id_of(chain_id: int, account_id: str | None, asset: str) -> str:
        """The id of a difference in an account's asset, or in the total of all accounts."""
        return f"{chain_id}:{account_id or 'unknown'}:{asset}"


class Verdict(StrEnum):
    """What is to be done about a difference."""

    NEW = "new"
    WAITS = "waits"
    MOVED = "moved"
    CONFIRMED = "confirmed"
    GONE = "gone"


def judge(known: PositionDifference | None, found: PositionDifference | None, as_of: datetime) -> Verdict:
    """What another look says of a difference: what was known of it, and what is found now.

    Raises:
        ValueError: there is no difference, now or before.
    """
    if known is None and found is None:
        raise ValueError("neither a difference that is known nor one that was found")
    if known is None:
        return Verdict.NEW
    if found is None:
        return Verdict.GONE
    if known.is_announced:
        return Verdict.WAITS
    # The sum over all accounts moves with every event of any of them, and says nothing about the others'.
    is_of_account = known.account_id is not None
    if is_of_account and (known.stored, known.stored_sequence) != (found.stored, found.stored_sequence):
        return Verdict.MOVED
    return Verdict.CONFIRMED if as_of - known.found_at >= PATIENCE else Verdict.WAITS


@dataclass(frozen=True, slots=True)
class Comparison:
    """An account against its vault. ``ahead`` positions are of later events than the block has."""

    differences: tuple[PositionDifference, ...]
    ahead: int


def compare(
    chain: Chain,
    account_id: str,
    account: Account | None,
    vault: VaultAccount,
    *,
    block_number: int,
    as_of: datetime,
) -> Comparison:
    """An account's positions on a chain against what its vault has at a block."""
    found: list[PositionDifference] = []
    ahead = 0
    for token in chain.tokens.values():
        key = position_key(chain.chain_id, token.asset)
        position = None if account is None else account.positions.get(key)
        sequence = 0 if position is None else _applied_sequence(position)
        if sequence > vault.sequence:
            ahead += 1
            continue
        stored = VaultBalance() if position is None else _stored(position)
        held = vault.balances[token.asset]
        if stored != held:
            found.append(
                PositionDifference(
                    chain_id=chain.chain_id,
                    account_id=account_id,
                    asset=token.asset,
                    block_number=block_number,
                    vault=held,
                    vault_sequence=vault.sequence,
                    stored=stored,
                    stored_sequence=sequence,
                    found_at=as_of,
                )
            )
    return Comparison(tuple(found), ahead)


def _applied_sequence(position: Position) -> int:
    """The last event that the balances include: those of a retracted report are from before it."""
    return position.sequence - position.retracted


def _stored(position: Position) -> VaultBalance:
    return VaultBalance(position.collateral_base, position.debt_shares)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A pass over all accounts against one chain's vault at one final block, and when one was last whole.

    Args:
        after: the last account that was compared, in order of id; None before the first.
        accounts: how many were compared.
        ahead: positions of them that were ahead of the block.
        totals: what the vault has of them, by asset.
        is_complete: every account was compared.
        completed_block, completed_at: of the last pass that was complete.
    """

    chain_id: int
    block_number: int
    block_hash: str
    began_at: datetime
    after: str | None = None
    accounts: int = 0
    ahead: int = 0
    totals: Mapping[str, VaultBalance] = field(default_factory=dict)
    is_complete: bool = False
    completed_block: int | None = None
    completed_at: datetime | None = None

    def begun_again(self, block_number: int, block_hash: str, as_of: datetime) -> Reconciliation:
        """A new pass, from the first account, at another block."""
        return replace(
            self,
            block_number=block_number,
            block_hash=block_hash,
            began_at=as_of,
            after=None,
            accounts=0,
            ahead=0,
            totals={},
            is_complete=False,
        )

    def advanced(self, compared: Mapping[str, VaultAccount], ahead: int) -> Reconciliation:
        """After the next accounts, in order of id, have been compared."""
        totals = dict(self.totals)
        for account in compared.values():
            for asset, balance in account.balances.items():
                totals[asset] = totals.get(asset, VaultBalance()) + balance
        return replace(
            self,
            after=max(compared, default=self.after),
            accounts=self.accounts + len(compared),
            ahead=self.ahead + ahead,
            totals=totals,
        )

    def completed(self, as_of: datetime) -> Reconciliation:
        """After the last account."""
        return replace(self, is_complete=True, completed_block=self.block_number, completed_at=as_of)

    def unknown(self, vault_totals: Mapping[str, VaultBalance], as_of: datetime) -> list[PositionDifference]:
        """What the vault's totals have beyond the accounts compared: of accounts that we never heard of."""
        known = self.totals
        return [
            PositionDifference(
                chain_id=self.chain_id,
                account_id=None,
                asset=asset,
                block_number=self.block_number,
                vault=total,
                vault_sequence=0,
                stored=known.get(asset, VaultBalance()),
                stored_sequence=0,
                found_at=as_of,
            )
            for asset, total in sorted(vault_totals.items())
            if total != known.get(asset, VaultBalance())
        ]
