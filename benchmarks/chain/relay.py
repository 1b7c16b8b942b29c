"""The relay on a chain of deposits: reading and decoding, relaying end to end, catching up, latency.

    python -m benchmarks.chain.relay [--events 100000] [--behind 5000] [--blocks 100] [--interval-s 0.2]

One anvil and Google's Firestore and Pub/Sub emulators on this machine, so whatever takes wall time shares its
processors; what is counted per CPU-second is this process's own. Reading and decoding is held against anvil's
own rate of serving the same logs, unread, against a decoder written for this one event that checks nothing,
and against web3.py in the same run (:mod:`benchmarks.chain.web3_peer`), unless ``--without-web3`` is given.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.chain.bench import EVENTS_PER_BLOCK, Bench, say
from benchmarks.chain.reading import measure_reading
from benchmarks.measure import timed
from benchmarks.results import Row, report, table
from local.emulators import running_emulators
from shared.chain.new_heads import NewHeads
from shared.runtime.relay.working import begin
from shared.runtime.waking import Alarm
from shared.runtime.window import tick_under_lease
from shared.stores import database

_EVENTS_BETWEEN_WORDS = 20_000
_OVERHEAD_S = 0.05


def measure_relaying(bench: Bench, events: int) -> list[Row]:
    """From the chain to Pub/Sub, with the proofs, the outbox and the cursor."""
    timing = timed(bench.catch_up)
    say(f"relayed {events} events")
    taken = len(bench.take())
    if taken != events:
        raise SystemExit(f"{taken} of {events} events were published")
    return [
        Row(f"relay {events} events end to end", events / timing.wall_s, "events/s"),
        Row(f"relay {events} events end to end", events / timing.cpu_s, "events/CPU-s"),
    ]


def measure_catching_up(bench: Bench, behind: int) -> list[Row]:
    """After an outage of so many blocks, of which one in fifty has events."""
    events = 0
    for _ in range(behind // 50):
        bench.mine(10)
        events += 10
        bench.chain.client.call("anvil_mine", hex(49))
    timing = timed(bench.catch_up)
    say(f"caught up with {behind} blocks")
    if len(bench.take()) != events:
        raise SystemExit("events of the outage are missing")
    return [Row(f"catch up after {behind // 50 * 50} blocks with {events} events", timing.wall_s, "s")]


def measure_verifying(bench: Bench) -> list[Row]:
    """The second reading of all that is final by now, which would otherwise share the next measurements."""
    verified = bench.verified()
    timing = timed(bench.verify)
    blocks_read = bench.verified() - verified
    say(f"read {blocks_read} blocks a second time")
    return [Row("second reading of final blocks", blocks_read / timing.wall_s, "blocks/s")]


def measure_latency(bench: Bench, count: int, interval_s: float, *, woken: bool) -> list[Row]:
    """From a block that is there to its event in Pub/Sub, blocks coming at any moment of the interval.

    ``woken``: by the node's new heads, as the function and the worker are, instead of by the interval alone.
    """
    ended = threading.Event()

    def begin_until_ended() -> Callable[[], bool]:
        step = begin(bench.context)

        def tick() -> bool:
            if ended.is_set():
                raise SystemExit
            return step()

        return tick

    def relay() -> None:
        alarm = Alarm()
        with NewHeads([bench.rpc.replace("http", "ws", 1)] if woken else [], alarm.ring):
            tick_under_lease(
                database.connect(bench.context.settings),
                bench.context,
                interval_s=interval_s,
                begin=begin_until_ended,
                wait=alarm.wait,
            )

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    moments = random.Random(1)
    latencies: list[float] = []
    bench.mine(1)
    _wait_for(bench)
    for _ in range(count):
        time.sleep(interval_s * moments.random())
        mined_at = bench.mine(1)
        (published_at,) = _wait_for(bench)
        latencies.append(max(0.0, published_at.timestamp() - mined_at))
    ended.set()
    thread.join()
    if woken:
        target, limit_ms = f"{_OVERHEAD_S * 1_000:g} ms", _OVERHEAD_S * 1_000
    else:
        target = f"interval of {interval_s:g} s + {_OVERHEAD_S * 1_000:g} ms"
        limit_ms = (interval_s + _OVERHEAD_S) * 1_000
    p50, p95 = statistics.median(latencies), statistics.quantiles(latencies, n=20)[-1]
    name = f"block to published, {'woken by a WebSocket' if woken else 'polling'}, {count} blocks"
    return [
        Row(f"{name}, p50", p50 * 1_000, "ms", target, limit_ms),
        Row(f"{name}, p95", p95 * 1_000, "ms", target, limit_ms),
    ]


def _wait_for(bench: Bench) -> list[datetime]:
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        taken = bench.take()
        if taken:
            return taken
        time.sleep(0.02)
    raise SystemExit("a block was not announced within 30 s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--behind", type=int, default=5_000)
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--interval-s", type=float, default=0.2)
    parser.add_argument("--without-web3", action="store_true")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="fusion-prime-") as folder,
        running_emulators(Path(folder), names=("firestore", "pubsub", "anvil")) as hosts,
    ):
        bench = Bench(hosts, Path(folder), options.interval_s)
        for start in range(0, options.events, EVENTS_PER_BLOCK):
            bench.mine(min(EVENTS_PER_BLOCK, options.events - start))
            if start % _EVENTS_BETWEEN_WORDS == 0:
                say(f"made {start} of {options.events} events")
        rows: list[Row] = []
        measurements: Sequence[Callable[[], list[Row]]] = (
            lambda: measure_reading(bench, not options.without_web3),
            lambda: measure_relaying(bench, options.events),
            lambda: measure_catching_up(bench, options.behind),
            lambda: measure_verifying(bench),
            lambda: measure_latency(bench, options.blocks, options.interval_s, woken=False),
            lambda: measure_latency(bench, options.blocks, options.interval_s, woken=True),
        )
        for measure in measurements:
            measured = measure()
            # Said at once: the whole takes a quarter of an hour, and may be cut.
            for line in table({"chain_relay": measured}):
                say(line)
            rows += measured
    report("chain_relay", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
