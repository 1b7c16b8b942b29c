"""The network description: which chains, contracts, assets, feeds and margin policy there are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from shared.risk.policy import MarginPolicy

NATIVE_ASSET = "0x" + "0" * 40

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
# As in messages: an asset that no message may name would stop every tick.
_ASSET = re.compile(r"[A-Z0-9.]{2,16}")
_MAX_DECIMALS = 77
MAX_FINALITY_BLOCKS = 4_000
"""The deepest finality by number: the relay keeps the hash of every block above it."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A Chainlink AggregatorV3 proxy. A round older than ``heartbeat_s + slack_s`` is stale."""

    chain_id: int
    address: str
    heartbeat_s: int
    slack_s: int

    @property
    def max_age_s(self) -> int:
        """Age of a round from which it may no longer be used."""
        return self.heartbeat_s + self.slack_s


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset as margin sees it; the factors are fractions of 1."""

    asset: str
    collateral_factor: Decimal
    borrow_factor: Decimal
    feed: Feed


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
    the most blocks that one log request asks for.
    """

    chain_id: int
    name: str
    confirmations: int
    finality: int | FinalityTag
    start_block: int
    block_range: int
    vault: str
    escrow_factory: str
    tokens: Mapping[str, Token]


@dataclass(frozen=True, slots=True)
class Network:
    """Everything that is data rather than code about where we work."""

    margin_policy: MarginPolicy
    tick_max_age_s: int
    assets: Mapping[str, Asset]
    chains: Mapping[int, Chain]


class NetworkError(ValueError):
    """The network description is wrong; the message names the path of the field."""


class _Reader:
    """Reads one JSON object, naming the path of whatever is missing, unknown or of a wrong type."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise NetworkError(f"{path or 'document'} must be an object")
        self._value = dict(value)
        self._path = path

    def _take(self, key: str) -> Any:
        if key not in self._value:
            raise NetworkError(f"{self.path(key)} is missing")
        return self._value.pop(key)

    def path(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def integer(self, key: str, *, least: int = 0, most: int | None = None) -> int:
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise NetworkError(f"{self.path(key)} must be an integer of at least {least}, got {value!r}")
        if most is not None and value > most:
            raise NetworkError(f"{self.path(key)} must be at most {most}, got {value!r}")
        return value

    def finality(self, key: str) -> int | FinalityTag:
        value = self._value.get(key)
        if value in list(FinalityTag):
            return FinalityTag(self._take(key))
        if isinstance(value, str):
            raise NetworkError(
                f"{self.path(key)} must be a number of blocks, 'safe' or 'finalized', got {value!r}"
            )
        return self.integer(key, most=MAX_FINALITY_BLOCKS)

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value:
            raise NetworkError(f"{self.path(key)} must be a non-empty string, got {value!r}")
        return value

    def address(self, key: str) -> str:
        return _address(self.text(key), self.path(key))

    def decimal(self, key: str) -> Decimal:
        value = self.text(key)
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise NetworkError(f"{self.path(key)} must be a decimal number, got {value!r}") from None
        if not number.is_finite() or number < 0:
            raise NetworkError(f"{self.path(key)} must be finite and not negative, got {value!r}")
        return number

    def factor(self, key: str) -> Decimal:
        number = self.decimal(key)
        if not 0 < number <= 1:
            raise NetworkError(f"{self.path(key)} must be greater than 0 and at most 1, got {number}")
        return number

    def object(self, key: str) -> _Reader:
        return _Reader(self._take(key), self.path(key))

    def objects(self, key: str) -> list[_Reader]:
        value = self._take(key)
        if not isinstance(value, list) or not value:
            raise NetworkError(f"{self.path(key)} must be a non-empty list")
        return [_Reader(item, f"{self.path(key)}.{index}") for index, item in enumerate(value)]

    def remaining(self) -> list[str]:
        return list(self._value)

    def finish(self) -> None:
        if self._value:
            raise NetworkError(f"{self.path(next(iter(self._value)))} is not known")


def _address(value: str, path: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise NetworkError(f"{path} must be an address in lower case, got {value!r}")
    return value


def parse_network(document: str | bytes) -> Network:
    """Read the network description (JSON).

    Raises:
        NetworkError: naming the path of the first field that is missing, unknown or wrong.
    """
    try:
        root = _Reader(json.loads(document), "")
    except json.JSONDecodeError as error:
        raise NetworkError(f"document is not JSON: {error}") from error
    policy = _margin_policy(root.object("margin_policy"))
    tick_max_age_s = root.integer("tick_max_age_s", least=1)
    assets = _assets(root.object("assets"))
    chains: dict[int, Chain] = {}
    for entry in root.objects("chains"):
        chain = _chain(entry, assets)
        if chain.chain_id in chains:
            raise NetworkError(f"{entry.path('chain_id')} is listed twice: {chain.chain_id}")
        chains[chain.chain_id] = chain
    root.finish()
    for asset in assets.values():
        if asset.feed.chain_id not in chains:
            raise NetworkError(
                f"assets.{asset.asset}.feed.chain_id is not among the chains: {asset.feed.chain_id}"
            )
    return Network(policy, tick_max_age_s, assets, chains)


def _margin_policy(entry: _Reader) -> MarginPolicy:
    thresholds = {
        name: entry.decimal(name)
        for name in ("warning_pct", "margin_call_pct", "liquidation_pct", "hysteresis_pct")
    }
    entry.finish()
    try:
        return MarginPolicy(**thresholds)
    except ValueError as error:
        raise NetworkError(f"margin_policy: {error}") from error


def _assets(listed: _Reader) -> dict[str, Asset]:
    assets: dict[str, Asset] = {}
    for name in listed.remaining():
        if not _ASSET.fullmatch(name):
            raise NetworkError(f"{listed.path(name)} must be 2 to 16 characters of A-Z, 0-9 and point")
        entry = listed.object(name)
        feed = entry.object("feed")
        assets[name] = Asset(
            asset=name,
            collateral_factor=entry.factor("collateral_factor"),
            borrow_factor=entry.factor("borrow_factor"),
            feed=Feed(
                chain_id=feed.integer("chain_id", least=1),
                address=feed.address("address"),
                heartbeat_s=feed.integer("heartbeat_s", least=1),
                slack_s=feed.integer("slack_s"),
            ),
        )
        feed.finish()
        entry.finish()
    return assets


def _chain(entry: _Reader, assets: Mapping[str, Asset]) -> Chain:
    tokens = _tokens(entry.object("tokens"), assets)
    chain = Chain(
        chain_id=entry.integer("chain_id", least=1),
        name=entry.text("name"),
        confirmations=entry.integer("confirmations"),
        finality=entry.finality("finality"),
        start_block=entry.integer("start_block"),
        block_range=entry.integer("block_range", least=1),
        vault=entry.address("vault"),
        escrow_factory=entry.address("escrow_factory"),
        tokens=tokens,
    )
    entry.finish()
    return chain


def _tokens(listed: _Reader, assets: Mapping[str, Asset]) -> dict[str, Token]:
    tokens: dict[str, Token] = {}
    for address in listed.remaining():
        _address(address, listed.path(address))
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
