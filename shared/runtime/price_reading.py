"""Asking every price source at once: breakers, budgets and the time limit of a tick."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from shared.chain.feeds import Answers, ChainFeeds
from shared.config import Settings
from shared.domain.breakers import Breaker
from shared.domain.network import Network
from shared.domain.price_sources import ON_CHAIN, PriceSource, SourceKind
from shared.domain.quotes import SourceAnswer
from shared.errors import HeldBackError, RetryableError, TerminalError
from shared.providers.exchange import ExchangeSource
from shared.providers.hermes import HermesSource
from shared.racing import LatencyWindow
from shared.runtime import clock
from shared.runtime.context import load_network
from shared.stores.price_sources import SourceState

_THREADS = 16
_SLACK_S = 0.25
"""What a tick waits beyond a source's own limit, which the source keeps by itself."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PriceReading:
    """What the sources said: answers by asset and source id, and the blocks they were read at by chain."""

    answers: Mapping[str, Mapping[str, SourceAnswer | str]]
    block_numbers: Mapping[str, int]

    @property
    def failure(self) -> str | None:
        """Why nothing at all was heard; None where something was."""
        said = [answer for of_asset in self.answers.values() for answer in of_asset.values()]
        if any(isinstance(answer, SourceAnswer) for answer in said):
            return None
        return "; ".join(sorted({str(answer) for answer in said})) or "no price source is enabled"


