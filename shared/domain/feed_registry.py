"""Feeds as their publishers list them, and a network description brought up to date with such a list.

Sources: Chainlink's reference data directory, one file a network
(https://reference-data-directory.vercel.app/feeds-mainnet.json: a list with ``name``, ``proxyAddress``,
``heartbeat``), and Hermes's list of price feeds (https://hermes.pyth.network/docs, ``/v2/price_feeds``: a
list with ``id`` and ``attributes.symbol``).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.price_sources import SourceKind

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_PYTH_ID = re.compile(r"(0x)?[0-9a-fA-F]{64}")


class FeedRegistryError(ValueError):
    """A registry cannot be used, or does not list what the description has; the message names it."""


@dataclass(frozen=True, slots=True)
class ListedFeed:
    """A feed in a registry. ``heartbeat_s`` is None where the registry does not say it."""

    feed: str
    heartbeat_s: int | None


@dataclass(frozen=True, slots=True)
class FeedChange:
    """A field of the description that the registry contradicts."""

    path: str
    described: object
    listed: object

    def __str__(self) -> str:
        return f"{self.path}: {self.described} is {self.listed} in the registry"


def parse_registry(kind: SourceKind, document: Any) -> dict[str, tuple[ListedFeed, ...]]:
    """The feeds of a registry by symbol; entries that are not in use (without an address) are left out.

    A symbol may have several: Chainlink lists feeds that differ in who may read them first under one name.

    Raises:
        FeedRegistryError: it is no registry of this kind of source.
    """
    if not isinstance(document, list) or not document:
        raise FeedRegistryError("a registry is a list of feeds")
    if kind is SourceKind.EXCHANGE:
        raise FeedRegistryError("an exchange's products are in no registry")
    found: dict[str, tuple[ListedFeed, ...]] = {}
    for number, entry in enumerate(document):
        try:
            read = _chainlink_feed(entry) if kind is SourceKind.CHAINLINK else _pyth_feed(entry)
        except (KeyError, TypeError, AttributeError) as error:
            raise FeedRegistryError(f"entry {number} is no feed of {kind}: {error!r}") from error
        if read is None:
            continue
        symbol, feed = read
        if feed not in found.get(symbol, ()):
            found[symbol] = (*found.get(symbol, ()), feed)
    return found


def _chainlink_feed(entry: Mapping[str, Any]) -> tuple[str, ListedFeed] | None:
    address, heartbeat_s = entry["proxyAddress"], entry["heartbeat"]
    if address is None:
        return None
    if not _ADDRESS.fullmatch(address):
        raise FeedRegistryError(f"{entry['name']}: {address!r} is no address")
    if isinstance(heartbeat_s, bool) or not isinstance(heartbeat_s, int) or heartbeat_s < 1:
        raise FeedRegistryError(f"{entry['name']}: {heartbeat_s!r} is no heartbeat in seconds")
    return str(entry["name"]), ListedFeed(address.lower(), heartbeat_s)


def _pyth_feed(entry: Mapping[str, Any]) -> tuple[str, ListedFeed]:
    symbol, identifier = entry["attributes"]["symbol"], entry["id"]
    if not _PYTH_ID.fullmatch(identifier):
        raise FeedRegistryError(f"{symbol}: {identifier!r} is no price id")
    return str(symbol), ListedFeed(identifier.removeprefix("0x").lower(), None)


def refreshed(
    description: Mapping[str, Any], source_id: str, listed: Mapping[str, Sequence[ListedFeed]]
) -> tuple[dict[str, Any], list[FeedChange]]:
    """A network description with a source's feeds and heartbeats as the registry lists them, and what that
    changes. Nothing is added or taken away: a feed is found by its quote's ``symbol``.

    Raises:
        FeedRegistryError: the registry does not list a symbol that the description has, or lists several
            feeds under it of which the description's is none.
    """
    updated = copy.deepcopy(dict(description))
    changes: list[FeedChange] = []
    for asset, described in updated["assets"].items():
        quote = described["prices"]["quotes"].get(source_id)
        if quote is None:
            continue
        path = f"assets.{asset}.prices.quotes.{source_id}"
        feed = _same(quote, listed.get(quote["symbol"], ()), path)
        for name, value in (("feed", feed.feed), ("heartbeat_s", feed.heartbeat_s)):
            if value is not None and quote[name] != value:
                changes.append(FeedChange(f"{path}.{name}", quote[name], value))
                quote[name] = value
    return updated, changes


def _same(quote: Mapping[str, Any], listed: Sequence[ListedFeed], path: str) -> ListedFeed:
    """The listed feed that a quote means: its own address where that is listed, else the only one."""
    own = [each for each in listed if each.feed == str(quote["feed"]).lower()]
    candidates = own or listed
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise FeedRegistryError(f"{path}.symbol: the registry does not list {quote['symbol']!r}")
    several = ", ".join(each.feed for each in candidates)
    raise FeedRegistryError(
        f"{path}.symbol: the registry lists {quote['symbol']!r} several times, choose one: {several}"
    )
