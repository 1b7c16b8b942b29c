"""Price ticks while sources fail: half of all requests, then every one, then none.

    python -m tests.chaos.prices [--ticks 120] [--interval 0.5]

Prints the figures and, as the last line, JSON; ends with 0 where they hold:
with half of all requests failing, at 99 % of the ticks every asset has a mark that was heard within three
intervals; with every source down nothing is published; afterwards every mark is OK again by itself.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local.emulators import running_emulators
from local.fault_proxy import FaultProxy
from local.forwarding import serve
from local.ports import free_ports
from local.price_market import PriceMarket, price_market
from shared.domain.marks import MarkStatus, decide_mark
from shared.domain.network import Network
from shared.events.price_ticks import before, next_tick
from shared.events.prices import PriceTick, SourceQuote
from shared.runtime.price_reading import PriceReader

_ASSETS = 10
_INTERVALS = 3
_TARGET = 0.99
_RECOVERS_WITHIN_S = 30.0


class Ticker:
    """Ticks as ``fetch_prices`` does, without a store."""

    def __init__(self, reader: PriceReader, network: Network, interval_s: float) -> None:
        self._reader, self._network, self._interval_s = reader, network, interval_s
        self.latest: PriceTick | None = None

    def tick(self) -> PriceTick | None:
        """The next tick at the next interval; None where nothing was heard."""
        started = time.monotonic()
        reading = self._reader.read()
        now = datetime.now(UTC)
        tick = None
        if reading.failure is None:
            marks = {} if self.latest is None else {mark.asset: mark for mark in self.latest.marks}
            decisions = {
                asset.asset: decide_mark(
                    reading.answers[asset.asset],
                    self._network.price_sources,
                    asset.prices,
                    before=before(marks.get(asset.asset), asset),
                    as_of=now,
                )
                for asset in self._network.assets.values()
            }
            tick = self.latest = next_tick(
                self.latest, decisions, self._network.assets, reading.block_numbers, now, markets=()
            )
        left_s = started + self._interval_s - time.monotonic()
        threading.Event().wait(max(0.0, left_s))
        return tick

    def is_valid(self) -> bool:
        """Whether every asset has a usable mark of which a quote was heard within three intervals."""
        if self.latest is None:
            return False
        since = datetime.now(UTC) - timedelta(seconds=(_INTERVALS + 1) * self._interval_s)
        return all(
            mark.is_usable and any(_is_heard(quote, since) for quote in mark.quotes)
            for mark in self.latest.marks
        )


def _is_heard(quote: SourceQuote, since: datetime) -> bool:
    return quote.refusal is None and quote.read_at is not None and quote.read_at >= since


def _set_failing(market: PriceMarket, proxies: list[FaultProxy], fraction: float) -> None:
    market.hermes.set_faults({"failing_fraction": fraction, "cut": 1.0 if fraction >= 1 else 0.0})
    for proxy in proxies:
        proxy.change({"failing_fraction": fraction, "hold_s": 1.0})


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ticks", type=int, default=120)
    parser.add_argument("--interval", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with (
        tempfile.TemporaryDirectory(prefix="fusion-prime-") as folder,
        running_emulators(Path(folder), names=("anvil",)) as hosts,
        price_market(hosts.rpc, _ASSETS) as market,
    ):
        proxies = [FaultProxy(hosts.rpc, options.seed + number) for number in range(2)]
        ports = free_ports(len(proxies))
        for proxy, port in zip(proxies, ports, strict=True):
            threading.Thread(target=serve, args=(proxy, port), daemon=True).start()
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        network = market.network(transport="stream", timeout_s="0.4")
        ticker = Ticker(PriceReader(network, market.settings(urls)), network, options.interval)
        ticker.tick()

        _set_failing(market, proxies, 0.5)
        valid = 0
        statuses: Counter[str] = Counter()
        published = 0
        for _ in range(options.ticks):
            tick = ticker.tick()
            valid += ticker.is_valid()
            if tick is not None:
                published += 1
                statuses.update(mark.status.value for mark in tick.marks)

        _set_failing(market, proxies, 1.0)
        ticker.tick()
        while_down = sum(ticker.tick() is not None for _ in range(10))

        _set_failing(market, proxies, 0.0)
        back = time.monotonic()
        recovered_s: float | None = None
        while time.monotonic() - back < _RECOVERS_WITHIN_S:
            tick = ticker.tick()
            if tick is not None and all(mark.status is MarkStatus.OK for mark in tick.marks):
                recovered_s = time.monotonic() - back
                break
    fraction = valid / options.ticks
    summary = {
        "seed": options.seed,
        "ticks": options.ticks,
        "interval_s": options.interval,
        "half_failing": {
            "valid_within_three_intervals": fraction,
            "published": published,
            "marks_by_status": dict(statuses),
        },
        "all_down": {"ticks_published_of_10": while_down},
        "recovered_after_s": recovered_s,
    }
    holds = fraction >= _TARGET and while_down == 0 and recovered_s is not None
    print(f"half of all requests fail: valid marks at {fraction:.1%} of {options.ticks} ticks")
    print(f"every source down: {while_down} of 10 ticks published")
    print(f"recovered: {'never' if recovered_s is None else f'every mark OK after {recovered_s:.1f} s'}")
    print(json.dumps(summary | {"holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
