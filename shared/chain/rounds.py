"""The past rounds of a Chainlink feed, newest first, many in one call.

Source: https://docs.chain.link/data-feeds/historical-data: a round id of a proxy is the phase, shifted by 64
bits, with the aggregator's own round, which counts from 1 without gaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from shared.chain import abi, multicall
from shared.chain.rpc import RpcClient
from shared.domain.money import whole_tokens
from shared.errors import RetryableError, TerminalError

_LATEST = abi.selector("latestRoundData()")
_ROUND = abi.selector("getRoundData(uint80)")
_DECIMALS = abi.selector("decimals()")
_WORDS = 5
_PER_CALL = 250
_MOST_ROUNDS = 50_000
_PHASE_BITS = 64


@dataclass(frozen=True, slots=True)
class PastRound:
    """A round that was complete: USD per whole token, and when it was set."""

    round_id: int
    price: Decimal
    updated_at: datetime


def read_since(client: RpcClient, aggregate: str, feed: str, start: datetime) -> list[PastRound]:
    """The rounds of the feed's present phase that were set at ``start`` or later, newest first.

    Args:
        aggregate: the chain's multicall.

    Raises:
        TerminalError: the feed does not answer as one, or has more rounds in the range than one run takes.
        RetryableError: no node answered.
    """
    latest, decimals = _call(client, aggregate, [(feed, _LATEST), (feed, _DECIMALS)])
    if latest is None or len(latest) != _WORDS * abi.WORD or decimals is None or len(decimals) != abi.WORD:
        raise TerminalError(f"{feed} does not answer as a Chainlink feed")
    newest = abi.unsigned(latest[: abi.WORD])
    phase, count = newest >> _PHASE_BITS, newest & ((1 << _PHASE_BITS) - 1)
    found: list[PastRound] = []
    while count > 0:
        numbers = range(count, max(0, count - _PER_CALL), -1)
        calls = [(feed, f"{_ROUND}{(phase << _PHASE_BITS) | number:064x}") for number in numbers]
        for number, data in zip(numbers, _call(client, aggregate, calls), strict=True):
            past = _round(data, abi.unsigned(decimals))
            if past is None:
                continue
            if past.updated_at < start:
                return found
            found.append(PastRound((phase << _PHASE_BITS) | number, past.price, past.updated_at))
        if len(found) > _MOST_ROUNDS:
            raise TerminalError(f"more than {_MOST_ROUNDS} rounds since {start.isoformat()}: ask for less")
        count -= _PER_CALL
    return found


def _call(client: RpcClient, aggregate: str, calls: list[tuple[str, str]]) -> list[bytes | None]:
    answer = client.call("eth_call", {"to": aggregate, "data": multicall.encode(calls)}, "latest")
    try:
        return multicall.decode(str(answer), len(calls))
    except TerminalError as error:
        raise RetryableError(f"a node's multicall: {error.reason}") from error


def _round(data: bytes | None, decimals: int) -> PastRound | None:
    """A round, or None where there is nothing in it that could be a price."""
    if data is None or len(data) != _WORDS * abi.WORD:
        return None
    round_id, answer, _, updated_at, _ = (data[start : start + 32] for start in range(0, len(data), 32))
    seconds, value = abi.unsigned(updated_at), abi.signed(answer)
    # Beyond the year 9999 there is no calendar, and beyond 77 decimals no power of ten in a word.
    if not 0 < seconds < 253_402_300_800 or value <= 0 or decimals > 77:
        return None
    return PastRound(
        abi.unsigned(round_id), whole_tokens(value, decimals), datetime.fromtimestamp(seconds, UTC)
    )
