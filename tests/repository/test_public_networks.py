"""The networks that we ship: each is complete but for a deployment, and no price hangs on one publisher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local.describe_network import DeployedChain, described
from local.price_data import PYTH_IDS
from local.refresh_feeds import refresh
from shared.domain.network import parse_network, parse_prices
from shared.domain.price_sources import SourceKind, independent_providers

FILES = sorted((Path(__file__).parents[2] / "networks").glob("*.json"))


@pytest.fixture(params=FILES, ids=[file.stem for file in FILES])
def text(request: pytest.FixtureRequest) -> str:
    """A shipped network's file."""
    return str(request.param.read_text(encoding="utf-8"))


def _deployments(document: dict[str, Any]) -> list[DeployedChain]:
    """As the script would write them: every asset, each with a feed that the platform reads there."""
    deployed: list[DeployedChain] = []
    for number, chain in enumerate(document["chains"], 1):
        sources = [
            source_id
            for source_id, source in document["price_sources"].items()
            if source.get("chain_id") == chain["chain_id"] and source["kind"] == "chainlink"
        ]
        feeds = {
            asset: entry["prices"]["quotes"][source]["feed"]
            for asset, entry in document["assets"].items()
            for source in sources
            if source in entry["prices"]["quotes"]
        }
        places = {"Vault": f"0x{number:040X}", "EscrowFactory": f"0x{number + 100:040X}"}
        tokens = {
            asset: {"address": f"0x{1000 * number + place:040X}", "decimals": 18}
            for place, asset in enumerate(feeds)
        }
        factors = {"collateralFactorBps": 9_000, "borrowFactorBps": 10_000}
        deployed.append(
            DeployedChain(
                name=chain["name"],
                configuration={"assets": [{"symbol": asset, **factors} for asset in feeds]},
                deployment={
                    "chainId": chain["chain_id"],
                    "blockNumber": 7,
                    "contracts": places,
                    "tokens": tokens,
                    "feeds": feeds,
                },
            )
        )
    return deployed


def test_there_are_networks() -> None:
    assert [file.stem for file in FILES] == ["mainnet", "sepolia"]


def test_with_its_deployments_it_is_a_network_description(text: str) -> None:
    document = json.loads(text)
    network = parse_network(described(text, _deployments(document)))
    assert set(network.assets) == set(document["assets"])
    assert {chain.start_block for chain in network.chains.values()} == {7}


def test_every_price_has_two_publishers_and_a_registry(text: str) -> None:
    sources, policies = parse_prices(text)
    for asset, policy in policies.items():
        assert len(independent_providers(policy.quotations, sources)) >= 2, asset
        assert policy.max_jump_pct is not None
    assert {
        source.source_id
        for source in sources.values()
        if source.registry is None and source.kind is not SourceKind.EXCHANGE
    } == set()


def test_pyths_ids_are_those_of_the_local_platform(text: str) -> None:
    sources, policies = parse_prices(text)
    for asset, policy in policies.items():
        for source_id, quotation in policy.quotations.items():
            if sources[source_id].provider == "pyth":
                assert quotation.feed == PYTH_IDS[asset]


def test_a_registry_updates_it_before_there_is_a_deployment(text: str, tmp_path: Path) -> None:
    sources, policies = parse_prices(text)
    source_id = next(each for each in sources if sources[each].kind is SourceKind.CHAINLINK)
    listed = [
        {"name": policy.quotations[source_id].symbol, "proxyAddress": "0x" + "ab" * 20, "heartbeat": 600}
        for policy in policies.values()
    ]
    registry = tmp_path / "feeds.json"
    registry.write_text(json.dumps(listed))
    others = tmp_path / "pyth.json"
    others.write_text(
        json.dumps(
            [{"id": PYTH_IDS[asset], "attributes": {"symbol": f"Crypto.{asset}/USD"}} for asset in policies]
        )
    )
    places = {
        each.source_id: str(others if each.provider == "pyth" else registry)
        for each in sources.values()
        if each.registry is not None
    }
    updated, changes = refresh(text, places)
    assert {change.path.split(".")[1] for change in changes} == set(policies)
    quotations = [policy.quotations[source_id] for policy in parse_prices(updated)[1].values()]
    assert {quotation.heartbeat_s for quotation in quotations} == {600}
