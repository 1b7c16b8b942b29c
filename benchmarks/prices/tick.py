"""One tick of 100 assets with three sources, against local servers; and the aggregation alone.

    python -m benchmarks.prices.tick [--ticks 40]

A tick asks every source (Chainlink's feeds and Pyth's contract through one multicall, Hermes over HTTP),
decides every mark and builds the message. Its reference is the slowest of the same requests made alone in the
same run, without decoding; the two take turns. A server of this machine answers in a few milliseconds, which
no provider does, so the same is measured once more with Hermes as far away as a near one. The aggregation is
held against a tenth of a second.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import urllib3

from benchmarks.results import Row, report
from local.deployment import CHAIN_ID
from local.emulators import running_emulators
from local.environment import HERMES_API_KEY
from local.price_market import PriceMarket, price_market
from shared.chain import abi, multicall
from shared.domain.marks import decide_mark
from shared.domain.network import Network
from shared.domain.price_sources import PricePolicy, PriceSource, Quotation, SourceKind, Valuation
from shared.domain.quotes import SourceAnswer
from shared.events.price_ticks import next_tick
from shared.runtime.price_reading import PriceReader

ASSETS, SOURCES = 100, 3
# Hermes allows ten requests in ten seconds, of which two are kept for streams.
_TICKS_PER_READER = 7
_TARGET_RATIO = 1.3
_AWAY_S = 0.05
"""A round trip to a provider in another network of the same continent."""
_CORE_ASSETS, _CORE_SOURCES = 1_000, 5
_CORE_LIMIT_MS = 100.0


def _milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


def _tick(reader: PriceReader, network: Network) -> None:
    reading = reader.read()
    now = datetime.now(UTC)
    decisions = {
        asset.asset: decide_mark(reading.answers[asset.asset], network.price_sources, asset.prices, as_of=now)
        for asset in network.assets.values()
    }
    tick = next_tick(None, decisions, network.assets, reading.block_numbers, now, markets=())
    if any(mark.status != "ok" for mark in tick.marks):
        raise SystemExit(f"a mark is not ok: {next(mark for mark in tick.marks if mark.status != 'ok')}")
    tick.encode()


def _round_trips(market: PriceMarket, rpc_url: str) -> dict[str, Callable[[], object]]:
    """Each source's request by itself."""
    pool = urllib3.PoolManager(maxsize=4)
    rounds = [(feed, abi.selector("latestRoundData()")) for feed in market.feeds.values()]
    selector = abi.selector("getPriceUnsafe(bytes32)")
    prices = [(market.deployment.pyth, f"{selector}{each}") for each in market.ids.values()]
    data = multicall.encode([*rounds, *prices])
    calls = [
        {"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []},
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "eth_call",
            "params": [{"to": market.deployment.multicall, "data": data}, "latest"],
        },
    ]
    query = urlencode([*(("ids[]", each) for each in sorted(market.ids.values())), ("parsed", "true")])
    headers = {"Authorization": f"Bearer {HERMES_API_KEY}"}
    return {
        f"chain {CHAIN_ID}": lambda: pool.request("POST", rpc_url, json=calls).data,
        "Hermes": lambda: (
            pool.request("GET", f"{market.hermes_url}/v2/updates/price/latest?{query}", headers=headers).data
        ),
    }


def _measure_ticks(ticks: int) -> list[Row]:
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="fusion-prime-") as folder,
        running_emulators(Path(folder), names=("anvil",)) as hosts,
        price_market(hosts.rpc, ASSETS) as market,
    ):
        rows += _ticks_of(market, hosts.rpc, ticks)
        market.hermes.set_faults({"delay_s": _AWAY_S})
        away = f", Hermes {_AWAY_S * 1000:.0f} ms away"
        rows += [
            replace(row, metric=row.metric.replace(": ", f"{away}: ", 1))
            for row in _ticks_of(market, hosts.rpc, ticks)[:1]
        ]
    return rows


def _ticks_of(market: PriceMarket, rpc_url: str, ticks: int) -> list[Row]:
    network = market.network(transport="latest")
    trips = _round_trips(market, rpc_url)
    walls: list[float] = []
    processor: list[float] = []
    slowest: list[float] = []
    requests = market.hermes.counts().get("requests", 0)
    asked = 0
    while len(walls) < ticks:
        reader = PriceReader(network, market.settings([rpc_url]))
        _tick(reader, network)
        asked += 1
        for _ in range(min(_TICKS_PER_READER, ticks - len(walls))):
            wall, cpu = _milliseconds(lambda reader=reader: _tick(reader, network))  # type: ignore[misc]
            walls.append(wall)
            processor.append(cpu)
            asked += 1
            slowest.append(max(_milliseconds(trip)[0] for trip in trips.values()))
        reader.close()
    served = market.hermes.counts()["requests"] - requests - len(slowest)
    wall, alone = statistics.median(walls), statistics.median(slowest)
    name = f"tick of {ASSETS} assets, {SOURCES} sources"
    return [
        Row(
            f"{name}: time, median",
            wall,
            "ms",
            "slowest single round trip, same run",
            alone,
            _note(wall, alone),
        ),
        Row(f"{name}: CPU of this process, median", statistics.median(processor), "ms"),
        Row(f"{name}: requests per chain and tick", 1, "requests"),
        Row(f"{name}: requests to Hermes per tick", served / asked, "requests"),
    ]


def _note(wall: float, alone: float) -> str:
    verdict = "met" if wall / alone <= _TARGET_RATIO else "MISSED"
    return f"target {_TARGET_RATIO}: {verdict}; the servers run on the same machine"


def _measure_aggregation() -> list[Row]:
    now = datetime.now(UTC)
    ids = [f"s{number}" for number in range(_CORE_SOURCES)]
    sources = {
        each: PriceSource(
            each, SourceKind.EXCHANGE, each, is_enabled=True, is_tie_breaker=False, timeout_s=1.0, base_url=""
        )
        for each in ids
    }
    policy = PricePolicy(
        quorum=3,
        outlier_limit_pct=Decimal(3),
        outlier_floor_pct=Decimal("0.5"),
        outlier_mads=Decimal(5),
        max_confidence_pct=Decimal(3),
        max_jump_pct=Decimal(20),
        hold_s=10,
        carry_s=30,
        valuation=Valuation.MARK,
        peg=None,
        quotations={each: Quotation(each, 60, 0, 1, each) for each in ids},
    )
    second = int(now.timestamp())
    books = [
        {
            each: SourceAnswer((10**10 + asset * 10**6) * (10_000 + place) // 10_000, -8, 10**5, second, "1")
            for place, each in enumerate(ids)
        }
        for asset in range(_CORE_ASSETS)
    ]

    def decide() -> None:
        for answers in books:
            decide_mark(answers, sources, policy, as_of=now)

    decide()
    cpu = statistics.median(_milliseconds(decide)[1] for _ in range(7))
    return [
        Row(
            f"aggregation of {_CORE_ASSETS} assets x {_CORE_SOURCES} sources: CPU, median",
            cpu,
            "ms",
            "a tenth of a tick of one second",
            _CORE_LIMIT_MS,
        )
    ]


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ticks", type=int, default=40)
    options = parser.parse_args()
    report("prices_tick", [*_measure_ticks(options.ticks), *_measure_aggregation()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
