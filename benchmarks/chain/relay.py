"""The relay on a chain of deposits: reading and decoding, relaying end to end, catching up, latency.

    python -m benchmarks.chain.relay [--events 100000] [--behind 5000] [--blocks 100] [--interval-s 0.2]

One anvil and Google's Firestore and Pub/Sub emulators on this machine, so whatever takes wall time shares its
processors; what is counted per CPU-second is this process's own. Reading and decoding is held against anvil's
own rate of serving the same logs, unread, against a decoder written for this one event that checks nothing,
and against web3.py in the same run (:mod:`web3_peer`); with ``--without-web3`` its environment is not made.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import urllib3

from benchmarks.measure import timed
from benchmarks.peer_environment import ROOT, peer_python
from benchmarks.results import Row, report, table
from local.chain import LocalChain, Transaction, deposit
from local.deployment import CHAIN_ID
from local.emulators import EmulatorHosts, running_emulators
from local.provision import provision_messaging
from shared import config
from shared.chain import blocks
from shared.chain.contract_events import decode_log
from shared.chain.new_heads import NewHeads
from shared.events import topics
from shared.manifest import load_manifest
from shared.messaging import puller
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.relay.chain_relay import ChainRelay
from shared.runtime.relay.sighting import look
from shared.runtime.relay.working import begin
from shared.runtime.waking import Alarm
from shared.runtime.window import tick_under_lease
from shared.stores import chain_cursors, database

PROJECT = "bench-chain"
ACCOUNTS, EVENTS_PER_BLOCK, BLOCK_RANGE = 200, 200, 100
READ_RANGE = 5
"""What the relay itself comes to ask for where blocks are so full."""
_PEER_PINS = Path(__file__).parent / "web3-peer" / "requirements.txt"
_SUBSCRIPTION = f"archive_events--{topics.SETTLEMENT_EVENTS}"
_MARK = 134_000
"""Events per CPU-second of reading and decoding by hand, without any checks, where events have four words."""
_MARK_MB = 119
"""Its peak memory."""
_EVENTS_BETWEEN_WORDS = 20_000
_SECONDS_BETWEEN_WORDS = 15.0
_OVERHEAD_S = 0.05


class Bench:
    """A chain of our contracts and a relay of it, that has not begun."""

    def __init__(self, hosts: EmulatorHosts, folder: Path, interval_s: float) -> None:
        self.rpc = hosts.rpc
        self.chain = LocalChain(hosts.rpc)
        self.deployment = self.chain.deploy()
        self.chain.client.call("evm_setBlockGasLimit", hex(10**9))
        self.accounts = [f"0x{0xBE:08x}{number:032x}" for number in range(1, ACCOUNTS + 1)]
        self.chain.set_balances(dict.fromkeys(self.accounts, 10**30))
        self.start_block = self.head() + 1
        self._nonces: dict[str, int] = {}
        self._turn = 0
        network = self.deployment.network(start_block=self.start_block)
        network["chains"][0] |= {"block_range": BLOCK_RANGE}
        description = folder / "network.json"
        description.write_text(json.dumps(network))
        os.environ.update(
            hosts.environment(),
            FUSION_ENVIRONMENT="test",
            GOOGLE_CLOUD_PROJECT=PROJECT,
            LOG_LEVEL="ERROR",
            NETWORK_FILE=str(description),
            RPC_URLS=f"{CHAIN_ID}={hosts.rpc}",
            RELAY_INTERVAL_S=str(interval_s),
            WINDOW_S="3600",
        )
        manifest = load_manifest(ROOT / "functions.yaml")
        provision_messaging(manifest, project=PROJECT, pubsub_host=hosts.pubsub, push_base_url=None)
        self.context = self._context()
        self.relay = ChainRelay(self.context, self.context.network.chains[CHAIN_ID])
        self._source = puller.connect(self.context.settings)

    def _context(self) -> Context:
        settings = config.load(
            uses=("firestore", "pubsub"),
            settings=("NETWORK_FILE", "RPC_URLS", "RELAY_INTERVAL_S", "WINDOW_S"),
        )
        trace = f"00-{clock.new_id()}-{'1' * 16}-01"
        return Context("relay_chain_events", settings, datetime.now(UTC), clock.new_id(), trace)

    def head(self) -> int:
        """The newest block's number."""
        return blocks.head_number(self.chain.client)

    def cursor(self) -> int:
        """The last block that is announced."""
        known = chain_cursors.find(self.relay.database, CHAIN_ID)
        return known[0].block_number if known else self.start_block - 1

    def verified(self) -> int:
        """The last block that was read a second time."""
        known = chain_cursors.find(self.relay.database, CHAIN_ID)
        return known[0].verified_number if known else self.start_block - 1

    def mine(self, count: int) -> float:
        """Mine a block of so many deposits; the moment at which it was there."""
        self.chain.client.call("evm_setAutomine", False)
        calls = []
        for _ in range(count):
            self._turn += 1
            account = self.accounts[self._turn % ACCOUNTS]
            (each,) = deposit(self.deployment, account, "ETH", self._turn)
            calls.append(("eth_sendTransaction", [self._fields(replace(each, gas=400_000))]))
        self.chain.client.batch(calls)
        self.chain.client.call("evm_mine")
        return time.time()

    def _fields(self, item: Transaction) -> dict[str, str]:
        nonce = self._nonces.get(item.sender, 0)
        self._nonces[item.sender] = nonce + 1
        fields = {"from": item.sender, "to": str(item.to), "data": item.data, "value": hex(item.value)}
        return fields | {"gas": hex(item.gas), "nonce": hex(nonce)}

    def take(self) -> list[datetime]:
        """When Pub/Sub took each of the events that wait; they are acknowledged."""
        moments: list[datetime] = []
        while True:
            taken = self._source.pull(_SUBSCRIPTION)
            if not taken:
                return moments
            moments += [message.published_at for message in taken]
            self._source.acknowledge(taken)

    def catch_up(self) -> None:
        """Relay until everything is announced."""
        step = begin(self.context)
        target = self.head()
        while (cursor := self.cursor()) < target:
            _say(f"announced up to block {cursor} of {target}")
            step()

    def verify(self) -> None:
        """Relay until what is final was read a second time, and announced as final."""
        step = begin(self.context)
        said_at = time.monotonic()
        while step():
            if time.monotonic() - said_at > _SECONDS_BETWEEN_WORDS:
                _say(f"read up to block {self.verified()} of {self.head()} a second time")
                said_at = time.monotonic()
        self.take()


