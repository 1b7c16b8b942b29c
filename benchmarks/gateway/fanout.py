"""From a published price to its subscribers: ``python -m benchmarks.gateway.fanout``.

Ticks are published in turn to the gateway's project and to the floor's (:mod:`benchmarks.gateway.floor`),
each when the one before has reached every subscriber, so that both are measured under the same load of the
machine. A latency is from just before the publish to the arrival of the frame in the subscribers' process;
both clocks are the machine's monotonic one.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.gateway.process import ROOT, free_port, running, settings_of, wait_for_port
from benchmarks.results import Row, report
from local.emulators import EmulatorHosts, running_emulators
from local.price_data import single_feed_prices
from local.provision import provision_messaging
from shared.config import Settings
from shared.domain.api_keys import ApiKey, Scope, format_key, hash_secret
from shared.domain.interest import RAY
from shared.domain.marks import MarkStatus
from shared.domain.positions import Account, Position, position_key
from shared.events import topics
from shared.events.prices import Mark, MarketIndex, PriceTick, tick_id
from shared.manifest import load_manifest
from shared.messaging import publisher
from shared.messaging.publisher import OutboundMessage
from shared.stores import accounts, api_keys, database

WARM_UP_TICKS = 10
TARGET_RATIO = 2.0


def network_document() -> dict[str, object]:
    """A network of one chain and two assets."""
    feed = "0x" + "e1" * 20
    sources, prices = single_feed_prices(31337, dict.fromkeys(("ETH", "USDC"), feed))
    return {
        "margin_policy": {
            "warning_pct": "50",
            "margin_call_pct": "30",
            "liquidation_pct": "15",
            "hysteresis_pct": "2",
        },
        "tick_max_age_s": 3600,
        "price_sources": sources,
        "assets": {
            asset: {"collateral_factor": "1", "borrow_factor": "1", "prices": prices[asset]}
            for asset in ("ETH", "USDC")
        },
        "chains": [
            {
                "chain_id": 31337,
                "name": "anvil",
                "confirmations": 0,
                "finality": 64,
                "start_block": 0,
                "block_range": 2000,
                "vault": "0x" + "aa" * 20,
                "escrow_factory": "0x" + "bb" * 20,
                "multicall": "0x" + "ca" * 20,
                "tokens": {
                    "0x" + "00" * 20: {"asset": "ETH", "decimals": 18},
                    "0x" + "01" * 20: {"asset": "USDC", "decimals": 6},
                },
            }
        ],
    }


def environment(hosts: EmulatorHosts, project: str, folder: Path) -> dict[str, str]:
    """The environment of a process in a project."""
    network = folder / "network.json"
    network.write_text(json.dumps(network_document()))
    return {
        "FIRESTORE_EMULATOR_HOST": hosts.firestore,
        "PUBSUB_EMULATOR_HOST": hosts.pubsub,
        # Named because the gateway requires it; this benchmark asks it for no history.
        "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9",
        "BIGQUERY_DATASET": "fusion",
        "FUSION_ENVIRONMENT": "test",
        "GOOGLE_CLOUD_PROJECT": project,
        "LOG_LEVEL": "WARNING",
        "NETWORK_FILE": str(network),
    }


def seed(settings: Settings, count: int) -> str:
    """Write the accounts, all different, and a key for them; the key as its owner presents it."""
    client = database.connect(settings)
    now = datetime.now(UTC)
    for start in range(0, count, 400):
        commit = database.Commit(client)
        for number in range(start + 1, min(start + 400, count) + 1):
            held = (
                Position(31337, "ETH", 18, number * 10**18, 0, 1),
                Position(31337, "USDC", 6, 0, number * 1000 * 10**6, 1),
            )
            account = Account(
                f"0x{number:040x}", 1, now, {position_key(p.chain_id, p.asset): p for p in held}
            )
            commit.put(accounts.path(account.account_id), accounts.encode(account))
        commit.apply()
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    scopes = frozenset((Scope.ACCOUNTS_READ,))
    api_keys.put(client, ApiKey(key_id, hash_secret(secret), "benchmark", scopes, None, None, enabled=True))
    return format_key(key_id, secret)


def tick(sequence: int) -> PriceTick:
    """A tick whose prices differ from every other's."""
    now = datetime.now(UTC)
    prices = {"ETH": Decimal(2000) + Decimal(sequence) / 7, "USDC": Decimal(1)}
    marks = tuple(
        Mark(
            asset=asset,
            status=MarkStatus.OK,
            price=price.quantize(Decimal("0.00000001")),
            source="chainlink:31337",
            observed_at=now,
            max_age_s=3900,
        )
        for asset, price in prices.items()
    )
    return PriceTick(
        event_id=tick_id(sequence),
        sequence=sequence,
        as_of=now,
        block_numbers={},
        marks=marks,
        markets=tuple(
            MarketIndex(
                chain_id=31337, asset=asset, borrow_index=RAY + sequence, rate_per_second=1, reported_at=now
            )
            for asset in prices
        ),
    )


