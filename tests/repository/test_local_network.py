"""What the deployment script puts on the local chain is what the local platform says of it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from local import price_data
from local.chain import FEED_DECIMALS
from local.deployment import ASSETS, CHAIN_ID

NETWORK = json.loads(
    (Path(__file__).parents[2] / "contracts" / "networks" / "local.json").read_text(encoding="utf-8")
)


def test_the_assets_are_the_same() -> None:
    assert NETWORK["chainId"] == CHAIN_ID
    assert [
        (entry["symbol"], entry["decimals"], Decimal(entry["developmentPrice"]).scaleb(-FEED_DECIMALS))
        for entry in NETWORK["assets"]
    ] == [(asset.asset, asset.decimals, asset.price) for asset in ASSETS]


def test_the_vault_and_the_platform_believe_a_price_for_the_same_time() -> None:
    assert {(entry["heartbeatS"], entry["slackS"]) for entry in NETWORK["assets"]} == {
        (price_data.HEARTBEAT_S, price_data.SLACK_S)
    }


def test_every_local_market_bears_interest() -> None:
    """So that whatever forgets interest shows on the local platform too."""
    for entry in NETWORK["assets"]:
        curve = entry["curve"]
        assert min(curve["baseBps"], curve["slopeBelowBps"], curve["slopeAboveBps"], curve["kinkBps"]) > 0
