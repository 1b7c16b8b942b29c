"""measure_risk at the size of a block: its memory and time against the function's limits, and a crash in it.

    python -m benchmarks.margin.measure_risk [--accounts 10000]

The function runs as a process of its own, as it is deployed, on the emulators, over accounts with seven of a
hundred assets. In the first run it is killed once the block's first table is loaded; another process goes on,
and every row must be there once. The second run is not disturbed: its peak memory (the kernel's high-water
mark), CPU and wall time are held against ``functions.yaml``. Loads go to an emulator, which takes some
thousand rows a second; so what the block takes without them is measured as well, in this process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import urllib3

from benchmarks.margin import risk_book
from benchmarks.measure import timed
from benchmarks.progress import say
from benchmarks.results import Row, report
from local.emulators import EmulatorHosts, base_environment, running_emulators
from local.ports import free_ports
from local.provision import provision_warehouse
from shared.config import load
from shared.domain.market import Market
from shared.domain.network import parse_network
from shared.domain.positions import Account
from shared.domain.risk_block import Inputs, measure_block
from shared.manifest import load_manifest
from shared.risk.measurement_policy import measurement_policy
from shared.risk.stress import historical_stress_scenarios
from shared.stores import accounts, database, risk_runs, ticks
from shared.warehouse import client as warehouse_client
from shared.warehouse.client import Warehouse
from shared.warehouse.loading import load_once
from shared.warehouse.risk_rows import (
    HOUSE_RISKS,
    HOUSE_SHORTFALLS,
    MARGIN_REQUIREMENTS,
    PORTFOLIO_RISKS,
    STRESS_TEST_RESULTS,
    rows_of_block,
)

ROOT = Path(__file__).resolve().parents[2]
FUNCTION = "measure_risk"
PROJECT, DATASET = "benchmark", "fusion"
ANSWERS_WITHIN_S = 900.0
OF_A_BLOCK = (PORTFOLIO_RISKS, MARGIN_REQUIREMENTS, STRESS_TEST_RESULTS, HOUSE_SHORTFALLS)
MEMORY, TIMEOUT = "the function's memory", "the function's time limit"


@dataclass(frozen=True)
class World:
    """The function's project."""

    environment: dict[str, str]
    client: database.Client
    warehouse: Warehouse
    listed: Sequence[Account]

    def put_tick(self, sequence: int) -> None:
        """Write a tick of now."""
        commit = database.Commit(self.client)
        ticks.add(commit, risk_book.tick(sequence))
        commit.apply()

    def count(self, table: str, as_of: str | None = None) -> tuple[int, int]:
        """Rows of a table, of one run or all, and how many of them differ by their ids."""
        where = "" if as_of is None else f" WHERE as_of = '{as_of}'"
        place = f"`{self.warehouse.dataset}.{table}`"
        statement = f"SELECT COUNT(*) AS n, COUNT(DISTINCT row_id) AS m FROM {place}{where}"
        (row,) = self.warehouse.client.query(statement).result()
        return row["n"], row["m"]


@contextmanager
def world(count: int) -> Iterator[World]:
    """Emulators with accounts, daily closes and the tables of a run."""
    with tempfile.TemporaryDirectory(prefix="fusion-prime-") as name:
        folder = Path(name)
        network = folder / "network.json"
        network.write_text(json.dumps(risk_book.network()))
        parse_network(network.read_bytes())
        with running_emulators(folder, ("firestore", "bigquery")) as hosts:
            environment = _environment(hosts, network)
            os.environ.update(environment)
            provision_warehouse(
                load_manifest(ROOT / "functions.yaml"),
                project=PROJECT,
                bigquery_url=hosts.bigquery,
                dataset=DATASET,
                tables={*OF_A_BLOCK, HOUSE_RISKS, "price_bars"},
            )
            settings = load(uses=("firestore", "bigquery"), settings=("BIGQUERY_DATASET",))
            client, warehouse = database.connect(settings), warehouse_client.connect(settings)
            say(f"writing {count} accounts and {len(risk_book.ASSETS)} assets' daily closes")
            listed = risk_book.book(count)
            for start in range(0, count, database.MAX_WRITES):
                batch = client.batch()
                for account in listed[start : start + database.MAX_WRITES]:
                    batch.set(client.document(accounts.path(account.account_id)), accounts.encode(account))
                batch.commit()
            load_once(
                warehouse,
                "price_bars",
                risk_book.closes(measurement_policy().n_returns + 1),
                load_id="closes",
            )
            yield World(environment, client, warehouse, listed)


