"""Makes the network description (NETWORK_FILE) of a deployment.

    python -m local.describe_network networks/mainnet.json ethereum base > network.json

The first file has what no deployment decides: margin policy, price sources, chains. Each name after it is a
chain's deployment: ``contracts/deployments/<name>.json`` has our contracts' and tokens' addresses there, and
``contracts/networks/<name>.json`` the factors that its vault was given. What they contradict each other in is
refused: the platform would value accounts by other rules than the vault that liquidates them.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.domain.fields import NetworkError
from shared.domain.network import parse_network

_CONTRACTS = Path(__file__).resolve().parents[1] / "contracts"
_BASIS_POINTS = -4


@dataclass(frozen=True, slots=True)
class DeployedChain:
    """What the deployment script was told for a chain (``networks/<name>.json``), and what it wrote
    (``deployments/<name>.json``)."""

    name: str
    configuration: Mapping[str, Any]
    deployment: Mapping[str, Any]


def described(template: str, deployed: Sequence[DeployedChain]) -> str:
    """A network description with the contracts, tokens and factors of its chains' deployments.

    Raises:
        NetworkError: naming what is missing on either side, or what two of them contradict each other in.
    """
    document: dict[str, Any] = copy.deepcopy(json.loads(template))
    chains = {chain["chain_id"]: chain for chain in document["chains"]}
    for each in deployed:
        chain_id = int(each.deployment["chainId"])
        if chain_id not in chains:
            raise NetworkError(f"chains has no chain {chain_id}, where {each.name} is deployed")
        chains[chain_id].update(_contracts(each))
        for asset in each.configuration["assets"]:
            _take_factors(document, each.name, asset)
            _check_feed(document, each, chain_id, asset["symbol"])
    without = [chain["name"] for chain in document["chains"] if "vault" not in chain]
    if without:
        raise NetworkError(f"chains: {', '.join(without)} has no deployment; name it, or remove the chain")
    document["assets"] = {
        name: asset for name, asset in document["assets"].items() if "collateral_factor" in asset
    }
    text = json.dumps(document, indent=2) + "\n"
    parse_network(text)
    return text


def _contracts(each: DeployedChain) -> dict[str, Any]:
    contracts, tokens = each.deployment["contracts"], each.deployment["tokens"]
    return {
        "start_block": int(each.deployment["blockNumber"]),
        "vault": contracts["Vault"].lower(),
        "escrow_factory": contracts["EscrowFactory"].lower(),
        "tokens": {
            token["address"].lower(): {"asset": asset, "decimals": int(token["decimals"])}
            for asset, token in tokens.items()
        },
    }


def _take_factors(document: Mapping[str, Any], name: str, configured: Mapping[str, Any]) -> None:
    symbol = configured["symbol"]
    asset = document["assets"].get(symbol)
    if asset is None:
        raise NetworkError(f"assets has no {symbol}, which {name} has")
    for field, given in (
        ("collateral_factor", "collateralFactorBps"),
        ("borrow_factor", "borrowFactorBps"),
    ):
        factor = str(Decimal(int(configured[given])).scaleb(_BASIS_POINTS).normalize())
        if asset.setdefault(field, factor) != factor:
            raise NetworkError(
                f"assets.{symbol}.{field}: {name} has {factor}, a chain before it {asset[field]}; "
                "one margin model has one factor"
            )


def _check_feed(document: Mapping[str, Any], each: DeployedChain, chain_id: int, symbol: str) -> None:
    """The vault's feed is among the platform's, or the two would see different prices."""
    described_feeds = {
        quote["feed"].lower()
        for source_id, quote in document["assets"][symbol]["prices"]["quotes"].items()
        if document["price_sources"][source_id].get("chain_id") == chain_id
    }
    feed = str(each.deployment["feeds"][symbol]).lower()
    if described_feeds and feed not in described_feeds:
        raise NetworkError(
            f"assets.{symbol}.prices.quotes: {each.name}'s vault reads {feed}, the sources on its chain read "
            f"{', '.join(sorted(described_feeds))}"
        )


def read_deployed(name: str, contracts: Path = _CONTRACTS) -> DeployedChain:
    """A named network's two files.

    Raises:
        OSError: one is not there: nothing has been deployed under this name.
    """
    deployment = json.loads((contracts / "deployments" / f"{name}.json").read_text(encoding="utf-8"))
    configuration = contracts / "networks" / f"{deployment['network']}.json"
    return DeployedChain(name, json.loads(configuration.read_text(encoding="utf-8")), deployment)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("template", type=Path)
    parser.add_argument("names", nargs="+", metavar="DEPLOYMENT")
    options = parser.parse_args()
    try:
        deployed = [read_deployed(name) for name in options.names]
        sys.stdout.write(described(options.template.read_text(encoding="utf-8"), deployed))
    except (NetworkError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
