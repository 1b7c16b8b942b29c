"""The network description: which chains, contracts, assets, feeds and margin policy there are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from shared.domain.fields import FieldReader, NetworkError, checked_address
from shared.domain.price_sources import PricePolicy, PriceSource, read_policy, read_sources
from shared.risk.policy import MarginPolicy

NATIVE_ASSET = "0x" + "0" * 40

# As in messages: an asset that no message may name would stop every tick.
_ASSET = re.compile(r"[A-Z0-9.]{2,16}")
_MAX_DECIMALS = 77
MAX_FINALITY_BLOCKS = 4_000
"""The deepest finality by number: the relay keeps the hash of every block above it."""


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset as margin sees it; the factors are fractions of 1."""

    asset: str
    collateral_factor: Decimal
    borrow_factor: Decimal
    prices: PricePolicy


@dataclass(frozen=True, slots=True)
class Token:
    """An asset as one chain holds it."""

    asset: str
    address: str
    decimals: int


class FinalityTag(StrEnum):
    """Blocks that a chain names (https://ethereum.github.io/execution-apis, ``BlockTag``)."""

    SAFE = "safe"
    FINALIZED = "finalized"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain and our contracts on it.

    ``confirmations`` is how many blocks must stand on a block before its events are announced; ``finality``
    is how many before it counts as final, or the tag of the block that the chain itself calls final. A block
    that vanishes before it is final is retracted; one that vanishes later stops the relay. ``block_range`` is
    the most blocks that one log request asks for. ``multicall`` is the chain's Multicall3
    (https://www.multicall3.com).
    """

    chain_id: int
    name: str
    confirmations: int
    finality: int | FinalityTag
    start_block: int
    block_range: int
    vault: str
    escrow_factory: str
    multicall: str
    tokens: Mapping[str, Token]


@dataclass(frozen=True, slots=True)
class Network:
    """Everything that is data rather than code about where we work."""

    margin_policy: MarginPolicy
    tick_max_age_s: int
    price_sources: Mapping[str, PriceSource]
    assets: Mapping[str, Asset]
    chains: Mapping[int, Chain]


def parse_network(document: str | bytes) -> Network:
    """Read the network description (JSON).

    Raises:
        NetworkError: naming the path of the first field that is missing, unknown or wrong.
    """
    try:
        root = FieldReader(json.loads(document), "")
    except json.JSONDecodeError as error:
        raise NetworkError(f"document is not JSON: {error}") from error
    policy = _margin_policy(root.object("margin_policy"))
    tick_max_age_s = root.integer("tick_max_age_s", least=1)
    price_sources = read_sources(root.object("price_sources"))
    assets = _assets(root.object("assets"), price_sources)
    chains: dict[int, Chain] = {}
    for entry in root.objects("chains"):
        chain = _chain(entry, assets)
        if chain.chain_id in chains:
            raise NetworkError(f"{entry.path('chain_id')} is listed twice: {chain.chain_id}")
        chains[chain.chain_id] = chain
    root.finish()
    for source in price_sources.values():
        if source.chain_id is not None and source.chain_id not in chains:
            raise NetworkError(
                f"price_sources.{source.source_id}.chain_id is not among the chains: {source.chain_id}"
            )
    return Network(policy, tick_max_age_s, price_sources, assets, chains)


def parse_prices(document: str | bytes) -> tuple[dict[str, PriceSource], dict[str, PricePolicy]]:
    """The price sources, and each asset's policy, of a network description that may still lack a deployment's
    contracts, tokens and factors.

    Raises:
        NetworkError: naming the path of the first field that is missing, unknown or wrong.
    """
    try:
        root = FieldReader(json.loads(document), "")
    except json.JSONDecodeError as error:
        raise NetworkError(f"document is not JSON: {error}") from error
    sources = read_sources(root.object("price_sources"))
    assets = root.object("assets")
    return sources, {
        name: read_policy(assets.object(name).object("prices"), sources) for name in assets.remaining()
    }


def _margin_policy(entry: FieldReader) -> MarginPolicy:
    thresholds = {
        name: entry.decimal(name)
        for name in ("warning_pct", "margin_call_pct", "liquidation_pct", "hysteresis_pct")
    }
    entry.finish()
    try:
        return MarginPolicy(**thresholds)
    except ValueError as error:
        raise NetworkError(f"margin_policy: {error}") from error


def _assets(listed: FieldReader, price_sources: Mapping[str, PriceSource]) -> dict[str, Asset]:
    assets: dict[str, Asset] = {}
    for name in listed.remaining():
        if not _ASSET.fullmatch(name):
            raise NetworkError(f"{listed.path(name)} must be 2 to 16 characters of A-Z, 0-9 and point")
        entry = listed.object(name)
        assets[name] = Asset(
            asset=name,
            collateral_factor=entry.factor("collateral_factor"),
            borrow_factor=entry.factor("borrow_factor"),
            prices=read_policy(entry.object("prices"), price_sources),
        )
        entry.finish()
    return assets


def _chain(entry: FieldReader, assets: Mapping[str, Asset]) -> Chain:
    tokens = _tokens(entry.object("tokens"), assets)
    chain = Chain(
        chain_id=entry.integer("chain_id", least=1),
        name=entry.text("name"),
        confirmations=entry.integer("confirmations"),
        finality=_finality(entry),
        start_block=entry.integer("start_block"),
        block_range=entry.integer("block_range", least=1),
        vault=entry.address("vault"),
        escrow_factory=entry.address("escrow_factory"),
        multicall=entry.address("multicall"),
        tokens=tokens,
    )
    entry.finish()
    return chain


def _finality(entry: FieldReader) -> int | FinalityTag:
    value = entry.peek("finality")
    if not isinstance(value, str):
        return entry.integer("finality", most=MAX_FINALITY_BLOCKS)
    if value not in list(FinalityTag):
        raise NetworkError(
            f"{entry.path('finality')} must be a number of blocks, 'safe' or 'finalized', got {value!r}"
        )
    return FinalityTag(entry.text("finality"))


def _tokens(listed: FieldReader, assets: Mapping[str, Asset]) -> dict[str, Token]:
    tokens: dict[str, Token] = {}
    for address in listed.remaining():
        checked_address(address, listed.path(address))
        entry = listed.object(address)
        asset = entry.text("asset")
        if asset not in assets:
            raise NetworkError(f"{entry.path('asset')} is not among the assets: {asset!r}")
        if asset in {token.asset for token in tokens.values()}:
            # A position is an account's balance in one asset on one chain: two tokens would overwrite it.
            raise NetworkError(f"{entry.path('asset')} has another token on this chain: {asset!r}")
        tokens[address] = Token(asset, address, entry.integer("decimals", most=_MAX_DECIMALS))
        entry.finish()
    return tokens
