"""The deployment script on a named network: from its file, once; and the network description made of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.chain import LocalChain
from local.deployment import CHAIN_ID, Deployment, DeploymentError, run_deployment
from local.describe_network import described, read_deployed
from shared.chain.rpc import quantity
from shared.domain.fields import NetworkError
from shared.domain.network import parse_network
from tests.conftest import DeployedChain, network_document

CONTRACTS = Path(__file__).resolve().parents[3] / "contracts"
FACTORS = {"ETH": 9_000, "WBTC": 8_500, "LINK": 7_000, "USDC": 9_750}
ADMIN = "0x" + "ad" * 20


@pytest.fixture(scope="module")
def chain(deployed_chain: DeployedChain) -> LocalChain:
    """The session's chain."""
    deployed_chain.restore()
    return deployed_chain.chain


@pytest.fixture(scope="module")
def market(chain: LocalChain, deployed_chain: DeployedChain) -> Deployment:
    """Whose tokens and feeds stand for those of a public chain."""
    return deployed_chain.deployment


@pytest.fixture(scope="module")
def name(market: Deployment) -> Iterator[str]:
    """A named network's file; what it and the script have written is removed at the end."""
    network = f"named-{uuid.uuid4().hex}"
    document: dict[str, Any] = json.loads((CONTRACTS / "networks" / "local.json").read_text())
    document["isDevelopment"] = False
    delays = dict.fromkeys(("adminDelayS", "riskDelayS", "treasuryDelayS"), 86_400)
    document["roles"] |= {"admin": ADMIN, "guardian": "0x" + "6a" * 20, **delays}
    for asset in document["assets"]:
        del asset["developmentPrice"]
        asset |= {"token": market.tokens[asset["symbol"]], "feed": market.feeds[asset["symbol"]]}
        asset["collateralFactorBps"] = FACTORS[asset["symbol"]]
    files = [CONTRACTS / folder / f"{network}.json" for folder in ("networks", "deployments")]
    try:
        files[0].write_text(json.dumps(document))
        yield network
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _transactions(chain: LocalChain, sender: str) -> int:
    return quantity(chain.client.call("eth_getTransactionCount", sender, "latest"))


def _deployment(name: str) -> dict[str, Any]:
    written: dict[str, Any] = json.loads((CONTRACTS / "deployments" / f"{name}.json").read_text())
    return written


@pytest.fixture(scope="module")
def deployed(chain: LocalChain, market: Deployment, name: str) -> dict[str, Any]:
    """What the first run wrote; the block at which it began is the chain's head then."""
    head = quantity(chain.client.call("eth_blockNumber"))
    run_deployment(chain.url, name, name=name, salt=name)
    written = _deployment(name)
    assert head <= written["blockNumber"] <= quantity(chain.client.call("eth_blockNumber"))
    return written


def test_a_second_run_sends_nothing_and_keeps_the_first_block(
    chain: LocalChain, market: Deployment, name: str, deployed: dict[str, Any]
) -> None:
    vault = deployed["contracts"]["Vault"]
    assert chain.client.call("eth_getCode", vault, "latest") != "0x"
    assert vault.lower() != market.vault
    sent = _transactions(chain, market.owner)

    run_deployment(chain.url, name, name=name, salt=name)

    assert _transactions(chain, market.owner) == sent
    assert _deployment(name) == deployed


def test_a_role_without_a_delay_is_refused_before_anything_is_sent(
    chain: LocalChain, market: Deployment, name: str
) -> None:
    file = CONTRACTS / "networks" / f"{name}.json"
    with_delays = file.read_text()
    document = json.loads(with_delays)
    document["roles"]["riskDelayS"] = 0
    sent = _transactions(chain, market.owner)
    try:
        file.write_text(json.dumps(document))
        with pytest.raises(DeploymentError, match=r"DelayMissing\(\"?\.roles\.riskDelayS"):
            run_deployment(chain.url, name, name=name, salt=f"{name}-hasty")
    finally:
        file.write_text(with_delays)
    assert _transactions(chain, market.owner) == sent


def _template(market: Deployment) -> dict[str, Any]:
    """The platform's part of the description: no contract of ours, no token, no factor."""
    document: dict[str, Any] = network_document(**market.feeds)
    chain = document["chains"][0]
    for field in ("vault", "escrow_factory", "tokens", "start_block"):
        del chain[field]
    for asset in document["assets"].values():
        del asset["collateral_factor"], asset["borrow_factor"]
    return document


def test_a_deployment_completes_its_network_description(
    market: Deployment, name: str, deployed: dict[str, Any]
) -> None:
    network = parse_network(described(json.dumps(_template(market)), [read_deployed(name)]))

    chain = network.chains[CHAIN_ID]
    assert (chain.vault, chain.escrow_factory) == (
        deployed["contracts"]["Vault"].lower(),
        deployed["contracts"]["EscrowFactory"].lower(),
    )
    assert chain.start_block == deployed["blockNumber"]
    assert {token.asset: token.address for token in chain.tokens.values()} == market.tokens
    assert {name: int(asset.collateral_factor * 10_000) for name, asset in network.assets.items()} == FACTORS


def test_a_description_that_contradicts_the_deployment_is_refused(
    market: Deployment, name: str, deployed: dict[str, Any]
) -> None:
    other = "0x" + "fe" * 20
    elsewhere = _template(market)
    elsewhere["assets"]["LINK"]["prices"]["quotes"]["chainlink"]["feed"] = other
    with pytest.raises(NetworkError, match=rf"assets\.LINK.*vault reads {market.feeds['LINK']}.*{other}"):
        described(json.dumps(elsewhere), [read_deployed(name)])

    looser = _template(market)
    looser["assets"]["ETH"]["collateral_factor"] = "0.95"
    with pytest.raises(NetworkError, match=rf"assets\.ETH\.collateral_factor: {name} has 0\.9"):
        described(json.dumps(looser), [read_deployed(name)])

    with pytest.raises(NetworkError, match="anvil has no deployment"):
        described(json.dumps(_template(market)), [])