class PriceReader:
    """The enabled sources of a network. Warm: it keeps connections, breakers and what feeds said of
    themselves from one tick to the next."""

    def __init__(self, network: Network, settings: Settings) -> None:
        self._network = network
        self._sources = {each.source_id: each for each in network.price_sources.values() if each.is_enabled}
        # Two pools: a source waits in one for its requests in the other.
        self._readers = ThreadPoolExecutor(_THREADS, thread_name_prefix="price-source")
        requests = ThreadPoolExecutor(2 * _THREADS, thread_name_prefix="price-request")
        self._chains = {
            chain_id: ChainFeeds(
                chain_id,
                settings.rpc_urls[chain_id],
                network.chains[chain_id].multicall,
                [source for source in self._sources.values() if source.chain_id == chain_id],
                executor=requests,
                monotonic=clock.monotonic,
            )
            for chain_id in sorted({each.chain_id for each in self._sources.values() if each.chain_id})
        }
        self._services: dict[str, HermesSource | ExchangeSource] = {}
        for source in self._sources.values():
            if source.kind is SourceKind.HERMES:
                self._services[source.source_id] = HermesSource(
                    source,
                    settings.hermes_urls,
                    settings.hermes_api_key,
                    executor=requests,
                    monotonic=clock.monotonic,
                )
            elif source.kind is SourceKind.EXCHANGE:
                self._services[source.source_id] = ExchangeSource(
                    source, executor=requests, monotonic=clock.monotonic
                )
        self._breakers: dict[tuple[str, str], Breaker] = {
            (source_id, asset.asset): Breaker()
            for asset in network.assets.values()
            for source_id in asset.prices.quotations
            if source_id in self._sources
        }

    def read(self) -> PriceReading:
        """Ask every source about every asset whose breaker allows it; never raises."""
        now = clock.now()
        wanted = self._wanted(now)
        blocks: dict[str, int] = {}
        running: dict[Future[Answers], tuple[str, ...]] = {}
        for chain_id, chain in self._chains.items():
            mine = {
                source_id: feeds
                for source_id, feeds in wanted.items()
                if self._sources[source_id].chain_id == chain_id and feeds
            }
            if mine:
                running[self._readers.submit(_read_chain, chain, mine, now, blocks)] = tuple(mine)
        for source_id, service in self._services.items():
            if wanted[source_id]:
                future = self._readers.submit(_read_service, source_id, service, wanted[source_id])
                running[future] = (source_id,)
        limit_s = max((self._sources[each].timeout_s for each in self._sources), default=0.0) + _SLACK_S
        wait(running, timeout=limit_s)
        heard: dict[str, Mapping[str, SourceAnswer | str]] = {}
        for future, source_ids in running.items():
            answers, counts = self._outcome(future, source_ids, wanted)
            heard.update(answers)
            if counts:
                self._count(answers, now)
        return PriceReading(self._by_asset(heard, now), blocks)

    def states(self, now: datetime) -> list[SourceState]:
        """How every source of the network does, the disabled ones included."""
        return [self._state(source, now) for source in self._network.price_sources.values()]

    def close(self) -> None:
        """End what goes on between ticks; the next read begins it again."""
        for service in self._services.values():
            service.close()

    def _wanted(self, now: datetime) -> dict[str, dict[str, str]]:
        wanted: dict[str, dict[str, str]] = {source_id: {} for source_id in self._sources}
        for (source_id, asset), breaker in self._breakers.items():
            if breaker.allows(now):
                quotation = self._network.assets[asset].prices.quotations[source_id]
                wanted[source_id][asset] = quotation.feed
        return wanted

    def _outcome(
        self, future: Future[Answers], source_ids: tuple[str, ...], wanted: Mapping[str, Mapping[str, str]]
    ) -> tuple[Answers, bool]:
        """What a source said, and whether that says anything about the source."""
        counts, refused = True, False
        try:
            return future.result(timeout=0), counts
        except TimeoutError:
            reason = "did not answer within the tick's limit"
        except HeldBackError as error:
            reason, counts = str(error), False
        except (RetryableError, TerminalError) as error:
            reason, refused = str(error), isinstance(error, TerminalError)
        _log.warning("price source failed", extra={"source": "+".join(source_ids), "reason": reason})
        if refused:
            now = clock.now()
            for source_id in source_ids:
                for asset in wanted[source_id]:
                    key = (source_id, asset)
                    self._breakers[key] = self._breakers[key].failed(now, reason, opens_at_once=True)
        said = {source_id: dict.fromkeys(wanted[source_id], reason) for source_id in source_ids}
        return said, counts and not refused

    def _count(self, heard: Answers, now: datetime) -> None:
        for source_id, answers in heard.items():
            for asset, answer in answers.items():
                breaker = self._breakers[source_id, asset]
                if isinstance(answer, SourceAnswer):
                    self._breakers[source_id, asset] = breaker.succeeded(now)
                elif breaker.allows(now):
                    self._breakers[source_id, asset] = breaker.failed(now, answer)

    def _by_asset(self, heard: Answers, now: datetime) -> dict[str, dict[str, SourceAnswer | str]]:
        by_asset: dict[str, dict[str, SourceAnswer | str]] = {asset: {} for asset in self._network.assets}
        for (source_id, asset), breaker in self._breakers.items():
            answer = heard.get(source_id, {}).get(asset)
            if answer is None:
                answer = f"left alone until {breaker.retry_at}: {breaker.last_error}"
            by_asset[asset][source_id] = answer
        return by_asset

    def _state(self, source: PriceSource, now: datetime) -> SourceState:
        breakers = {
            asset: breaker
            for (source_id, asset), breaker in self._breakers.items()
            if source_id == source.source_id
        }
        latency = self._latency(source)
        failed = [each for each in breakers.values() if each.last_error_at is not None]
        latest = max(failed, key=lambda each: each.last_error_at or now, default=None)
        p50, p95 = (None, None) if latency is None else (latency.quantile(0.5), latency.quantile(0.95))
        return SourceState(
            source_id=source.source_id,
            kind=source.kind,
            provider=source.provider,
            is_enabled=source.is_enabled,
            breakers={asset: each.state(now) for asset, each in sorted(breakers.items())},
            last_error=None if latest is None else latest.last_error,
            last_error_at=None if latest is None else latest.last_error_at,
            last_success_at=max(
                (each.last_success_at for each in breakers.values() if each.last_success_at is not None),
                default=None,
            ),
            latency_p50_ms=None if p50 is None else round(p50 * 1000, 1),
            latency_p95_ms=None if p95 is None else round(p95 * 1000, 1),
            as_of=now,
        )

    def _latency(self, source: PriceSource) -> LatencyWindow | None:
        if not source.is_enabled:
            return None
        if source.kind in ON_CHAIN and source.chain_id is not None:
            return self._chains[source.chain_id].latency
        return self._services[source.source_id].latency


def _read_chain(
    chain: ChainFeeds, wanted: Mapping[str, Mapping[str, str]], now: datetime, blocks: dict[str, int]
) -> Answers:
    reading = chain.read(wanted, int(now.timestamp()))
    blocks[str(chain.chain_id)] = reading.block_number
    return reading.answers


def _read_service(
    source_id: str, service: HermesSource | ExchangeSource, feeds: Mapping[str, str]
) -> Answers:
    return {source_id: service.read(feeds)}


@lru_cache(maxsize=4)
def price_reader(settings: Settings) -> PriceReader:
    """The process's reader for these settings."""
    return PriceReader(load_network(settings), settings)