class Side:
    """One server with its subscribers, and how to publish to it."""

    def __init__(
        self, settings: Settings, server: subprocess.Popen[str], listener: subprocess.Popen[str]
    ) -> None:
        self._publisher = publisher.connect(settings)
        self._server = psutil.Process(server.pid)
        self._listener = listener
        self.cpu_ms: list[float] = []
        self._sequence = 0
        self.latencies_ms: list[float] = []
        self.frame_bytes = 0.0
        self._line()

    def publish(self) -> None:
        """Publish a tick and wait until every subscriber has it."""
        self._sequence += 1
        cpu_before_s = self._cpu_s()
        message = OutboundMessage(topics.MARKET_PRICES, tick(self._sequence).encode())
        published_ns = time.monotonic_ns()
        (failure,) = self._publisher.publish([message])
        if failure is not None:
            raise failure
        line = self._line()
        if line["sequence"] != self._sequence:
            raise RuntimeError(f"sequence {line['sequence']} came where {self._sequence} was published")
        self.frame_bytes = float(line["frame_bytes"])
        if self._sequence > WARM_UP_TICKS:
            self.cpu_ms.append((self._cpu_s() - cpu_before_s) * 1e3)
            self.latencies_ms += [(moment - published_ns) / 1e6 for moment in line["received_ns"]]

    def _cpu_s(self) -> float:
        times = self._server.cpu_times()
        return float(times.user + times.system)

    def _line(self) -> dict[str, Any]:
        assert self._listener.stdout is not None
        text = self._listener.stdout.readline()
        if not text:
            raise RuntimeError("the subscribers ended early; see their log")
        line: dict[str, Any] = json.loads(text)
        return line


def measure(subscribers: int, ticks: int) -> list[Row]:
    """Measure both sides in one run."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hosts = stack.enter_context(running_emulators(folder, names=("firestore", "pubsub")))
        sides: dict[str, Side] = {}
        for name in ("gateway", "floor"):
            variables = environment(hosts, f"bench-{name}", folder)
            os.environ.update(variables)
            provision_messaging(
                load_manifest(ROOT / "functions.yaml"),
                project=f"bench-{name}",
                pubsub_host=hosts.pubsub,
                push_base_url=None,
            )
            settings = settings_of()
            port, log = free_port(), folder / f"{name}.log"
            key = ""
            if name == "gateway":
                key = seed(settings, subscribers)
                served = running("gateway", "--port", str(port), environment=variables, log=log)
            else:
                size = str(round(sides["gateway"].frame_bytes))
                served = running(
                    "benchmarks.gateway.floor",
                    "--port",
                    str(port),
                    "--frame-bytes",
                    size,
                    environment=variables,
                    log=log,
                )
            server = stack.enter_context(served)
            wait_for_port(server, port, log)
            listener = stack.enter_context(
                running(
                    "benchmarks.gateway.listener",
                    "--url",
                    f"http://127.0.0.1:{port}",
                    f"--key={key}",
                    "--subscribers",
                    str(subscribers),
                    environment=variables,
                    log=folder / f"{name}-listener.log",
                )
            )
            sides[name] = Side(settings, server, listener)
            for _ in range(WARM_UP_TICKS):
                sides[name].publish()
        for _ in range(ticks):
            for side in sides.values():
                side.publish()
    return rows(sides["gateway"], sides["floor"], subscribers)


def rows(gateway: Side, floor: Side, subscribers: int) -> list[Row]:
    """The figures of a run."""
    found: list[Row] = []
    for quantile in (50, 99):
        found.append(
            Row(
                f"price published to subscriber, p{quantile}, {subscribers} subscribers on as many accounts",
                float(np.percentile(gateway.latencies_ms, quantile)),
                "ms",
                "the same publish to the same sockets with no logic",
                float(np.percentile(floor.latencies_ms, quantile)),
                f"frames of {gateway.frame_bytes:.0f} bytes",
            )
        )
    # Elapsed time depends on what else the machine does; the CPU time of the server does not.
    found.append(
        Row(
            "CPU of the server per tick",
            float(np.mean(gateway.cpu_ms)),
            "ms",
            "the same publish to the same sockets with no logic",
            float(np.mean(floor.cpu_ms)),
            f"{np.mean(gateway.cpu_ms) / subscribers * 1e3:.1f} µs a message",
        )
    )
    return found


def main() -> int:
    """Measure, print and write the results; 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--ticks", type=int, default=60)
    arguments = parser.parse_args()
    measured = measure(arguments.subscribers, arguments.ticks)
    report("gateway_fanout", measured)
    ratio = measured[1].ratio
    if ratio is None or ratio > TARGET_RATIO:
        sys.stderr.write(f"p99 is {ratio} times its floor; the target is {TARGET_RATIO}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
