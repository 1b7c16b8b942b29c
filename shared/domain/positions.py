"""An account's positions as the vaults report them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.domain.interest import shares_of_loan, shares_of_payment
from shared.domain.steps import StepError


class PositionAction(StrEnum):
    """What happened to a position."""

    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    BORROW = "borrow"
    REPAY = "repay"
    SUPPLY = "supply"
    REDEEM = "redeem"
    LIQUIDATE_DEBT = "liquidate_debt"
    LIQUIDATE_COLLATERAL = "liquidate_collateral"
    WRITE_OFF = "write_off"


LENDER_ACTIONS = frozenset((PositionAction.SUPPLY, PositionAction.REDEEM))
"""What changes a lender's claim, which is neither collateral nor debt."""


@dataclass(frozen=True, slots=True)
class Position:
    """What an account holds and owes in one asset on one chain: collateral in base units, debt in shares of
    the market, which amount to more with every second (:mod:`shared.domain.interest`).

    ``sequence`` is the vault's count of the account's events when these balances were reported, ``revision``
    how many reorganisations of the chain had been seen. ``retracted``: the report of that sequence was taken
    back, and these are the balances before it.
    """

    chain_id: int
    asset: str
    decimals: int
    collateral_base: int
    debt_shares: int
    sequence: int
    revision: int = 0
    retracted: bool = False

    @property
    def rank(self) -> tuple[int, int, int]:
        """Of two reports of a position, the one with the higher rank is right.

        A later revision knows better. Within one, what was announced stands on what was left after its
        retractions, and of those the earliest goes back the furthest.
        """
        return (self.revision, 0, -self.sequence) if self.retracted else (self.revision, 1, self.sequence)

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


def before(position: Position, action: PositionAction, amount_base: int, borrow_index: int) -> Position:
    """The position as it was before an action that left it like this, at the index of its block.

    A payment of all of a debt took shares that round up to it; an index is at least one, so only one number
    of shares does, and that is what the payment's own rounding gives too.

    Raises:
        ValueError: the action cannot have left these balances.
    """
    collateral_base, debt_shares = position.collateral_base, position.debt_shares
    match action:
        case PositionAction.DEPOSIT:
            collateral_base -= amount_base
        case PositionAction.WITHDRAW | PositionAction.LIQUIDATE_COLLATERAL:
            collateral_base += amount_base
        case PositionAction.BORROW:
            debt_shares -= shares_of_loan(amount_base, borrow_index)
        case PositionAction.REPAY | PositionAction.LIQUIDATE_DEBT | PositionAction.WRITE_OFF:
            debt_shares += shares_of_payment(amount_base, borrow_index)
    if collateral_base < 0 or debt_shares < 0:
        raise ValueError(f"a {action} of {amount_base} cannot have left {position}")
    return replace(position, collateral_base=collateral_base, debt_shares=debt_shares)


def apply_position(
    account: Account | None, account_id: str, position: Position, as_of: datetime
) -> Account | None:
    """The account after a reported position, or None where the report changes nothing.

    A report carries absolute balances, the vault's sequence and the chain's revision, so a duplicate or a
    report that is older than what is known of the same asset is recognised, in whatever order reports come.

    Raises:
        StepError: another report of the same rank says otherwise.
    """
    if account is None:
        return Account(account_id, 1, as_of, {position.key: position})
    known = account.positions.get(position.key)
    if known is not None and known.rank >= position.rank:
        if known.rank == position.rank and known != position:
            raise StepError(f"there are two: {known}, now {position}")
        return None
    return replace(
        account,
        version=account.version + 1,
        as_of=max(as_of, account.as_of),
        positions={**account.positions, position.key: position},
    )
