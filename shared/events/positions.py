"""``positions.changed.v1``: an account's new positions and their version."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.events.base import Address, AssetId, BaseUnits, Event, Instant, PositiveInt, Record


class Position(Record):
    """What an account holds and owes in one asset on one chain.

    Debt is in shares of the market; ticks have each market's index, which says what they amount to.
    """

    chain_id: PositiveInt
    asset: AssetId
    decimals: Annotated[int, Field(ge=0, le=77)]
    collateral_base: BaseUnits
    debt_shares: BaseUnits


class PositionsChanged(Event):
    """All positions of an account after a change; ``version`` rises by one per change."""

    account_id: Address
    version: PositiveInt
    as_of: Instant
    positions: tuple[Position, ...]


def positions_id(account_id: str, version: int) -> str:
    """The event id of an account's version."""
    return f"positions:{account_id}:{version}"
