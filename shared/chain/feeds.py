"""Price feeds on one chain, all read in one request: Chainlink aggregators and Pyth's contract.

Sources: https://docs.chain.link/data-feeds/api-reference (read the proxy; ``answeredInRound`` is deprecated),
https://docs.chain.link/data-feeds/l2-sequencer-feeds,
https://api-reference.pyth.network/price-feeds/evm/getPriceUnsafe (its age is checked by whoever uses it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from shared.chain import abi, multicall
from shared.chain.rpc import NodeError, Provider, RpcClient, quantity
from shared.domain.price_sources import PriceSource, SourceKind
from shared.domain.quotes import SourceAnswer
from shared.errors import RetryableError, TerminalError
from shared.racing import LatencyWindow, Race, RetryBudget

_LATEST_ROUND = abi.selector("latestRoundData()")
_DECIMALS = abi.selector("decimals()")
_PYTH_PRICE = abi.selector("getPriceUnsafe(bytes32)")
_PYTH_ID_DIGITS = 64
_ROUND_WORDS, _PYTH_WORDS = 5, 4

Answers = Mapping[str, Mapping[str, SourceAnswer | str]]
"""What was said by source id and asset: an answer, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class ChainReading:
    """What a chain's feeds say, read at ``block_number`` or later."""

    block_number: int
    answers: Answers


@dataclass(frozen=True, slots=True)
class _Query:
    """One call of the multicall, and what its answer means: ``asset`` None for the sequencer's feed."""

    source: PriceSource
    asset: str | None
    address: str
    data: str


@dataclass(frozen=True, slots=True)
class _Question:
    """What was asked last; of ``decimals_known`` feeds the decimals were not asked again."""

    wanted: Mapping[str, Mapping[str, str]]
    decimals_known: int
    queries: list[_Query]
    data: str


