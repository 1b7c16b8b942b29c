"""evaluate_margin as it is deployed: its whole shell through the Functions Framework, on the real emulators.

    python -m benchmarks.margin.evaluate [--accounts 10000] [--repeats 5]

A book is loaded and evaluated for the first time, which records and announces a state for every account; then
ticks move every price by 0.1, 1 and 10 percent, up and down in turns. The time of a tick is held against the
same Firestore requests with nothing decided, for the emulator scans a whole collection per query; the CPU
time of this process against one plain NumPy pass over the same book; and recording against committing as
many documents of the same size.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import functions_framework
import numpy as np

from benchmarks.measure import Timing
from benchmarks.results import Row, report
from local.emulators import running_emulators
from local.price_data import single_feed_prices
from local.provision import provision_messaging
from shared.config import Settings, load
from shared.domain.interest import RAY
from shared.domain.marks import MarkStatus
from shared.domain.network import parse_network
from shared.domain.positions import Account, Position, position_key
from shared.events import topics
from shared.events.prices import Mark, MarketIndex, PriceTick, tick_id
from shared.manifest import load_manifest
from shared.risk import positions as risk_positions
from shared.risk.book import Book
from shared.stores import accounts, alerts, database, margin_progress

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "benchmark"
PRICES = {"ETH": Decimal(3000), "WBTC": Decimal(60000), "LINK": Decimal(15), "USDC": Decimal(1)}
DECIMALS = {"ETH": 18, "WBTC": 8, "LINK": 18, "USDC": 6}
MOVES = (Decimal("0.001"), Decimal("0.01"), Decimal("0.1"))
CHAIN_ID = 1
PASS = "one NumPy pass over the book"
REQUESTS = "the same Firestore requests with nothing decided"
COMMITS = "committing as many documents with nothing decided"


def _network() -> dict[str, Any]:
    feeds = {asset: f"0x{index:040x}" for index, asset in enumerate(PRICES, 1)}
    sources, prices = single_feed_prices(CHAIN_ID, feeds)
    assets = {
        asset: {
            "collateral_factor": "1",
            "borrow_factor": "1",
            "prices": prices[asset],
        }
        for asset in PRICES
    }
    policy = {"warning_pct": "50", "margin_call_pct": "30", "liquidation_pct": "15", "hysteresis_pct": "2"}
    chain = {
        "chain_id": CHAIN_ID,
        "name": "chain",
        "confirmations": 0,
        "finality": 64,
        "start_block": 0,
        "block_range": 1000,
        "vault": "0x" + "aa" * 20,
        "escrow_factory": "0x" + "bb" * 20,
        "multicall": "0x" + "ca" * 20,
        "tokens": {
            f"0x{index:040x}": {"asset": asset, "decimals": DECIMALS[asset]}
            for index, asset in enumerate(PRICES)
        },
    }
    return {
        "margin_policy": policy,
        "tick_max_age_s": 120,
        "price_sources": sources,
        "assets": assets,
        "chains": [chain],
    }


def book(count: int) -> list[Account]:
    """Accounts with one to three kinds of collateral and a debt in USDC; health from 20 to 300 percent."""
    source = random.Random(1)
    found: list[Account] = []
    for _ in range(count):
        held = source.sample(["ETH", "WBTC", "LINK"], source.randint(1, 3))
        debt_usd = source.uniform(1_000, 100_000)
        collateral_usd = debt_usd * (1 + source.uniform(0.2, 3.0))
        amounts = {asset: (collateral_usd / len(held), 0.0) for asset in held} | {"USDC": (0.0, debt_usd)}
        positions = {
            position_key(CHAIN_ID, asset): Position(
                CHAIN_ID,
                asset,
                DECIMALS[asset],
                int(collateral / float(PRICES[asset]) * 10 ** DECIMALS[asset]),
                int(debt * 10 ** DECIMALS[asset]),
                sequence=1,
            )
            for asset, (collateral, debt) in amounts.items()
        }
        found.append(Account(f"0x{source.getrandbits(160):040x}", 1, datetime.now(UTC), positions))
    return found


def plain_pass_cpu_s(listed: Sequence[Account]) -> float:
    """CPU seconds of one pass over a book of these accounts: values, and whether they are enough."""
    index = {asset: number for number, asset in enumerate(PRICES)}
    factors = risk_positions.FactorTable([risk_positions.AssetFactors() for _ in PRICES])
    rows = [
        factors.row(
            risk_positions.Position(
                index[position.asset], position.decimals, position.collateral_base, position.debt_shares
            )
            for position in account.positions.values()
        )
        for account in listed
    ]
    built = Book.from_rows(rows, len(PRICES))
    marks = np.array([float(price) for price in PRICES.values()])
    times: list[float] = []
    for _ in range(50):
        started = time.process_time()
        valuation = built.revalue(marks)
        np.count_nonzero(valuation.collateral_usd < 1.5 * valuation.debt_usd)
        times.append(time.process_time() - started)
    return statistics.median(times)


class Function:
    """evaluate_margin behind the framework's own application."""

    def __init__(self) -> None:
        app = functions_framework.create_app(target="evaluate_margin", source=str(ROOT / "main.py"))  # type: ignore[no-untyped-call]
        self._client = app.test_client()
        self._sequence = 0

    def tick(self, move: Decimal) -> Timing:
        """Push a tick at which every price but USDC's is moved by so much; what it took."""
        self._sequence += 1
        moment = datetime.now(UTC)
        tick = PriceTick(
            event_id=tick_id(self._sequence),
            sequence=self._sequence,
            as_of=moment,
            block_numbers={str(CHAIN_ID): self._sequence},
            marks=tuple(
                Mark(
                    asset=asset,
                    status=MarkStatus.OK,
                    price=price if asset == "USDC" else price * (1 + move),
                    source="benchmark",
                    observed_at=moment,
                    max_age_s=3_900,
                )
                for asset, price in PRICES.items()
            ),
            markets=tuple(
                MarketIndex(
                    chain_id=CHAIN_ID,
                    asset=asset,
                    borrow_index=RAY,
                    rate_per_second=0,
                    reported_at=moment,
                )
                for asset in PRICES
            ),
        )
        message = {
            "data": base64.b64encode(tick.encode()).decode(),
            "messageId": uuid.uuid4().hex,
            "publishTime": moment.isoformat(),
            "attributes": {},
        }
        body = {"subscription": "s", "message": message}
        path = f"/projects/{PROJECT}/topics/{topics.MARKET_PRICES}"
        wall, cpu = time.perf_counter(), time.process_time()
        response = self._client.post(path, json=body)
        took = Timing(time.process_time() - cpu, time.perf_counter() - wall)
        if response.status_code != 200:
            raise RuntimeError(f"the tick was refused: {response.status_code} {response.get_data()!r}")
        return took


