"""Our contracts on the local chain, with development feeds and tokens: what the deployment script made."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from local import price_data
from shared.errors import FusionError

CHAIN_ID = 31337
DEPLOYER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"

_CONTRACTS = Path(__file__).resolve().parents[1] / "contracts"
# forge compiles first where nothing has: tens of seconds on a busy machine.
_DEPLOYED_WITHIN_S = 600.0


class DeploymentError(FusionError):
    """The deployment script failed; the message is what it said."""


@dataclass(frozen=True, slots=True)
class LocalAsset:
    """An asset of the local chain and the price in USD that its feed starts with."""

    asset: str
    decimals: int
    price: Decimal


ASSETS = (
    LocalAsset("ETH", 18, Decimal(3000)),
    LocalAsset("WBTC", 8, Decimal(60000)),
    LocalAsset("LINK", 18, Decimal(15)),
    LocalAsset("USDC", 6, Decimal(1)),
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Addresses of everything on the local chain, in lower case; tokens and feeds by asset."""

    owner: str
    market_setter: str
    vault: str
    escrow_factory: str
    tokens: Mapping[str, str]
    feeds: Mapping[str, str]
    multicall: str
    pyth: str

    def network(
        self, *, start_block: int = 0, with_hermes: bool = False, with_pyth_contract: bool = False
    ) -> dict[str, Any]:
        """The network description (NETWORK_FILE) of this deployment: Chainlink's feeds, and Pyth's prices
        over Hermes or on chain where they are asked for."""
        places = price_data.PricePlaces(CHAIN_ID, self.feeds, self.pyth)
        sources, prices = places.described(with_hermes=with_hermes, with_pyth_contract=with_pyth_contract)
        return {
            "margin_policy": {
                "warning_pct": "50",
                "margin_call_pct": "30",
                "liquidation_pct": "15",
                "hysteresis_pct": "2",
            },
            "tick_max_age_s": 120,
            "price_sources": sources,
            "assets": {
                asset.asset: {
                    "collateral_factor": "1",
                    "borrow_factor": "1",
                    "prices": prices[asset.asset],
                }
                for asset in ASSETS
            },
            "chains": [
                {
                    "chain_id": CHAIN_ID,
                    "name": "anvil",
                    "confirmations": 0,
                    "finality": 64,
                    "start_block": start_block,
                    "block_range": 2000,
                    "vault": self.vault,
                    "escrow_factory": self.escrow_factory,
                    "multicall": self.multicall,
                    "tokens": {
                        self.tokens[asset.asset]: {"asset": asset.asset, "decimals": asset.decimals}
                        for asset in ASSETS
                    },
                }
            ],
        }


def run_deployment(url: str, network: str, *, name: str, salt: str) -> None:
    """Run the deployment script for ``contracts/networks/<network>.json``, which then writes
    ``contracts/deployments/<name>.json``.

    Args:
        url: the node's; it signs for the deployer.
        salt: another one makes another set of contracts.

    Raises:
        DeploymentError: it failed; says what it said.
    """
    command = [
        *("node", "forge.mjs", "script", "script/Deploy.s.sol", "--sig", "run(string)", network),
        *("--rpc-url", url, "--broadcast", "--unlocked", "--sender", DEPLOYER, "--non-interactive"),
    ]
    run = subprocess.run(
        command,
        cwd=_CONTRACTS,
        env={**os.environ, "DEPLOYMENT_SALT": salt, "DEPLOYMENT_NAME": name},
        capture_output=True,
        text=True,
        timeout=_DEPLOYED_WITHIN_S,
        check=False,
    )
    if run.returncode != 0:
        raise DeploymentError(f"the contracts were not deployed:\n{run.stdout}{run.stderr}")


def take_deployment(name: str) -> Deployment:
    """What the deployment script wrote under this name, for us alone; the file goes."""
    file = _CONTRACTS / "deployments" / f"{name}.json"
    written = json.loads(file.read_text())
    file.unlink()
    contracts = {contract: str(address).lower() for contract, address in written["contracts"].items()}
    return Deployment(
        owner=str(written["deployer"]).lower(),
        market_setter=contracts["MarketSetter"],
        vault=contracts["Vault"],
        escrow_factory=contracts["EscrowFactory"],
        multicall=contracts["Multicall"],
        pyth=contracts["PythDevelopment"],
        tokens={asset: str(token["address"]).lower() for asset, token in written["tokens"].items()},
        feeds={asset: str(feed).lower() for asset, feed in written["feeds"].items()},
    )