def _ranges(first: int, last: int) -> list[tuple[int, int]]:
    starts = range(first, last + 1, READ_RANGE)
    return [(start, min(last, start + READ_RANGE - 1)) for start in starts]


def measure_reading(bench: Bench, with_web3: bool) -> list[Row]:
    """Reading and decoding what is on the chain, against anvil alone and web3.py; and what takes the time."""
    first, last = bench.start_block, bench.head()
    chain = bench.relay.chain
    (provider,) = bench.relay.nodes.providers
    wanted = bench.relay.wanted
    found = 0
    begun_mb = _peak_memory_mb()
    headers_s = logs_s = decode_s = 0.0
    for start, end in _ranges(first, last):
        moments = [time.process_time()]
        headers = blocks.read_headers(provider, start, end)
        moments.append(time.process_time())
        logs = blocks.read_logs(provider, wanted, headers)
        moments.append(time.process_time())
        for log in logs:
            decode_log(chain, log, headers[int(log["blockNumber"], 16) - start].time)
        moments.append(time.process_time())
        found += len(logs)
        headers_s += moments[1] - moments[0]
        logs_s += moments[2] - moments[1]
        decode_s += moments[3] - moments[2]
    memory_mb = _peak_memory_mb()
    _say(f"read {found} events")

    def prove() -> None:
        view = look(bench.relay.nodes, chain, None)
        for start, end in _ranges(first, last):
            proven = bench.relay.read(view, start, end)
            for log in proven.logs:
                decode_log(chain, log, proven.headers[int(log["blockNumber"], 16) - start].time)

    proved = timed(prove)
    _say("proved them")
    served = timed(lambda: _serve(bench, first, last, _unread))
    parsed = timed(lambda: _serve(bench, first, last, orjson.loads))
    unchecked = timed(lambda: _serve(bench, first, last, _decode_by_hand))
    serving = found / served.wall_s
    rate = found / (headers_s + logs_s + decode_s)
    unit = "events/CPU-s"
    name = f"read and decode {found} events"
    rows = [
        Row(name, rate, unit, "anvil serving the logs, same run", serving, f"mark {_MARK}"),
        Row(name, rate, unit, "by hand, checking nothing, same run", found / unchecked.cpu_s),
        Row(f"{name}: decoding alone", found / decode_s, unit, "mark", _MARK),
        Row(f"{name}: logs over HTTP, checked", found / logs_s, unit, "orjson alone", found / parsed.cpu_s),
        Row(f"{name}: headers, of {last - first + 1} blocks", found / headers_s, unit),
        Row(f"{name}: peak memory of the process", memory_mb, "MB", "mark", _MARK_MB),
        Row(f"{name}: peak memory, more than before", memory_mb - begun_mb, "MB"),
        Row(f"{name}, proven by receipts", found / proved.cpu_s, unit, "without proof", rate),
    ]
    if with_web3:
        peer = _web3(bench, first, last)
        if peer["events"] != found:
            raise SystemExit(f"web3.py found {peer['events']} events, we {found}")
        other = found / peer["cpu_s"]
        rows.append(Row(name, rate, unit, "web3.py get_logs + process_log", other))
        _say("web3.py read them")
    return rows


