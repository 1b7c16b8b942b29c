"""Registries of feeds: what they list, and how a network description follows them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from local.price_data import chainlink_quote, price_policy, pyth_quote
from shared.domain.feed_registry import (
    FeedRegistryError,
    ListedFeed,
    parse_registry,
    refreshed,
)
from shared.domain.price_sources import SourceKind

ETH, OTHER = "0x5F4eC3Df9cbd43714FE2740f5E3616155c5b8419", "0x" + "ab" * 20
PYTH_ETH = "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace"
CHAINLINK: list[dict[str, Any]] = [
    {"name": "ETH / USD", "proxyAddress": ETH, "heartbeat": 3600, "threshold": 0.5, "decimals": 8},
    {"name": "Calculated", "proxyAddress": None, "heartbeat": 60, "threshold": 0, "decimals": 18},
]
PYTH: list[dict[str, Any]] = [
    {"id": PYTH_ETH, "attributes": {"symbol": "Crypto.ETH/USD", "asset_type": "Crypto"}},
]
DESCRIPTION = {
    "assets": {
        "ETH": {
            "prices": price_policy(
                {"chainlink": chainlink_quote("ETH", OTHER), "pyth-hermes": pyth_quote("ETH", PYTH_ETH)}
            )
        },
        "USDC": {"prices": price_policy({"pyth-hermes": pyth_quote("ETH", PYTH_ETH)})},
    }
}


def test_feeds_are_found_by_symbol() -> None:
    assert parse_registry(SourceKind.CHAINLINK, CHAINLINK) == {"ETH / USD": (ListedFeed(ETH.lower(), 3600),)}
    for kind in (SourceKind.HERMES, SourceKind.PYTH_CONTRACT):
        assert parse_registry(kind, PYTH) == {"Crypto.ETH/USD": (ListedFeed(PYTH_ETH, None),)}


@pytest.mark.parametrize(
    ("kind", "document", "said"),
    [
        (SourceKind.CHAINLINK, {}, "a registry is a list of feeds"),
        (SourceKind.CHAINLINK, [], "a registry is a list of feeds"),
        (SourceKind.CHAINLINK, PYTH, "entry 0 is no feed of chainlink"),
        (SourceKind.CHAINLINK, ["ETH / USD"], "entry 0 is no feed of chainlink"),
        (SourceKind.CHAINLINK, [CHAINLINK[0] | {"proxyAddress": "0x1"}], "'0x1' is no address"),
        (SourceKind.CHAINLINK, [CHAINLINK[0] | {"heartbeat": 0}], "0 is no heartbeat"),
        (SourceKind.CHAINLINK, [CHAINLINK[0] | {"heartbeat": "3600"}], "'3600' is no heartbeat"),
        (SourceKind.HERMES, CHAINLINK, "entry 0 is no feed of hermes"),
        (SourceKind.HERMES, [PYTH[0] | {"id": "ff"}], "'ff' is no price id"),
        (SourceKind.EXCHANGE, CHAINLINK, "in no registry"),
    ],
)
def test_what_is_no_registry_is_refused(kind: SourceKind, document: Any, said: str) -> None:
    with pytest.raises(FeedRegistryError, match=said):
        parse_registry(kind, document)


def test_a_description_follows_the_registry_and_says_what_it_changes() -> None:
    listed = {"ETH / USD": [ListedFeed(ETH.lower(), 1800)]}
    before = copy.deepcopy(DESCRIPTION)
    updated, changes = refreshed(DESCRIPTION, "chainlink", listed)
    assert before == DESCRIPTION
    path = "assets.ETH.prices.quotes.chainlink"
    assert [str(change) for change in changes] == [
        f"{path}.feed: {OTHER} is {ETH.lower()} in the registry",
        f"{path}.heartbeat_s: 3600 is 1800 in the registry",
    ]
    quote = updated["assets"]["ETH"]["prices"]["quotes"]["chainlink"]
    assert (quote["feed"], quote["heartbeat_s"], quote["slack_s"]) == (ETH.lower(), 1800, 300)
    assert updated["assets"]["USDC"] == before["assets"]["USDC"]
    assert refreshed(updated, "chainlink", listed) == (updated, [])


def test_a_registry_without_heartbeats_changes_none() -> None:
    updated, changes = refreshed(
        DESCRIPTION, "pyth-hermes", {"Crypto.ETH/USD": [ListedFeed("aa" * 32, None)]}
    )
    assert [change.path.rsplit(".", 1)[-1] for change in changes] == ["feed", "feed"]
    assert updated["assets"]["ETH"]["prices"]["quotes"]["pyth-hermes"]["heartbeat_s"] == 60


def test_a_feed_that_the_registry_has_dropped_is_named() -> None:
    with pytest.raises(FeedRegistryError, match=r"assets\.ETH\.prices\.quotes\.chainlink\.symbol"):
        refreshed(DESCRIPTION, "chainlink", {"BTC / USD": [ListedFeed(OTHER, 60)]})


def test_of_several_feeds_of_one_name_the_described_one_is_meant() -> None:
    """Base lists "ETH / USD" twice: https://docs.chain.link/data-feeds/svr-feeds."""
    twice = [CHAINLINK[0], CHAINLINK[0], CHAINLINK[0] | {"proxyAddress": OTHER, "heartbeat": 1200}]
    listed = parse_registry(SourceKind.CHAINLINK, twice)
    assert [feed.heartbeat_s for feed in listed["ETH / USD"]] == [3600, 1200]
    _, changes = refreshed(DESCRIPTION, "chainlink", listed)
    assert [(change.path.rsplit(".", 1)[-1], change.listed) for change in changes] == [("heartbeat_s", 1200)]


def test_of_several_feeds_none_of_which_is_described_a_person_chooses() -> None:
    twice = [CHAINLINK[0], CHAINLINK[0] | {"proxyAddress": "0x" + "cd" * 20}]
    listed = parse_registry(SourceKind.CHAINLINK, twice)
    with pytest.raises(FeedRegistryError, match="several times, choose one: 0x5f4ec3df9cbd"):
        refreshed(DESCRIPTION, "chainlink", listed)
