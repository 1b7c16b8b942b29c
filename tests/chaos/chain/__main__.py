"""``make chaos-chain``: breaks whatever lies between the chain and the consumers of its events.

Prints what was injected, what was announced, and how much was lost, doubled or invented (nothing may be);
JSON as the last line; ends with 0 where everything held. ``--full`` has long outages, every depth of
reorganisation, every crash point and 10,000 escrows, and takes the better part of an hour; without it, it
takes a minute or two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import urllib3
from rich.console import Console

from local.chain import CHAIN_ID, LocalChain, Transaction, deposit
from local.emulators import base_environment, running_emulators
from local.escrows import EscrowTerms, create_escrow
from local.ports import free_ports
from local.provision import provision_messaging
from local.supervisor import Part, Supervisor
from shared.chain import blocks
from shared.manifest import load_manifest
from shared.stores import chain_cursors, database
from tests.chaos.chain import crashing
from tests.chaos.chain.judgement import Listener, judge
from tests.chaos.chain.relays import Relays, new_context, sweep

ROOT = Path(__file__).resolve().parents[3]
FINALITY = 24
SHORT = {"outages": [600], "depths": [1, 5, 23], "crashes": 8, "escrows": 100, "storm": 8}
FULL = {
    "outages": [600, 5_000, 100_000],
    "depths": list(range(1, FINALITY)),
    "crashes": 400,
    "escrows": 10_000,
    "storm": 180,
}
ACCOUNTS = 20
ESCROWS_PER_BLOCK = 40
CATCH_UP_S = 900.0


class Chaos:
    """One run: a chain, two lying proxies before it, relays behind them."""

    def __init__(self, hosts: Any, proxies: list[str], folder: Path, seed: int) -> None:
        self.console = Console(stderr=True)
        self.proxies = proxies
        self.chain = LocalChain(hosts.rpc)
        self.deployment = self.chain.deploy()
        self.start_block = blocks.head_number(self.chain.client) + 1
        self.injected: Counter[str] = Counter()
        self.accounts = [f"0x{seed:08x}{number:032x}" for number in range(1, ACCOUNTS + 1)]
        self.chain.set_balances(dict.fromkeys(self.accounts, 10**30))
        self._turn = 0
        network = self.deployment.network(start_block=self.start_block)
        network["chains"][0] |= {"finality": FINALITY, "block_range": 500}
        description = folder / "network.json"
        description.write_text(json.dumps(network))
        os.environ.update(
            hosts.environment(),
            FUSION_ENVIRONMENT="test",
            GOOGLE_CLOUD_PROJECT="chaos-chain",
            LOG_LEVEL="ERROR",
            NETWORK_FILE=str(description),
            RPC_URLS=f"{CHAIN_ID}={','.join(proxies)}",
            RELAY_INTERVAL_S="0.1",
        )
        manifest = load_manifest(ROOT / "functions.yaml")
        provision_messaging(manifest, project="chaos-chain", pubsub_host=hosts.pubsub, push_base_url=None)
        self.listener = Listener("chaos-chain")
        self.context = new_context()
        self.database = database.connect(self.context.settings)

    def disturb(self, **settings: float) -> None:
        """Set both proxies."""
        for url in self.proxies:
            urllib3.request("PUT", f"{url}/control", body=json.dumps(settings), timeout=10.0)

    def act(self, count: int) -> None:
        """Deposits of changing accounts and amounts, mined together in one block."""
        deposits: list[Transaction] = []
        for _ in range(count):
            self._turn += 1
            account = self.accounts[self._turn % ACCOUNTS]
            (each,) = deposit(self.deployment, account, "ETH", self._turn)
            deposits.append(replace(each, gas=400_000))
        self._mine_together(deposits)

    def escrows(self, count: int) -> None:
        """Create escrows, a few dozen to a block."""
        payer, payee, arbiter = self.accounts[:3]
        for first in range(0, count, ESCROWS_PER_BLOCK):
            numbers = range(first, min(count, first + ESCROWS_PER_BLOCK))
            salts = [number.to_bytes(32, "big") for number in numbers]
            terms = [EscrowTerms(payer, payee, arbiter, 1, salt=salt) for salt in salts]
            created = [create_escrow(self.deployment, each)[0] for each in terms]
            self._mine_together([replace(each, gas=700_000) for each in created])
        self.injected["escrows"] += count

    def _mine_together(self, transactions: list[Transaction]) -> None:
        self.chain.client.call("evm_setAutomine", False)
        nonces: dict[str, int] = {}
        calls: list[Any] = []
        for item in transactions:
            if item.sender not in nonces:
                known = self.chain.client.call("eth_getTransactionCount", item.sender, "pending")
                nonces[item.sender] = int(known, 16)
            fields = {
                "from": item.sender,
                "to": item.to,
                "data": item.data,
                "value": hex(item.value),
                "gas": hex(item.gas),
                "nonce": hex(nonces[item.sender]),
            }
            nonces[item.sender] += 1
            calls.append(("eth_sendTransaction", [fields]))
        self.chain.client.batch(calls)
        self.chain.client.call("evm_mine")
        self.chain.client.call("evm_setAutomine", True)

    def outage(self, length: int) -> None:
        """Mine blocks that nobody reads, with events at their beginning, middle and end."""
        self.act(7)
        for _ in range(length // 500 + 1):
            self.act(5)
            for _ in range(5):
                self.chain.client.call("anvil_mine", hex(length // (length // 500 + 1) // 5))
        self.act(7)
        self.injected[f"outage of {length} blocks"] += 1

    def reorganise(self, depth: int) -> None:
        """Replace the last blocks by others; another transaction, for equal blocks have equal hashes."""
        self._turn += 1
        other = {"from": self.accounts[0], "to": self.accounts[1], "value": hex(self._turn), "gas": "0x5208"}
        self.chain.client.call("anvil_reorg", depth, [[other, 0]])
        self.injected[f"reorganisation of {depth} blocks"] += 1

    def catch_up(self, relays: int = 1) -> None:
        """Let relays run until the head is announced."""
        with Relays(relays) as running:
            ends_at = time.monotonic() + CATCH_UP_S
            while not self.caught_up():
                if time.monotonic() > ends_at:
                    raise TimeoutError(
                        f"the relay is not at the head after {CATCH_UP_S} s: {self.progress()}"
                    )
                time.sleep(0.05)
        self.injected["conflicts between relays"] += running.failures["conflict"]

    def progress(self) -> Any:
        """How far the chain has been announced."""
        known = chain_cursors.find(self.database, CHAIN_ID)
        return None if known is None else known[0]

    def caught_up(self) -> bool:
        """Whether the cursor stands on the head of the node itself."""
        progress = self.progress()
        if progress is not None and progress.halted is not None:
            raise RuntimeError(f"the relay is halted: {progress.halted}")
        head = blocks.read_block(self.chain.client, blocks.head_number(self.chain.client))
        return progress is not None and progress.block_hash == head.hash

    def crash(self, points: int) -> None:
        """Kill a relay at each of its points in turn; until it comes through."""
        for point in range(1, points + 1):
            self.act(3)
            if point % 3 == 0:
                self.reorganise(2)
                self.act(1)
            command = [sys.executable, "-m", "tests.chaos.chain.crashing", str(point)]
            outcome = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=120)
            self.injected["crashes"] += outcome.returncode == crashing.DIED
            if outcome.returncode == 0:
                return

    def beyond_finality(self) -> list[str]:
        """A reorganisation one block beyond finality halts the chain; nothing more is announced."""
        for _ in range(FINALITY + 1):
            self.act(1)
        self.catch_up()
        heard = len(self.listener.pull())
        self.reorganise(FINALITY + 1)
        self.injected["reorganisations beyond finality"] += 1
        with Relays(2):
            ends_at = time.monotonic() + 60
            while self.progress().halted is None and time.monotonic() < ends_at:
                time.sleep(0.05)
        if self.progress().halted is None:
            return ["a reorganisation beyond finality did not halt the chain"]
        if len(self.listener.pull()) != heard:
            return ["something was announced after a violation of finality"]
        return []


def run(chaos: Chaos, plan: dict[str, Any]) -> list[str]:
    """Everything in turn; what did not hold."""
    say = chaos.console.log
    say("half of the requests fail, a tenth of the answers are wrong, ranges are refused; two relays race")
    chaos.disturb(failing_fraction=0.5, hold_s=0.2, lying_fraction=0.1, most_blocks=100)
    for _ in range(4):
        chaos.act(6)
        chaos.catch_up(relays=2)
    say("nearly half of the answers are wrong")
    chaos.disturb(failing_fraction=0.0, hold_s=0.2, lying_fraction=0.4, most_blocks=0)
    for _ in range(8):
        chaos.act(6)
        chaos.catch_up()
    chaos.disturb(failing_fraction=0.1, hold_s=0.2, lying_fraction=0.1, most_blocks=400)
    for length in plan["outages"]:
        say(f"an outage of {length} blocks")
        chaos.outage(length)
        chaos.catch_up(relays=2)
    chaos.disturb(failing_fraction=0.5, hold_s=0.2, lying_fraction=0.1, most_blocks=100)
    chaos.escrows(plan["escrows"])
    chaos.catch_up(relays=2)
    for depth in plan["depths"]:
        say(f"a reorganisation of {depth} blocks")
        for _ in range(depth):
            chaos.act(2)
        chaos.catch_up()
        chaos.reorganise(depth)
        chaos.act(3)
        chaos.catch_up(relays=2)
    say(f"reorganisations about one a second, {plan['storm']} s long")
    with Relays(2):
        for second in range(plan["storm"]):
            chaos.act(3)
            time.sleep(0.5)
            chaos.reorganise(1 + second % 6)
            time.sleep(0.5)
    chaos.act(1)
    chaos.catch_up()
    say("crashes")
    chaos.disturb(failing_fraction=0.0, lying_fraction=0.0, most_blocks=0)
    chaos.crash(plan["crashes"])
    chaos.catch_up()
    sweep(chaos.context)
    say("judging")
    verdict = judge(chaos.chain, chaos.deployment, chaos.start_block, chaos.listener.pull(), seed=1)
    for url in chaos.proxies:
        counts = json.loads(urllib3.request("GET", f"{url}/control", timeout=10.0).data)["counts"]
        chaos.injected.update(counts)
    violations = [] if verdict.holds else [f"events: {verdict}"]
    violations += chaos.beyond_finality()
    progress = chaos.progress()
    print(
        json.dumps(
            {
                "holds": not violations,
                "violations": violations,
                "injected": dict(chaos.injected),
                **asdict(verdict),
                "revision": progress.revision,
                "differences_repaired": progress.differences,
            }
        )
    )
    say(f"lost {verdict.lost}, doubled {verdict.doubled}, phantom {verdict.phantom}")
    return violations


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hosts = stack.enter_context(running_emulators(folder, names=("firestore", "pubsub", "anvil")))
        ports = free_ports(2)
        supervisor = Supervisor(folder)
        stack.callback(supervisor.stop)
        supervisor.start([_proxy(port, hosts.rpc, options.seed + port) for port in ports])
        chaos = Chaos(hosts, [f"http://127.0.0.1:{port}" for port in ports], folder, options.seed)
        violations = run(chaos, FULL if options.full else SHORT)
    return 1 if violations else 0


def _proxy(port: int, upstream: str, seed: int) -> Part:
    command = [sys.executable, "-m", "local.fault_proxy"]
    command += ["--port", str(port), "--upstream", upstream, "--seed", str(seed)]
    environment = {**base_environment(), "PYTHONPATH": str(ROOT)}
    return Part(f"proxy-{port}", command, environment, lambda: _answers(f"http://127.0.0.1:{port}/control"))


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, timeout=2.0, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


if __name__ == "__main__":
    sys.exit(main())
