"""An account's positions as the vaults report them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class PositionAction(StrEnum):
    """What an account did to a position."""

    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    BORROW = "borrow"
    REPAY = "repay"


@dataclass(frozen=True, slots=True)
class Position:
    """What an account holds and owes in one asset on one chain, in base units.

    ``sequence`` is the vault's count of the account's events when these balances were reported.
    """

    chain_id: int
    asset: str
    decimals: int
    collateral_base: int
    debt_base: int
    sequence: int

    @property
    def key(self) -> str:
        """Unique within an account."""
        return position_key(self.chain_id, self.asset)


@dataclass(frozen=True, slots=True)
class Account:
    """All positions of one account; ``version`` rises by one per applied change."""

    account_id: str
    version: int
    as_of: datetime
    positions: Mapping[str, Position]


def position_key(chain_id: int, asset: str) -> str:
    """The key of a position within its account."""
    return f"{chain_id}:{asset}"


def apply_position(
    account: Account | None, account_id: str, position: Position, as_of: datetime
) -> Account | None:
    """The account after a reported position, or None where the report changes nothing.

    A report carries absolute balances and the vault's sequence, so a duplicate or a report that is older
    than what is known of the same asset is recognised by its sequence, in whatever order reports come.
    """
    if account is None:
        return Account(account_id, 1, as_of, {position.key: position})
    known = account.positions.get(position.key)
    if known is not None and known.sequence >= position.sequence:
        return None
    return replace(
        account,
        version=account.version + 1,
        as_of=max(as_of, account.as_of),
        positions={**account.positions, position.key: position},
    )