class ChainFeeds:
    """Every source of one chain.

    Args:
        urls: the chain's nodes, in order of preference.
        aggregate: the chain's multicall.
        sources: all on this chain; they share its timeout and agreement, the strictest counts.
        executor: runs requests side by side.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        chain_id: int,
        urls: Sequence[str],
        aggregate: str,
        sources: Sequence[PriceSource],
        *,
        executor: Executor,
        monotonic: Callable[[], float],
    ) -> None:
        self.chain_id = chain_id
        self.latency = LatencyWindow()
        self._timeout_s = min(source.timeout_s for source in sources)
        self._agreeing = min(max(source.agreeing_nodes for source in sources), len(urls))
        self._aggregate = aggregate
        self._sources = {source.source_id: source for source in sources}
        self._nodes = RpcClient(chain_id, urls, timeout_s=self._timeout_s).providers
        self._race = Race(executor, monotonic)
        self._monotonic = monotonic
        self._budget = RetryBudget()
        self._decimals: dict[str, int] = {}
        self._asked: _Question | None = None

    def read(self, wanted: Mapping[str, Mapping[str, str]], now_s: int) -> ChainReading:
        """The newest answer about every feed, as so many nodes tell it as must agree.

        Args:
            wanted: feeds by source id and asset.
            now_s: Unix seconds, for the sequencer's grace period.

        Raises:
            RetryableError: too few nodes answered in time; says what each one did.
        """
        self._budget.earn()
        attempts = [partial(self._ask, node, wanted, now_s) for node in (*self._nodes, *self._nodes)]
        return self._race.run(
            attempts,
            self._agreed,
            together=self._agreeing,
            patience_s=self.latency.patience_s(self._timeout_s, others=len(self._nodes) > self._agreeing),
            limit_s=self._timeout_s,
            may_add=self._budget.spend,
        )

    def _ask(self, node: Provider, wanted: Mapping[str, Mapping[str, str]], now_s: int) -> ChainReading:
        queries, data = self._question(wanted)
        started = self._monotonic()
        calls = [("eth_blockNumber", []), ("eth_call", [{"to": self._aggregate, "data": data}, "latest"])]
        try:
            block, answer = node.batch(calls)
        except RetryableError as error:
            raise RetryableError(f"{node.name}: {error}") from error
        self.latency.add(self._monotonic() - started)
        for each in (block, answer):
            if isinstance(each, NodeError):
                raise RetryableError(f"{node.name}: {each}")
        try:
            returned = multicall.decode(str(answer), len(queries))
        except TerminalError as error:
            raise RetryableError(f"{node.name}'s multicall: {error.reason}") from error
        return ChainReading(quantity(block), self._answers(queries, returned, now_s))

    def _question(self, wanted: Mapping[str, Mapping[str, str]]) -> tuple[list[_Query], str]:
        """The calls and their multicall's data; the last one's as long as the same is wanted."""
        asked = self._asked
        if asked is None or asked.wanted != wanted or asked.decimals_known != len(self._decimals):
            known = len(self._decimals)
            queries = self._queries(wanted)
            data = multicall.encode([(each.address, each.data) for each in queries])
            # Attempts run side by side: each sees a whole one.
            self._asked = asked = _Question(wanted, known, queries, data)
        return asked.queries, asked.data

    def _queries(self, wanted: Mapping[str, Mapping[str, str]]) -> list[_Query]:
        queries: list[_Query] = []
        for source_id, feeds in wanted.items():
            source = self._sources[source_id]
            if source.sequencer is not None:
                queries.append(_Query(source, None, source.sequencer.address, _LATEST_ROUND))
            for asset, feed in feeds.items():
                if source.kind is SourceKind.PYTH_CONTRACT:
                    identifier = f"{feed.removeprefix('0x'):0>{_PYTH_ID_DIGITS}}"
                    queries.append(_Query(source, asset, source.contract or "", _PYTH_PRICE + identifier))
                    continue
                queries.append(_Query(source, asset, feed, _LATEST_ROUND))
                if feed not in self._decimals:
                    queries.append(_Query(source, asset, feed, _DECIMALS))
        return queries

    def _answers(
        self, queries: Sequence[_Query], returned: Sequence[bytes | None], now_s: int
    ) -> dict[str, dict[str, SourceAnswer | str]]:
        for query, data in zip(queries, returned, strict=True):
            if query.data == _DECIMALS and data is not None and len(data) == abi.WORD:
                self._decimals[query.address] = abi.unsigned(data)
        answers: dict[str, dict[str, SourceAnswer | str]] = {}
        down: dict[str, str] = {}
        for query, data in zip(queries, returned, strict=True):
            if query.asset is None:
                defect = _sequencer_defect(query.source, data, now_s)
                if defect is not None:
                    down[query.source.source_id] = defect
            elif query.data != _DECIMALS:
                answers.setdefault(query.source.source_id, {})[query.asset] = (
                    _pyth_answer(query, data)
                    if query.source.kind is SourceKind.PYTH_CONTRACT
                    else _round_answer(query.address, data, self._decimals.get(query.address))
                )
        for source_id, defect in down.items():
            answers[source_id] = dict.fromkeys(answers.get(source_id, {}), defect)
        return answers

    def _agreed(self, readings: Sequence[ChainReading], is_last: bool) -> ChainReading | None:
        """What enough nodes say alike; while more may answer, only where they agree on everything."""
        if len(readings) < self._agreeing:
            return None
        if self._agreeing == 1:
            return readings[0]
        agreed: dict[str, dict[str, SourceAnswer | str]] = {}
        for source_id, of_source in readings[0].answers.items():
            for asset in of_source:
                said = [reading.answers[source_id][asset] for reading in readings]
                common = [answer for answer in said if said.count(answer) >= self._agreeing]
                if not common and not is_last:
                    return None
                agreed.setdefault(source_id, {})[asset] = (
                    max(common, key=_newness) if common else f"{len(readings)} nodes disagree on the round"
                )
        return ChainReading(min(reading.block_number for reading in readings), agreed)


def _newness(answer: SourceAnswer | str) -> int:
    return -1 if isinstance(answer, str) else answer.observed_s


def _round_answer(feed: str, data: bytes | None, decimals: int | None) -> SourceAnswer | str:
    if data is None or len(data) != _ROUND_WORDS * abi.WORD:
        return f"feed {feed} did not answer with a round"
    if decimals is None:
        return f"feed {feed} does not tell its decimals"
    round_id, price, _, updated_at, _ = (data[start : start + abi.WORD] for start in range(0, len(data), 32))
    if not any(round_id):
        return f"feed {feed} has no complete round"
    return SourceAnswer(
        abi.signed(price), -decimals, 0, abi.unsigned(updated_at), str(abi.unsigned(round_id))
    )


def _pyth_answer(query: _Query, data: bytes | None) -> SourceAnswer | str:
    if data is None or len(data) != _PYTH_WORDS * abi.WORD:
        return f"contract {query.address} does not know price {query.data[-_PYTH_ID_DIGITS:]}"
    price, confidence, exponent, published = (data[start : start + 32] for start in range(0, len(data), 32))
    moment = abi.unsigned(published)
    return SourceAnswer(
        abi.signed(price), abi.signed(exponent), abi.unsigned(confidence), moment, str(moment)
    )


def _sequencer_defect(source: PriceSource, data: bytes | None, now_s: int) -> str | None:
    """Why a rollup's answers must wait: its sequencer is down, or was a moment ago."""
    if source.sequencer is None:
        return None
    if data is None or len(data) != _ROUND_WORDS * abi.WORD:
        return f"sequencer feed {source.sequencer.address} did not answer with a round"
    is_down, started_s = abi.signed(data[32:64]), abi.unsigned(data[64:96])
    if is_down != 0:
        return f"the sequencer has been down since second {started_s}"
    if started_s == 0 or now_s - started_s <= source.sequencer.grace_s:
        return f"the sequencer came back at second {started_s}: {source.sequencer.grace_s} s of grace"
    return None
