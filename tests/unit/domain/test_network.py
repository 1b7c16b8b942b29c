"""The network description: whatever is missing, unknown or wrong is named by its path."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from local.price_data import single_feed_prices
from shared.domain.fields import NetworkError
from shared.domain.network import NATIVE_ASSET, Network, Token, parse_network

USDC = "0x" + "11" * 20
SOURCES, PRICES = single_feed_prices(1, {"ETH": "0x" + "e1" * 20, "USDC": "0x" + "c1" * 20})
DOCUMENT: dict[str, Any] = {
    "margin_policy": {
        "warning_pct": "50",
        "margin_call_pct": "30",
        "liquidation_pct": "15",
        "hysteresis_pct": "2",
    },
    "tick_max_age_s": 120,
    "price_sources": SOURCES,
    "assets": {
        "ETH": {
            "collateral_factor": "0.85",
            "borrow_factor": "1",
            "prices": PRICES["ETH"],
        },
        "USDC": {
            "collateral_factor": "1",
            "borrow_factor": "0.95",
            "prices": PRICES["USDC"],
        },
    },
    "chains": [
        {
            "chain_id": chain_id,
            "name": name,
            "confirmations": 2,
            "finality": 64,
            "start_block": 100,
            "block_range": 2000,
            "vault": "0x" + "aa" * 20,
            "escrow_factory": "0x" + "bb" * 20,
            "multicall": "0x" + "ca" * 20,
            "tokens": {
                NATIVE_ASSET: {"asset": "ETH", "decimals": 18},
                USDC: {"asset": "USDC", "decimals": 6},
            },
        }
        for chain_id, name in ((1, "ethereum"), (10, "optimism"))
    ],
}

Path = tuple[str | int, ...]


def _fields(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key), inner
            if key in ("price_sources", "prices"):
                # Their fields have tests of their own, in test_price_sources.py.
                continue
            yield from _fields(inner, (*path, key))


def _written(path: Path) -> str:
    return ".".join(map(str, path))


def _changed(path: Path, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return document


def _removed(path: Path) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return document


def _parse(document: dict[str, Any]) -> Network:
    return parse_network(json.dumps(document))


def _refusal(document: dict[str, Any]) -> str:
    with pytest.raises(NetworkError) as refused:
        _parse(document)
    return str(refused.value)


FIELDS = list(_fields(DOCUMENT))
NAMED_BY_PEOPLE = {("assets",), *((("chains", index, "tokens")) for index in (0, 1))}
REQUIRED = [path for path, _ in FIELDS if path[:-1] not in NAMED_BY_PEOPLE and not isinstance(path[-1], int)]
LEAVES = [(path, value) for path, value in FIELDS if not isinstance(value, dict | list)]
OBJECTS = [
    (),
    *(
        path
        for path, value in FIELDS
        if isinstance(value, dict) and path not in {*NAMED_BY_PEOPLE, ("price_sources",)}
    ),
]


def test_a_description_is_read() -> None:
    network = _parse(DOCUMENT)
    assert network.margin_policy.margin_call_pct == Decimal(30)
    assert network.tick_max_age_s == 120
    assert network.assets["ETH"].collateral_factor == Decimal("0.85")
    assert network.assets["ETH"].prices.quotations["chainlink"].feed == "0x" + "e1" * 20
    assert network.price_sources["chainlink"].chain_id == 1
    assert list(network.chains) == [1, 10]
    assert network.chains[10].name == "optimism"
    assert network.chains[1].tokens[USDC] == Token("USDC", USDC, 6)


@pytest.mark.parametrize("path", REQUIRED, ids=_written)
def test_a_missing_field_is_named(path: Path) -> None:
    assert _refusal(_removed(path)) == f"{_written(path)} is missing"


@pytest.mark.parametrize("path", OBJECTS, ids=_written)
def test_an_unknown_field_is_named(path: Path) -> None:
    assert _refusal(_changed((*path, "surprise"), 1)) == f"{_written((*path, 'surprise'))} is not known"


@pytest.mark.parametrize("wrong", [None, True, 1.5, -1, [], {}], ids=repr)
@pytest.mark.parametrize(("path", "value"), LEAVES, ids=[_written(path) for path, _ in LEAVES])
def test_a_value_of_another_type_is_named(path: Path, value: Any, wrong: Any) -> None:
    assert _refusal(_changed(path, wrong)).startswith(f"{_written(path)} ")


@pytest.mark.parametrize(
    ("path", "wrong", "said"),
    [
        (("tick_max_age_s",), 0, "at least 1"),
        (("assets", "ETH", "collateral_factor"), "0", "greater than 0"),
        (("assets", "ETH", "collateral_factor"), "1.01", "at most 1"),
        (("assets", "ETH", "borrow_factor"), "NaN", "finite"),
        (("assets", "ETH", "borrow_factor"), "one", "decimal number"),
        (("chains", 0, "vault"), "0x" + "A1" * 20, "lower case"),
        (("chains", 0, "vault"), "0x" + "g1" * 20, "address"),
        (("chains", 0, "vault"), "0x" + "a1" * 19, "address"),
        (("price_sources", "chainlink", "chain_id"), 5, "not among the chains"),
        (("chains", 0, "vault"), "vault", "address"),
        (("chains", 1, "chain_id"), 1, "twice"),
        (("chains", 1, "name"), "", "non-empty"),
        (("chains", 1, "block_range"), 0, "at least 1"),
        (("chains", 1, "finality"), "latest", "'safe' or 'finalized'"),
        (("chains", 1, "finality"), 4_001, "at most 4000"),
        (("chains", 0, "tokens", USDC, "asset"), "DAI", "not among the assets"),
        (("chains", 0, "tokens", USDC, "asset"), "ETH", "another token on this chain"),
        (("chains", 0, "tokens", USDC, "decimals"), 78, "at most 77"),
        (("margin_policy", "warning_pct"), "-1", "not negative"),
    ],
)
def test_a_value_out_of_bounds_is_named(path: Path, wrong: Any, said: str) -> None:
    refusal = _refusal(_changed(path, wrong))
    assert refusal.startswith(f"{_written(path)} ")
    assert said in refusal


def test_thresholds_must_rise() -> None:
    refusal = _refusal(_changed(("margin_policy", "margin_call_pct"), "60"))
    assert refusal.startswith("margin_policy: ")
    assert "60" in refusal


@pytest.mark.parametrize("name", ["eth", "E", "WRAPPED STAKED ETHER", "ETH/USD", ""])
def test_an_asset_must_have_a_name_that_messages_can_carry(name: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["assets"][name] = document["assets"]["USDC"]
    assert _refusal(document).startswith(f"assets.{name} must be")


def test_a_token_is_listed_by_its_address() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["chains"][1]["tokens"]["USDC"] = {"asset": "USDC", "decimals": 6}
    assert _refusal(document).startswith("chains.1.tokens.USDC must be an address")


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(NetworkError, match="document"):
        parse_network(text)


@pytest.mark.parametrize("chains", [[], {}, None])
def test_there_must_be_a_chain(chains: object) -> None:
    assert _refusal({**DOCUMENT, "chains": chains}).startswith("chains must be a non-empty list")
