"""An account's positions after changes that have not happened. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import strawberry

from gateway.errors import BadUserInputError, LimitExceededError
from gateway.scalars import BigInt
from shared.domain.interest import shares_of_loan, shares_of_payment
from shared.domain.market import Market
from shared.domain.network import Network
from shared.domain.positions import Account, Position, position_key
from shared.risk.positions import MAX_AMOUNT_BASE

MAX_CHANGES = 100


@strawberry.input(description="What a trade would add to a position, in base units; negative takes away.")
class PositionChange:
    asset: str
    chain_id: int | None = strawberry.field(
        default=None,
        description="May be left out where the account holds the asset on one chain, or one chain lists it.",
    )
    collateral_base_delta: BigInt = strawberry.field(default=BigInt(0))
    debt_base_delta: BigInt = strawberry.field(default=BigInt(0))


def apply_changes(
    account: Account, changes: Sequence[PositionChange], network: Network, market: Market, argument: str
) -> Account:
    """The account after all changes together, made at the market's indexes; its version is the one they start
    from.

    Raises:
        BadUserInputError: naming the field of the change that cannot be made.
        LimitExceededError: for more than 100 changes.
    """
    if not changes:
        raise BadUserInputError(argument, "must name at least one change")
    if len(changes) > MAX_CHANGES:
        raise LimitExceededError("changes_per_preview", MAX_CHANGES, len(changes), argument=argument)
    after = dict(account.positions)
    changed_by: dict[str, int] = {}
    for number, change in enumerate(changes):
        path = f"{argument}.{number}"
        position = _position(account, change, network, path)
        if position.key in changed_by:
            raise BadUserInputError(
                f"{path}.asset",
                f"names the position that {argument}.{changed_by[position.key]} changes; "
                "put both into one change",
            )
        changed_by[position.key] = number
        after[position.key] = replace(
            position,
            collateral_base=_balance(
                position.collateral_base, change.collateral_base_delta, f"{path}.collateralBaseDelta"
            ),
            debt_shares=_debt_shares(market, position, change.debt_base_delta, f"{path}.debtBaseDelta"),
        )
    return replace(account, positions=after)


def _position(account: Account, change: PositionChange, network: Network, path: str) -> Position:
    """The position that a change is of, as it is now; an empty one where there is none yet."""
    if change.asset not in network.assets:
        raise BadUserInputError(f"{path}.asset", f"is not a listed asset: {change.asset!r}")
    chain_id = _chain_id(account, change, network, path)
    held = account.positions.get(position_key(chain_id, change.asset))
    if held is not None:
        return held
    for token in network.chains[chain_id].tokens.values():
        if token.asset == change.asset:
            return Position(chain_id, change.asset, token.decimals, 0, 0, 0)
    raise BadUserInputError(f"{path}.asset", f"is not listed on chain {chain_id}: {change.asset!r}")


def _chain_id(account: Account, change: PositionChange, network: Network, path: str) -> int:
    if change.chain_id is not None:
        if change.chain_id not in network.chains:
            raise BadUserInputError(f"{path}.chainId", f"is not a known chain: {change.chain_id}")
        return change.chain_id
    holding = {p.chain_id for p in account.positions.values() if p.asset == change.asset}
    listing = {
        chain.chain_id
        for chain in network.chains.values()
        if any(token.asset == change.asset for token in chain.tokens.values())
    }
    candidates = holding or listing
    if len(candidates) != 1:
        raise BadUserInputError(
            f"{path}.chainId",
            f"must be given: {change.asset} is on chains {sorted(candidates)}"
            if candidates
            else f"must be given: no chain lists {change.asset}",
        )
    return candidates.pop()


def _debt_shares(market: Market, position: Position, delta: int, path: str) -> int:
    """The shares of a debt after a loan or a payment, by the vault's own rounding."""
    if delta == 0:
        return position.debt_shares
    before, index = market.debt_base(position), market.indexes.get(position.key)
    if before is None or index is None:
        raise BadUserInputError(path, f"cannot be valued: no tick has had the market {position.key} yet")
    after = _balance(before, delta, path)
    if after == 0:
        return 0
    if delta > 0:
        return position.debt_shares + shares_of_loan(delta, index)
    return position.debt_shares - shares_of_payment(-delta, index)


def _balance(before: int, delta: int, path: str) -> int:
    after = before + delta
    if after < 0:
        raise BadUserInputError(path, f"would leave {after} base units; the balance is {before}")
    if after > MAX_AMOUNT_BASE:
        raise BadUserInputError(path, "would leave more base units than a token can have, 2^256 − 1")
    return after
