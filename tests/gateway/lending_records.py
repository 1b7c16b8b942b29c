"""Lending markets of a world, and lenders in them."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.domain.interest import RAY, Market
from shared.domain.lending import Supply
from shared.domain.steps import StepRecord
from shared.stores import database, markets, supplies
from tests.gateway.world import World, address

CHAIN_ID = 31337
DECIMALS = {"ETH": 18, "USDC": 6}
RATE_PER_SECOND = 1_585_489_599_188_229_325
"""Five per cent a year, with 27 decimals."""


def lent_books(changed_at: datetime, *, borrowed_base: int = 400_000 * 10**6) -> Market:
    """Books of a million USDC that one lender supplied, a part of them borrowed at an index of 1.25."""
    return Market(
        cash_base=1_000_000 * 10**6 - borrowed_base,
        supply_shares=10**18,
        debt_shares=borrowed_base * 4 // 5,
        borrow_index=RAY * 5 // 4,
        pending_reserves_base=0,
        reserves_base=0,
        rate_per_second=RATE_PER_SECOND,
        reserve_factor_bps=1_000,
        accrued_at=int(changed_at.timestamp()),
        sequence=7,
    )


def put_market(world: World, asset: str, books: Market | None, chain_id: int = CHAIN_ID) -> None:
    """Write a market; without books where every report of it was taken back."""
    commit = database.Commit(world.client)
    commit.put(markets.path(chain_id, asset), markets.encode(chain_id, asset, DECIMALS[asset], books))
    commit.apply()


def put_supplies(world: World, number: int, **shares: int) -> None:
    """Write an account's shares by asset."""
    held = [
        Supply(CHAIN_ID, asset, DECIMALS[asset], {1: StepRecord(amount, 0)})
        for asset, amount in shares.items()
    ]
    commit = database.Commit(world.client)
    written = supplies.encode(address(number), {supply.key: supply for supply in held})
    commit.put(supplies.path(address(number)), written)
    commit.apply()


def put_lending(world: World, number: int) -> None:
    """Write a market of each asset, and an account that has lent to one."""
    for asset in DECIMALS:
        put_market(world, asset, lent_books(datetime.now(UTC)))
    put_supplies(world, number, USDC=10**17 + number)
