"""Markets that bear interest, and time for it to accrue."""

from __future__ import annotations

from local.chain import Transaction, calldata
from local.deployment import ASSETS
from tests.functions.conftest import Market

_CAP = 10**27
_CONFIGURE = (
    "configureAsset(address,(uint16,uint16,uint16,uint16,(uint16,uint16,uint16,uint16),"
    "uint128,uint128,uint128))"
)


def charge_interest(market: Market) -> None:
    """Give two markets a curve with a base rate, so that a debt grows however much is lent."""
    for asset, cap in (("USDC", 10**20), ("ETH", _CAP)):
        parameters = (10_000, 10_000, 500, 1_000, (700, 900, 9_000, 8_000), cap, cap, cap)
        data = calldata(_CONFIGURE, market.deployment.tokens[asset], parameters)
        market.chain.mine([Transaction(market.deployment.owner, market.deployment.vault, data)])


def pass_time(market: Market, seconds: int) -> None:
    """Let time pass on the chain; its feeds are fresh afterwards."""
    market.chain.client.call("evm_increaseTime", seconds)
    market.chain.set_prices(market.deployment, {asset.asset: asset.price for asset in ASSETS})