def _environment(hosts: EmulatorHosts, network: Path) -> dict[str, str]:
    return {
        **hosts.environment(),
        "FUSION_ENVIRONMENT": "local",
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "LOG_LEVEL": "ERROR",
        "NETWORK_FILE": str(network),
        "BIGQUERY_DATASET": DATASET,
        "RISK_BLOCK_ACCOUNTS": "10000",
        "WINDOW_S": "55",
    }


@dataclass
class Instance:
    """A process of the function."""

    process: subprocess.Popen[bytes]
    url: str

    def call(self, body: Any = None) -> dict[str, Any]:
        """Call it and wait for its answer."""
        response = urllib3.request("POST", self.url, json=body, timeout=ANSWERS_WITHIN_S, retries=False)
        if response.status != 200:
            raise RuntimeError(f"{FUNCTION} answered {response.status}: {response.data!r}")
        answer: dict[str, Any] = json.loads(response.data)
        return answer

    def call_and_forget(self) -> None:
        """Call it, and do not wait for its answer."""
        try:
            urllib3.request("POST", self.url, timeout=urllib3.Timeout(connect=5.0, read=0.1), retries=False)
        except urllib3.exceptions.ReadTimeoutError:
            return
        raise RuntimeError(f"{FUNCTION} answered within a tenth of a second")

    def workers(self) -> list[psutil.Process]:
        """Its processes: the server's and those that answer."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU seconds of all its processes, of all threads."""
        times = [each.cpu_times() for each in self.workers()]
        return sum(each.user + each.system for each in times)

    def peak_mib(self) -> float:
        """The highest resident memory that each of its processes ever had, together: not less than what a
        container is charged with, but for pages that they share."""
        status = [Path(f"/proc/{each.pid}/status").read_text() for each in self.workers()]
        lines = [line for text in status for line in text.splitlines() if line.startswith("VmHWM:")]
        return sum(int(line.split()[1]) for line in lines) / 1024

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        for each in reversed(self.workers()):
            each.kill()
        self.process.wait()


@contextmanager
def instance(running: World) -> Iterator[Instance]:
    """The function as its platform starts it."""
    (port,) = free_ports(1)
    command = [
        str(Path(sys.executable).with_name("functions-framework")),
        f"--target={FUNCTION}",
        f"--source={ROOT / 'main.py'}",
        "--host=127.0.0.1",
        f"--port={port}",
    ]
    environment = base_environment() | running.environment | {"PYTHONPATH": str(ROOT)}
    started = Instance(subprocess.Popen(command, env=environment), f"http://127.0.0.1:{port}/")
    try:
        patient = urllib3.Retry(total=12, backoff_factor=0.05)
        # The framework answers this path itself.
        urllib3.request("GET", f"{started.url}robots.txt", retries=patient)
        yield started
    finally:
        if started.process.poll() is None:
            started.kill()


def crash_in_a_block(running: World) -> tuple[dict[str, Any], float]:
    """Kill an instance between two loads of a block, and go on with another: its answer, and how long it
    took."""
    running.put_tick(1)
    with instance(running) as first:
        say("first run: killed once the first table of its block is loaded")
        first.call_and_forget()
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while not running.count(OF_A_BLOCK[0])[0]:
            if time.monotonic() > deadline or first.process.poll() is not None:
                raise RuntimeError("the block's first table was not loaded")
            time.sleep(0.2)
        first.kill()
    loaded = [table for table in OF_A_BLOCK if running.count(table)[0]]
    say(f"killed; loaded so far: {', '.join(loaded)}")
    if len(loaded) == len(OF_A_BLOCK):
        raise RuntimeError("the whole block was loaded before the kill")
    # A dead process's lease ends by itself, after two minutes.
    running.client.document(f"leases/{FUNCTION}").update({"until": datetime.fromtimestamp(0, UTC)})
    with instance(running) as second:
        started = time.perf_counter()
        answer = _until_done(second)
        return answer, time.perf_counter() - started


def _until_done(called: Instance, body: Any = None) -> dict[str, Any]:
    answer = called.call(body)
    while answer["state"] != "done":
        say(f"{answer['accounts']} accounts are measured")
        answer = called.call()
    return answer


