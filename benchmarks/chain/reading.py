"""Reading and decoding what is on a chain, and those that it is held against."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import urllib3

from benchmarks.chain.bench import Bench, say
from benchmarks.measure import timed
from benchmarks.peer_environment import ROOT, peer_python
from benchmarks.results import Row
from shared.chain import blocks
from shared.chain.contract_events import decode_log
from shared.runtime.relay.sighting import look

READ_RANGE = 5
"""What the relay itself comes to ask for where blocks are so full."""
_PEER_PINS = Path(__file__).parent / "web3-peer" / "requirements.txt"
_MARK = 134_000
"""Events per CPU-second of reading and decoding by hand, without any checks, where events have four words."""
_MARK_MB = 119
"""Its peak memory."""


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
    say(f"read {found} events")

    def prove() -> None:
        view = look(bench.relay.nodes, chain, None)
        for start, end in _ranges(first, last):
            proven = bench.relay.read(view, start, end)
            for log in proven.logs:
                decode_log(chain, log, proven.headers[int(log["blockNumber"], 16) - start].time)

    proved = timed(prove)
    say("proved them")
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
        say("web3.py read them")
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


def _web3(bench: Bench, first: int, last: int) -> dict[str, float]:
    python = peer_python("bench-web3", _PEER_PINS)
    abi = ROOT / "contracts" / "abi" / "Vault.json"
    command = [str(python), "-m", "benchmarks.chain.web3_peer", bench.rpc, bench.deployment.vault, str(abi)]
    numbers = [str(number) for number in (first, last, READ_RANGE)]
    answer = subprocess.run([*command, *numbers], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(answer.stdout)
    return found