def _serve(bench: Bench, first: int, last: int, parse: Callable[[bytes], object]) -> None:
    """Have the same logs served by anvil."""
    wanted = bench.relay.wanted
    pool = urllib3.PoolManager()
    for start, end in _ranges(first, last):
        query = {"address": list(wanted.emitters), "topics": [list(wanted.topics)]}
        span = {"fromBlock": hex(start), "toBlock": hex(end)}
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [query | span]})
        answer = pool.request("POST", bench.rpc, body=body, headers={"Content-Type": "application/json"})
        if b'"error"' in answer.data[:200]:
            raise SystemExit(answer.data[:200].decode())
        parse(answer.data)


def _unread(_answer: bytes) -> None:
    """What is served is not looked at."""


def _decode_by_hand(answer: bytes) -> None:
    """The fields of PositionChanged as a dictionary, as one would write it for this event alone."""
    names = ("sequence", "kind", "amount", "collateral", "debt_shares", "debt", "supply_shares", "supplied")
    for log in orjson.loads(answer)["result"]:
        data = log["data"]
        fields = {name: int(data[2 + 64 * at : 66 + 64 * at], 16) for at, name in enumerate(names)}
        fields["borrow_index"] = int(data[514:578], 16)
        fields["account"], fields["asset"] = "0x" + log["topics"][1][26:], "0x" + log["topics"][2][26:]
        fields["block_number"], fields["log_index"] = int(log["blockNumber"], 16), int(log["logIndex"], 16)
        fields["block_hash"], fields["transaction_hash"] = log["blockHash"], log["transactionHash"]


def _peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _web3(bench: Bench, first: int, last: int) -> dict[str, float]:
    python = peer_python("bench-web3", _PEER_PINS)
    abi = ROOT / "contracts" / "abi" / "Vault.json"
    command = [str(python), "-m", "benchmarks.chain.web3_peer", bench.rpc, bench.deployment.vault, str(abi)]
    numbers = [str(number) for number in (first, last, BLOCK_RANGE)]
    answer = subprocess.run([*command, *numbers], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def measure_relaying(bench: Bench, events: int) -> list[Row]:
    """From the chain to Pub/Sub, with the proofs, the outbox and the cursor."""
    timing = timed(bench.catch_up)
    _say(f"relayed {events} events")
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
    _say(f"caught up with {behind} blocks")
    if len(bench.take()) != events:
        raise SystemExit("events of the outage are missing")
    return [Row(f"catch up after {behind // 50 * 50} blocks with {events} events", timing.wall_s, "s")]


def measure_verifying(bench: Bench) -> list[Row]:
    """The second reading of all that is final by now, which would otherwise share the next measurements."""
    verified = bench.verified()
    timing = timed(bench.verify)
    blocks_read = bench.verified() - verified
    _say(f"read {blocks_read} blocks a second time")
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
                _say(f"made {start} of {options.events} events")
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
                _say(line)
            rows += measured
    report("chain_relay", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
