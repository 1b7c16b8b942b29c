"""What a provider's refusal means, told from its text.

The same JSON-RPC code stands for different things at different providers (-32005 is a rate limit here and a
size limit there), and the specification (https://www.jsonrpc.org/specification#error_object) leaves the
texts to them. :data:`PATTERNS` is the table; a test reads every example through it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class RefusalKind(StrEnum):
    """What a refusal asks for.

    - ``RANGE``: fewer blocks or logs at once.
    - ``RATE_LIMIT``: leave this provider alone for a while; the range is fine.
    - ``HEAD_RACE``: the node behind the URL does not have that block yet; ask it for its head again.
    - ``UNKNOWN_BLOCK``: the block of that hash is not in the node's chain any more.
    - ``PRUNED``: the node no longer has, or does not sell, that part of history; asking for less never helps.
    - ``INVALID``: our request is wrong.
    - ``OTHER``: nothing that is known.
    """

    RANGE = "range"
    RATE_LIMIT = "rate_limit"
    HEAD_RACE = "head_race"
    UNKNOWN_BLOCK = "unknown_block"
    PRUNED = "pruned"
    INVALID = "invalid"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal that was understood. ``block_count`` is the longest range that its text says would work."""

    kind: RefusalKind
    block_count: int | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text by which a kind is known, and where it was seen.

    Named groups give a range that works: ``first`` and ``last`` (inclusive), or ``count``, with ``k`` where
    the number is in thousands.
    """

    kind: RefusalKind
    text: re.Pattern[str]
    source: str


def _pattern(kind: RefusalKind, text: str, source: str) -> Pattern:
    return Pattern(kind, re.compile(text, re.IGNORECASE), source)


_RANGE, _RATE, _RACE = RefusalKind.RANGE, RefusalKind.RATE_LIMIT, RefusalKind.HEAD_RACE
_PRUNED, _UNKNOWN, _INVALID = RefusalKind.PRUNED, RefusalKind.UNKNOWN_BLOCK, RefusalKind.INVALID
_N = r"(?P<count>[0-9][0-9,_]*)"
_HEX_RANGE = r"\[(?P<first>0x[0-9a-f]+),\s*(?P<last>0x[0-9a-f]+)\]"

# The first that matches decides: what must never be answered with a shorter range stands first.
PATTERNS: tuple[Pattern, ...] = (
    _pattern(_PRUNED, r"history has been pruned", "Geth, Erigon: -32701"),
    _pattern(_PRUNED, r"missing trie node|state .* is not available|pruned history", "Geth"),
    _pattern(_PRUNED, r"archive requests require", "PublicNode, Tenderly: 403, -32602"),
    _pattern(_PRUNED, r"historical (state|logs?) .*unavailable|required data unavailable", "Reth, anvil"),
    _pattern(_RATE, r"compute units per second", "Alchemy: 429"),
    _pattern(_RATE, r"credits limited to", "QuickNode: -32012"),
    _pattern(_RATE, r"not enough CUPs|can't route your request", "dRPC: 42903, 12"),
    _pattern(_RATE, r"backend fetch failed", "Varnish before several providers: HTTP 503"),
    _pattern(_RATE, r"rate.?limit|too many requests|request count exceeded|capacity exceeded", "Infura"),
    _pattern(_RACE, r"beyond (the )?current head|beyond latest executed", "Geth, Reth, Erigon"),
    _pattern(_RACE, r"BlockOutOfRange|block height is [0-9]+ but requested", "anvil: -32602"),
    _pattern(_RACE, r"does not have the requested block yet|header not found", "dRPC: -32603; Geth: -32000"),
    _pattern(_RACE, r"one of the blocks specified in filter .*cannot be found", "Nethermind: -32000"),
    _pattern(_UNKNOWN, r"unknown block|block (with hash )?.*not found", "Geth, anvil: -32000"),
    _pattern(_UNKNOWN, r"header for hash not found|not currently canonical", "Geth, EIP-1898: -32000"),
    _pattern(_UNKNOWN, r"resource not found|block not canonical", "anvil, EIP-1898: -32001"),
    _pattern(_INVALID, r"invalid block range|bad topic", "Geth: -32000, -32602"),
    # Ranges that are said to work.
    _pattern(_RANGE, rf"this block range should work: {_HEX_RANGE}", "Alchemy: -32602, -32600"),
    _pattern(_RANGE, rf"try with this block range {_HEX_RANGE}", "Infura: -32005"),
    _pattern(_RANGE, r"retry with the range (?P<first>[0-9]+)-(?P<last>[0-9]+)", "LlamaRPC"),
    _pattern(_RANGE, rf"limited to (a |at most )?{_N}(?P<k>k)? block", "1rpc, BlockPI"),
    _pattern(_RANGE, rf"limited to a {_N} range", "QuickNode: -32614; Blast"),
    _pattern(_RANGE, rf"\[from, to\] blocks distance: {_N}", "TAC"),
    _pattern(_RANGE, rf"maximum is set to {_N}", "Avalanche, dRPC: -32000"),
    _pattern(_RANGE, rf"ranges over {_N} blocks are not supported", "dRPC free tier: 35"),
    _pattern(_RANGE, rf"max(imum)? (block )?range:? {_N}", "Cloudflare, PublicNode, Tron, Hyperliquid"),
    _pattern(_RANGE, rf"query to at most {_N} blocks", "Coinbase"),
    _pattern(_RANGE, rf"number of requested blocks is {_N}", "thirdweb"),
    _pattern(_RANGE, rf"max is {_N}(?P<k>k)? blocks", "Merkle"),
    _pattern(_RANGE, rf"smaller than size {_N}", "Harmony"),
    _pattern(_RANGE, rf"too wide \(maximum {_N}\)", "Moonriver"),
    _pattern(_RANGE, rf"up to a {_N}(?P<k>k)? block range", "Aurora"),
    _pattern(_RANGE, rf"block range (greater than|exceeds) {_N}", "Swell, Somnia"),
    _pattern(_RANGE, rf"range, the limit is {_N}", "SimplyVC: -32000"),
    _pattern(_RANGE, rf"allowed for your plan \([0-9]+ > {_N}\)", "Blast, paid"),
    _pattern(_RANGE, rf"range: [0-9]+, max: {_N}", "Polygon: -32005"),
    _pattern(_RANGE, rf"greater than the limit of {_N} blocks", "Alchemy: -32600"),
    # No number in the text.
    _pattern(_RANGE, r"block range (is )?too (wide|large)|too wide blocks range", "Ankr, Optimism, Base"),
    _pattern(_RANGE, r"query returned more than|query exceeds max results|exceeds limit of", "Infura"),
    _pattern(_RANGE, r"response (size|too large)|response size should not", "Base, 1rpc"),
    _pattern(_RANGE, r"block range limit exceeded|range threshold exceeded", "Chainstack"),
    _pattern(_RANGE, r"exceeded max allowed", "several proxies"),
    _pattern(_RANGE, r"no backend is currently healthy", "Base, on ranges it will not serve"),
    _pattern(_RANGE, r"request timed out|unable to complete request", "LinkPool, Blockdaemon: -32002"),
    _pattern(_RANGE, r"forwarder error", "QuickNode: -32603"),
    _pattern(_RANGE, r"limit exceeded", "BSC: -32005"),
)


def classify(message: str, *, methods: Iterable[str], http_status: int = 200) -> Refusal:
    """What the text means with which calls of these methods were refused.

    Only ``eth_getLogs`` has a range: where it was not called, a limit is one on the rate.
    """
    for pattern in PATTERNS:
        found = pattern.text.search(message)
        if found is not None:
            if pattern.kind is RefusalKind.RANGE and "eth_getLogs" not in set(methods):
                return Refusal(RefusalKind.RATE_LIMIT if "limit" in message.lower() else RefusalKind.OTHER)
            return Refusal(pattern.kind, _block_count(found))
    if http_status in (429, 503):
        return Refusal(RefusalKind.RATE_LIMIT)
    return Refusal(RefusalKind.OTHER)


def _block_count(found: re.Match[str]) -> int | None:
    groups = found.groupdict()
    if groups.get("first") is not None:
        count = int(groups["last"], 0) - int(groups["first"], 0) + 1
        return count if count > 0 else None
    if groups.get("count") is None:
        return None
    count = int(groups["count"].replace(",", "").replace("_", "")) * (1_000 if groups.get("k") else 1)
    return count or None