def _transitions(settings: Settings, since: datetime) -> int:
    return len(alerts.list_since(database.connect(settings), since, limit=1_000_000))


def plain_commits_s(settings: Settings, documents: int) -> float:
    """Seconds to commit so many documents of an announcement's size, in commits of the function's size."""
    client = database.connect(settings)
    payload = {"data": b"x" * 700, "topic": topics.MARGIN_ALERTS, "attributes": {"event_id": "e" * 50}}
    started = time.perf_counter()
    for start in range(0, documents, database.MAX_WRITES):
        commit = database.Commit(client)
        for number in range(start, min(start + database.MAX_WRITES, documents)):
            commit.put(f"benchmark/{number}", payload)
        commit.apply()
    return time.perf_counter() - started


def quiet_requests_s(settings: Settings) -> float:
    """Seconds of the requests of a tick that changes no state: its reads, and the write of its progress."""
    client = database.connect(settings)
    times: list[float] = []
    for _ in range(10):
        started = time.perf_counter()
        seen_at = margin_progress.read(client).seen_at
        accounts.list_versions_since(client, seen_at)
        commit = database.Commit(client)
        commit.put("benchmark/progress", {"tick_sequence": 1})
        commit.apply()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


@dataclass(frozen=True)
class World:
    """The function in a project that holds a book."""

    function: Function
    settings: Settings
    listed: Sequence[Account]