def check(running: World, answer: dict[str, Any]) -> dict[str, int]:
    """Rows by table; each there once.

    Raises:
        RuntimeError: a row is missing, or there twice.
    """
    policy, count = measurement_policy(), len(running.listed)
    expected = {
        PORTFOLIO_RISKS: count
        * len(policy.recorded_methods)
        * len(policy.horizons_days)
        * len(policy.levels),
        MARGIN_REQUIREMENTS: count,
        STRESS_TEST_RESULTS: count * len(historical_stress_scenarios()),
    }
    found: dict[str, int] = {}
    for table in OF_A_BLOCK:
        rows, different = running.count(table, answer["as_of"])
        if rows != different or rows != expected.get(table, rows):
            raise RuntimeError(f"{table}: {rows} rows, {different} different, of {expected.get(table)}")
        found[table] = rows
    if answer["accounts"] != count:
        raise RuntimeError(f"{answer['accounts']} of {count} accounts were measured")
    return found


def block_alone(running: World) -> list[Row]:
    """A block of the run's accounts in this process, without loads."""
    network = parse_network(Path(running.environment["NETWORK_FILE"]).read_bytes())
    policy = measurement_policy()
    pinned = risk_runs.get_inputs(running.client, policy)
    if pinned.tick is None:
        raise RuntimeError("the run had no tick")
    market = Market.at(
        network,
        pinned.tick.usable_marks(),
        indexes=pinned.tick.borrow_indexes,
        tick_sequence=pinned.tick.sequence,
        as_of=pinned.tick.as_of,
    )
    inputs = Inputs(network, market, pinned.history, policy, historical_stress_scenarios())
    block = running.listed[: int(running.environment["RISK_BLOCK_ACCOUNTS"])]
    moment = datetime.now(UTC)
    measured = measure_block(inputs, block, as_of=moment.isoformat())
    sizes: dict[str, int] = {}

    def encode() -> None:
        for table, rows in rows_of_block(measured, moment).items():
            sizes[table] = sum(len(json.dumps(row.values)) + 1 for row in rows)

    computing = timed(lambda: measure_block(inputs, block, as_of=moment.isoformat()))
    encoding = timed(encode)
    name = f"a block of {len(block)} accounts"
    return [
        Row(f"{name}: measured", computing.wall_s, "s", "", None, f"CPU {computing.cpu_s:.1f} s"),
        Row(f"{name}: its rows as JSON", encoding.wall_s, "s", "", None, f"CPU {encoding.cpu_s:.1f} s"),
        Row(f"{name}: what is loaded", sum(sizes.values()) / 2**20, "MiB"),
        Row(f"{name}: end insolvent in a scenario", len(measured.shortfalls), "accounts"),
    ]


def measure(count: int) -> list[Row]:
    """The figures of a run."""
    limits = load_manifest(ROOT / "functions.yaml").functions[FUNCTION]
    with world(count) as running:
        answer, resumed_s = crash_in_a_block(running)
        rows = check(running, answer)
        say(f"resumed and done in {resumed_s:.0f} s, {sum(rows.values())} rows, each once")
        running.put_tick(2)
        with instance(running) as undisturbed:
            say("second run: undisturbed")
            idle_mib, cpu_before = undisturbed.peak_mib(), undisturbed.cpu_s()
            started = time.perf_counter()
            answer = _until_done(undisturbed, {})
            wall_s = time.perf_counter() - started
            cpu_s, peak = undisturbed.cpu_s() - cpu_before, undisturbed.peak_mib()
        rows = check(running, answer)
        say("a block alone")
        blocks = max(1, answer["blocks"])
        name = f"{count} accounts in {blocks} block{'s' if blocks > 1 else ''}"
        emulated = "loads into the emulator included"
        return [
            Row(f"{name}: peak memory", peak, "MiB", MEMORY, limits.memory_mb, f"idle {idle_mib:.0f} MiB"),
            Row(f"{name}: wall a block", wall_s / blocks, "s", TIMEOUT, limits.timeout_s, emulated),
            Row(f"{name}: CPU a block", cpu_s / blocks, "CPU s", TIMEOUT, limits.timeout_s),
            Row(f"{name}: rows", sum(rows.values()), "rows", "", None, "each once, after a crash as well"),
            Row(f"{name}: killed in a block, gone on with", resumed_s, "s", "undisturbed", wall_s),
            *block_alone(running),
        ]


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=10_000)
    report("risk_measure_run", measure(parser.parse_args().accounts))


if __name__ == "__main__":
    main()
