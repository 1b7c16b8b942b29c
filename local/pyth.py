"""Prices on Pyth's development contract, which takes them unsigned."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal

from eth_abi.abi import encode

from local.chain import LocalChain, Transaction, calldata
from local.deployment import Deployment
from local.price_data import PYTH_IDS

_EXPONENT = -8
_GAS, _GAS_PER_PRICE = 200_000, 200_000
_PRICE = "(int64,uint64,int32,uint256)"
_FEED = f"(bytes32,{_PRICE},{_PRICE})"


def publish_prices(
    chain: LocalChain,
    deployment: Deployment,
    prices: Mapping[str, Decimal],
    *,
    published_s: int | None = None,
    ids: Mapping[str, str] = PYTH_IDS,
    confidence_bps: int = 1,
) -> None:
    """Publish prices by asset, in USD, dated now unless told otherwise (Unix seconds); ``ids`` are Pyth's.

    The confidence is that of every price, in hundredths of a per cent of it.
    """
    moment = int(time.time()) if published_s is None else published_s
    updates: list[bytes] = []
    for asset, price in prices.items():
        value = int(price.scaleb(-_EXPONENT))
        quoted = (value, value * confidence_bps // 10_000, _EXPONENT, moment)
        feed = (bytes.fromhex(ids[asset]), quoted, quoted)
        updates.append(encode([_FEED, "uint64"], [feed, moment]))
    data = calldata("updatePriceFeeds(bytes[])", updates)
    gas = _GAS_PER_PRICE * len(updates) + _GAS
    chain.mine([Transaction(deployment.owner, deployment.pyth, data, gas=gas)])
