"""A market of any size without the platform, for measuring prices: feeds and Pyth on a chain, a Hermes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import urllib3
from eth_abi.abi import encode

from local import price_data, pyth
from local.chain import FEED_DECIMALS, LocalChain, Transaction, feed_answer
from local.deployment import CHAIN_ID, Deployment
from local.environment import HERMES_API_KEY
from local.hermes_control import HermesControl
from local.ports import free_ports
from shared.config import Settings, load
from shared.domain.network import Network, parse_network

_OUT = Path(__file__).resolve().parents[1] / "contracts" / "out"


@dataclass(frozen=True)
class PriceMarket:
    """Assets with a price, at three sources of two providers."""

    prices: Mapping[str, Decimal]
    ids: Mapping[str, str]
    feeds: Mapping[str, str]
    deployment: Deployment
    hermes: HermesControl
    hermes_url: str

    def network(self, *, transport: str, timeout_s: str = "1.5") -> Network:
        """The network description of this market."""
        document: dict[str, Any] = self.deployment.network()
        document["price_sources"] = {
            price_data.CHAINLINK: price_data.chainlink_source(CHAIN_ID, timeout_s=timeout_s),
            price_data.PYTH_CONTRACT: price_data.pyth_contract_source(
                CHAIN_ID, self.deployment.pyth, is_enabled=True
            ),
            price_data.HERMES: price_data.hermes_source(
                is_enabled=True, transport=transport, timeout_s=timeout_s
            ),
        }
        document["assets"] = {
            asset: {
                "collateral_factor": "1",
                "borrow_factor": "1",
                "prices": price_data.price_policy(
                    {
                        price_data.CHAINLINK: price_data.chainlink_quote(asset, self.feeds[asset]),
                        price_data.PYTH_CONTRACT: price_data.quote(self.ids[asset], asset),
                        price_data.HERMES: price_data.pyth_quote(asset, self.ids[asset]),
                    },
                    providers=2,
                ),
            }
            for asset in self.prices
        }
        document["chains"][0]["tokens"] = {}
        return parse_network(json.dumps(document))

    def settings(self, rpc_urls: Sequence[str], hermes_urls: Sequence[str] = ()) -> Settings:
        """The settings of a reader of this market."""
        return load(
            settings=("RPC_URLS", "HERMES_URLS", "HERMES_API_KEY"),
            environ={
                "FUSION_ENVIRONMENT": "local",
                "GOOGLE_CLOUD_PROJECT": "fusion-local",
                "LOG_LEVEL": "ERROR",
                "RPC_URLS": f"{CHAIN_ID}={','.join(rpc_urls)}",
                "HERMES_URLS": ",".join(hermes_urls or (self.hermes_url,)),
                "HERMES_API_KEY": HERMES_API_KEY,
            },
        )


@contextmanager
def price_market(rpc_url: str, count: int) -> Iterator[PriceMarket]:
    """A market of so many assets on the chain at ``rpc_url``; its Hermes has no rate limit of its own."""
    chain = LocalChain(rpc_url)
    deployment = chain.deploy()
    prices = {f"A{number:03d}": Decimal(100 + number) for number in range(count)}
    ids = {asset: hashlib.sha256(asset.encode()).hexdigest() for asset in prices}
    feeds = {
        asset: _create_feed(chain, deployment, f"{asset} / USD", price) for asset, price in prices.items()
    }
    pyth.publish_prices(chain, deployment, prices, ids=ids)
    with _running_hermes() as url:
        hermes = HermesControl(url)
        hermes.publish_by_id({ids[asset]: price for asset, price in prices.items()})
        yield PriceMarket(prices, ids, feeds, deployment, hermes, url)


@contextmanager
def _running_hermes() -> Iterator[str]:
    """A Hermes in a process of its own: in ours, it would take turns with what is measured."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "local.hermes_server", "--port", str(port)]
    process = subprocess.Popen([*command, "--api-key", HERMES_API_KEY, "--requests", "0"])
    try:
        patient = urllib3.Retry(total=8, backoff_factor=0.05)
        urllib3.PoolManager().request("GET", f"{url}/control", retries=patient)
        yield url
    finally:
        process.terminate()
        process.wait()


def _create_feed(chain: LocalChain, deployment: Deployment, description: str, price: Decimal) -> str:
    """Deploy a development feed; its address."""
    artifact = json.loads((_OUT / "MockAggregator.sol" / "MockAggregator.json").read_text())
    values = encode(
        ["address", "uint8", "string", "int256"],
        [deployment.market_setter, FEED_DECIMALS, description, feed_answer(price)],
    )
    creation = Transaction(deployment.owner, None, artifact["bytecode"]["object"] + values.hex())
    (receipt,) = chain.mine([creation])
    return str(receipt["contractAddress"]).lower()
