"""Chainlink feeds through the AggregatorV3 interface.

Source: https://docs.chain.link/data-feeds/api-reference (read the proxy; ``answeredInRound`` is deprecated).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.chain import abi
from shared.chain.rpc import Call, NodeError, RpcClient, quantity
from shared.domain.marks import FeedRound
from shared.domain.network import Feed
from shared.errors import RetryableError, TerminalError

_LATEST_ROUND = abi.selector("latestRoundData()")
_DECIMALS = abi.selector("decimals()")


@dataclass(frozen=True, slots=True)
class FeedReadings:
    """Rounds by asset, each a round or the reason why there is none, and the block they were read at."""

    block_number: int
    rounds: Mapping[str, FeedRound | str]


def read_rounds(client: RpcClient, feeds: Mapping[str, Feed], decimals: dict[str, int]) -> FeedReadings:
    """The latest round of every feed of one chain, in one request.

    Args:
        feeds: feeds by asset.
        decimals: what is known of feeds' decimals by address; read once and added to.

    Raises:
        RetryableError: the chain's nodes did not answer.
    """
    unknown = [feed.address for feed in feeds.values() if feed.address not in decimals]
    calls: list[Call] = [("eth_blockNumber", [])]
    calls += [_call(feed.address, _LATEST_ROUND) for feed in feeds.values()]
    calls += [_call(address, _DECIMALS) for address in unknown]
    block, *answers = client.batch(calls)
    if isinstance(block, NodeError):
        raise RetryableError(str(block))
    for address, answer in zip(unknown, answers[len(feeds) :], strict=True):
        try:
            decimals[address] = abi.unsigned(abi.words(_data(answer), 1)[0])
        except TerminalError:
            continue
    rounds: dict[str, FeedRound | str] = {}
    for (asset, feed), answer in zip(feeds.items(), answers, strict=False):
        if feed.address not in decimals:
            rounds[asset] = f"feed {feed.address} does not tell its decimals"
            continue
        try:
            round_id, price, _, updated_at, _ = abi.words(_data(answer), 5)
        except TerminalError as error:
            rounds[asset] = f"feed {feed.address} did not answer: {error.reason}"
            continue
        rounds[asset] = FeedRound(
            abi.unsigned(round_id), abi.signed(price), decimals[feed.address], abi.unsigned(updated_at)
        )
    return FeedReadings(quantity(block), rounds)


def _call(address: str, data: str) -> Call:
    return ("eth_call", [{"to": address, "data": data}, "latest"])


def _data(answer: object) -> str:
    if isinstance(answer, NodeError):
        raise TerminalError(answer.message)
    if not isinstance(answer, str):
        raise TerminalError(f"{answer!r} is not data")
    return answer
