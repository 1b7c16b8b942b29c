"""What an account has lent, read with its markets."""

from __future__ import annotations

from gateway.context import Info
from gateway.lending.types import Supply, from_supplies
from shared.runtime import clock


async def supplies_of(info: Info, account_id: str) -> list[Supply]:
    """An account's supplies at what they are worth now; none where the key may not see the account."""
    loaders = info.context.loaders
    held = await loaders.supplies.load(account_id)
    found = await loaders.lending_market.load_many(list(held))
    markets = {market.key: market for market in found if market is not None}
    return from_supplies(held, markets, clock.now())