@contextmanager
def world(count: int) -> Iterator[World]:
    """Emulators, topics and accounts."""
    with tempfile.TemporaryDirectory(prefix="fusion-prime-") as name:
        folder = Path(name)
        network = folder / "network.json"
        network.write_text(json.dumps(_network()))
        with running_emulators(folder, ("firestore", "pubsub")) as hosts:
            os.environ.update(
                hosts.environment(),
                FUSION_ENVIRONMENT="local",
                GOOGLE_CLOUD_PROJECT=PROJECT,
                LOG_LEVEL="ERROR",
                NETWORK_FILE=str(network),
                MARGIN_SHARDS="1",
            )
            provision_messaging(
                load_manifest(ROOT / "functions.yaml"),
                project=PROJECT,
                pubsub_host=hosts.pubsub,
                push_base_url=None,
            )
            parse_network(network.read_bytes())
            settings = load(uses=("firestore", "pubsub"), settings=("NETWORK_FILE", "MARGIN_SHARDS"))
            listed = book(count)
            client = database.connect(settings)
            long_ago = datetime.now(UTC) - timedelta(hours=1)
            for start in range(0, count, database.MAX_WRITES):
                batch = client.batch()
                for account in listed[start : start + database.MAX_WRITES]:
                    fields = accounts.encode(account) | {"updated_at": long_ago}
                    batch.set(client.document(accounts.path(account.account_id)), fields)
                batch.commit()
            yield World(Function(), settings, listed)


def _tick_rows(
    name: str, took: Sequence[Timing], transitions: float, count: int, pass_cpu_s: float, requests_s: float
) -> list[Row]:
    wall = statistics.median(each.wall_s for each in took)
    cpu = statistics.median(each.cpu_s for each in took)
    note = f"{transitions:.0f} transitions a tick"
    return [
        Row(f"{name}: accounts evaluated", count / wall, "accounts/s", REQUESTS, count / requests_s, note),
        Row(f"{name}: CPU", cpu * 1e3, "CPU ms", PASS, pass_cpu_s * 1e3, note),
    ]


def measure(count: int, repeats: int) -> list[Row]:
    """The figures of a run."""
    with world(count) as running:
        pass_cpu_s = plain_pass_cpu_s(running.listed)
        first = running.function.tick(Decimal(0))
        # State, alert and announcement of every account.
        commits_s = plain_commits_s(running.settings, 3 * count)
        rows = [
            Row(
                f"first tick, {count} accounts: loaded, recorded and announced",
                count / first.wall_s,
                "accounts/s",
                COMMITS,
                count / commits_s,
                f"{first.wall_s:.1f} s, CPU {first.cpu_s:.1f} s",
            )
        ]
        requests_s = quiet_requests_s(running.settings)
        for move in MOVES:
            took: list[Timing] = []
            began = datetime.now(UTC)
            for number in range(2 * repeats):
                took.append(running.function.tick(move if number % 2 else -move))
            transitions = _transitions(running.settings, began) / len(took)
            name = f"every price moved by {move:.1%}, {count} accounts"
            rows += _tick_rows(name, took, transitions, count, pass_cpu_s, requests_s)
        settled = Decimal("0.1")
        running.function.tick(settled)
        began = datetime.now(UTC)
        took = [running.function.tick(settled) for _ in range(2 * repeats)]
        transitions = _transitions(running.settings, began) / len(took)
        name = f"no price moved, {count} accounts"
        return rows + _tick_rows(name, took, transitions, count, pass_cpu_s, requests_s)


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    report("margin_evaluate", measure(options.accounts, options.repeats))


if __name__ == "__main__":
    main()
