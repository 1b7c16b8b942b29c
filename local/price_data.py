"""The price sources and policies of network descriptions on development chains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CHAINLINK, HERMES, PYTH_CONTRACT, EXCHANGE = "chainlink", "pyth-hermes", "pyth-contract", "exchange"
HEARTBEAT_S = 3_600
SLACK_S = 300
PYTH_MAX_AGE_S = 60

# https://docs.pyth.network/price-feeds/price-feeds: Crypto.<asset>/USD
PYTH_IDS = {
    "ETH": "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace",
    "WBTC": "c9d8b075a5c69303365ae23633d4e085199bf5c520a3b90fed1322a0342ffc33",
    "LINK": "8ac0c70fff57e9aefdf5edf44b51d62c2d433653cbb2cf5cc06bb115af04d221",
    "USDC": "eaa020c61cc479712813461ce153894a96a6c00b21ed0cfc2798d1f9a9e9c94a",
}


def chainlink_source(chain_id: int, *, agreeing_nodes: int = 1, timeout_s: str = "3") -> dict[str, Any]:
    """Chainlink's feeds on a chain."""
    return {
        "kind": "chainlink",
        "provider": "chainlink",
        "enabled": True,
        "tie_breaker": False,
        "timeout_s": timeout_s,
        "registry": None,
        "sequencer": None,
        "chain_id": chain_id,
        "agreeing_nodes": agreeing_nodes,
    }


def pyth_contract_source(chain_id: int, contract: str, *, is_enabled: bool) -> dict[str, Any]:
    """Pyth's contract on a chain."""
    return chainlink_source(chain_id) | {
        "kind": "pyth_contract",
        "provider": "pyth",
        "enabled": is_enabled,
        "contract": contract,
    }


def hermes_source(
    *, is_enabled: bool, transport: str = "stream", timeout_s: str = "1.5", silence_s: str = "5"
) -> dict[str, Any]:
    """Pyth's Hermes."""
    return {
        "kind": "hermes",
        "provider": "pyth",
        "enabled": is_enabled,
        "tie_breaker": False,
        "timeout_s": timeout_s,
        "registry": None,
        "transport": transport,
        "silence_s": silence_s,
    }


def exchange_source(base_url: str, *, is_enabled: bool) -> dict[str, Any]:
    """An exchange as a tie breaker."""
    return {
        "kind": "exchange",
        "provider": "coinbase",
        "enabled": is_enabled,
        "tie_breaker": True,
        "timeout_s": "1.5",
        "registry": None,
        "base_url": base_url,
    }


def quote(feed: str, symbol: str, *, max_age_s: int = HEARTBEAT_S, slack_s: int = SLACK_S) -> dict[str, Any]:
    """An asset at a source, by what the source's registry calls it."""
    return {"feed": feed, "heartbeat_s": max_age_s, "slack_s": slack_s, "weight": 1, "symbol": symbol}


def chainlink_quote(asset: str, feed: str) -> dict[str, Any]:
    """An asset at Chainlink's feed."""
    return quote(feed, f"{asset} / USD")


def pyth_quote(asset: str, identifier: str) -> dict[str, Any]:
    """An asset at Pyth, which publishes every few hundred milliseconds."""
    return quote(identifier, f"Crypto.{asset}/USD", max_age_s=PYTH_MAX_AGE_S, slack_s=0)


def price_policy(
    quotes: Mapping[str, Mapping[str, Any]], *, providers: int = 1, quorum: int = 1, peg: str | None = None
) -> dict[str, Any]:
    """A policy over quotes by source; with one provider there is nobody to confirm a jump."""
    return {
        "quotes": {source: dict(described) for source, described in quotes.items()},
        "peg": None if peg is None else {"price": peg, "limit_pct": "2"},
        "quorum": quorum,
        "outlier_limit_pct": "3",
        "outlier_floor_pct": "0.5",
        "outlier_mads": "5",
        "max_confidence_pct": "3",
        "max_jump_pct": "20" if providers > 1 else None,
        "hold_s": 10,
        "carry_s": 30,
        "valuation": "mark",
    }


def single_feed_prices(chain_id: int, feeds: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``price_sources``, and ``prices`` by asset, of a network that has one Chainlink feed per asset."""
    sources = {CHAINLINK: chainlink_source(chain_id)}
    quotes = {asset: {CHAINLINK: chainlink_quote(asset, feed)} for asset, feed in feeds.items()}
    return sources, {asset: price_policy(quotes[asset]) for asset in feeds}


def pyth_quotes(assets: Iterable[str], source: str) -> dict[str, dict[str, Any]]:
    """Every asset's quote at a Pyth source."""
    return {asset: {source: pyth_quote(asset, PYTH_IDS[asset])} for asset in assets}


@dataclass(frozen=True, slots=True)
class PricePlaces:
    """Where a development chain has its prices: Chainlink's feeds by asset, and Pyth's contract."""

    chain_id: int
    feeds: Mapping[str, str]
    pyth: str

    def described(
        self, *, with_hermes: bool, with_pyth_contract: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """``price_sources``, and ``prices`` by asset: Chainlink's, and Pyth's where they are asked for."""
        contract = pyth_contract_source(self.chain_id, self.pyth, is_enabled=with_pyth_contract)
        sources = {
            CHAINLINK: chainlink_source(self.chain_id),
            HERMES: hermes_source(is_enabled=with_hermes),
            PYTH_CONTRACT: contract,
        }
        over_hermes, on_chain = pyth_quotes(self.feeds, HERMES), pyth_quotes(self.feeds, PYTH_CONTRACT)
        prices = {
            asset: price_policy(
                {CHAINLINK: chainlink_quote(asset, feed), **over_hermes[asset], **on_chain[asset]},
                providers=2 if with_hermes or with_pyth_contract else 1,
                peg="1" if asset == "USDC" else None,
            )
            for asset, feed in self.feeds.items()
        }
        return sources, prices
