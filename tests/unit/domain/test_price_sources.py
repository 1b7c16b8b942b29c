"""Price sources and policies are data: whatever is wrong or contradicts itself is named by its path."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from local.price_data import (
    CHAINLINK,
    HERMES,
    PYTH_CONTRACT,
    chainlink_source,
    exchange_source,
    hermes_source,
    price_policy,
    pyth_contract_source,
    quote,
)
from shared.domain.fields import FieldReader, NetworkError
from shared.domain.price_sources import (
    HermesTransport,
    Peg,
    SequencerFeed,
    SourceKind,
    Valuation,
    read_policy,
    read_sources,
)

A, B, C = ("0x" + pair * 20 for pair in ("a1", "b2", "c3"))
SOURCES: dict[str, Any] = {
    CHAINLINK: chainlink_source(10, agreeing_nodes=2) | {"sequencer": {"address": B, "grace_s": 3600}},
    HERMES: hermes_source(is_enabled=True),
    PYTH_CONTRACT: pyth_contract_source(10, C, is_enabled=False),
    "exchange": exchange_source("https://exchange.example", is_enabled=True),
}
POLICY: dict[str, Any] = price_policy(
    {CHAINLINK: quote(B, "ETH / USD"), HERMES: quote("ff" * 32, "Crypto.ETH/USD", max_age_s=30, slack_s=5)},
    providers=2,
    quorum=2,
    peg="1",
)


def _sources(document: dict[str, Any]) -> Any:
    listed = FieldReader({"price_sources": document}, "").object("price_sources")
    return read_sources(listed)


def _policy(document: dict[str, Any], sources: dict[str, Any] | None = None) -> Any:
    return read_policy(FieldReader({"prices": document}, "").object("prices"), _sources(sources or SOURCES))


def test_every_kind_of_source_is_read() -> None:
    sources = _sources(SOURCES)
    assert sources[CHAINLINK].sequencer == SequencerFeed(B, 3600)
    assert (sources[CHAINLINK].agreeing_nodes, sources[CHAINLINK].chain_id) == (2, 10)
    assert (sources[HERMES].kind, sources[HERMES].transport) == (SourceKind.HERMES, HermesTransport.STREAM)
    assert (sources[PYTH_CONTRACT].contract, sources[PYTH_CONTRACT].is_enabled) == (C, False)
    assert (sources["exchange"].is_tie_breaker, sources["exchange"].base_url) == (
        True,
        "https://exchange.example",
    )


def test_a_policy_is_read() -> None:
    policy = _policy(POLICY)
    assert (policy.quorum, policy.max_jump_pct, policy.hold_s) == (2, Decimal(20), 10)
    assert policy.peg == Peg(Decimal(1), Decimal(2))
    assert policy.valuation is Valuation.MARK
    assert policy.quotations[HERMES].max_age_s == 35
    assert policy.quotations[CHAINLINK].max_age_s == 3900


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = to

    return change


def _drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set(CHAINLINK, "kind", to="band"), "price_sources.chainlink.kind must be one of chainlink"),
        (_set(CHAINLINK, "enabled", to=1), "price_sources.chainlink.enabled must be true or false"),
        (_set(CHAINLINK, "timeout_s", to="0"), "price_sources.chainlink.timeout_s must be greater than 0"),
        (
            _set(CHAINLINK, "agreeing_nodes", to=0),
            "price_sources.chainlink.agreeing_nodes must be",
        ),
        (_set(CHAINLINK, "sequencer", "grace_s", to=-1), "price_sources.chainlink.sequencer.grace_s must be"),
        (_drop(CHAINLINK, "sequencer"), "price_sources.chainlink.sequencer is missing"),
        (_set(CHAINLINK, "surprise", to=1), "price_sources.chainlink.surprise is not known"),
        (
            _set(HERMES, "transport", to="carrier"),
            "price_sources.pyth-hermes.transport must be one of",
        ),
        (_drop(PYTH_CONTRACT, "contract"), "price_sources.pyth-contract.contract is missing"),
        (_set("a source", to=hermes_source(is_enabled=True)), "price_sources.a source must be words"),
    ],
)
def test_a_wrong_source_is_named(change: Callable[[dict[str, Any]], None], said: str) -> None:
    document = copy.deepcopy(SOURCES)
    change(document)
    with pytest.raises(NetworkError) as refused:
        _sources(document)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("quorum", to=0), "prices.quorum must be an integer of at least 1"),
        (_set("quorum", to=3), "prices.quorum is 3, but the enabled sources have 2 independent providers"),
        (_set("outlier_limit_pct", to="50"), "prices.outlier_limit_pct must be from"),
        (_set("outlier_floor_pct", to="4"), "prices.outlier_limit_pct must be from"),
        (_set("max_confidence_pct", to="100"), "prices.max_confidence_pct must be less than 100"),
        (_set("max_jump_pct", to="-1"), "prices.max_jump_pct must be finite and not negative"),
        (_set("valuation", to="hope"), "prices.valuation must be one of mark, confidence"),
        (_set("peg", to={"price": "1"}), "prices.peg.limit_pct is missing"),
        (_set("quotes", "chainlink", "feed", to="ETH"), "prices.quotes.chainlink.feed must be an address"),
        (_set("quotes", "chainlink", "weight", to=0), "prices.quotes.chainlink.weight must be an integer"),
        (_set("quotes", "oracle", to=quote("x", "x")), "prices.quotes.oracle is not among the price_sources"),
        (_drop("carry_s"), "prices.carry_s is missing"),
    ],
)
def test_a_wrong_policy_is_named(change: Callable[[dict[str, Any]], None], said: str) -> None:
    document = copy.deepcopy(POLICY)
    change(document)
    with pytest.raises(NetworkError) as refused:
        _policy(document)
    assert str(refused.value).startswith(said)


def test_two_sources_of_one_provider_are_not_two() -> None:
    """A quorum of two, and a jump's confirmation, need two networks of publishers."""
    sources = copy.deepcopy(SOURCES)
    sources[PYTH_CONTRACT]["enabled"] = True
    both = {HERMES: quote("ff" * 32, "Crypto.ETH/USD"), PYTH_CONTRACT: quote("ff" * 32, "Crypto.ETH/USD")}
    with pytest.raises(NetworkError, match=r"prices.quorum is 2, .* have 1 independent providers"):
        _policy(POLICY | {"quotes": both}, sources)
    with pytest.raises(NetworkError, match=r"prices.max_jump_pct must be null"):
        _policy(POLICY | {"quotes": both, "quorum": 1}, sources)
