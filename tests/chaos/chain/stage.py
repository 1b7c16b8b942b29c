"""A chain, two lying proxies before it, what relays it, and who listens."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import urllib3

from local.chain import LocalChain, Transaction, deposit
from local.deployment import CHAIN_ID
from local.emulators import EmulatorHosts, base_environment
from local.escrows import EscrowTerms, create_escrow
from local.provision import provision_messaging
from local.supervisor import Part
from shared.chain import blocks
from shared.domain.chain_progress import RETAINED_BLOCKS, ChainProgress
from shared.events import topics
from shared.manifest import load_manifest
from shared.stores import chain_cursors, database
from tests.chaos.chain.judgement import Listener
from tests.chaos.chain.relays import Relays, new_context

ROOT = Path(__file__).resolve().parents[3]
FINALITY = 24
BLOCK_RANGE = 200
CATCH_UP_S = 1_800.0
_ACCOUNTS = 20
_ESCROWS_PER_BLOCK = 100
_BLOCKS_PER_CALL = 500


class Stage:
    """One project with one chain.

    Args:
        hosts: the emulators; the chain's own node may be another one than theirs.
        rpc: the chain's node.
        proxies: two ways to it, which fail and lie as they are told.
        folder: where the network description is written.
        seed: makes the accounts.
    """

    def __init__(
        self, name: str, hosts: EmulatorHosts, rpc: str, proxies: Sequence[str], folder: Path, seed: int
    ) -> None:
        self.project = f"chaos-{name}"
        self.rpc = rpc
        self.proxies = proxies
        self.injected: Counter[str] = Counter()
        self.chain = LocalChain(rpc)
        self.deployment = self.chain.deploy()
        self.start_block = blocks.head_number(self.chain.client) + 1
        self.accounts = [f"0x{seed:08x}{number:032x}" for number in range(1, _ACCOUNTS + 1)]
        self.chain.set_balances(dict.fromkeys(self.accounts, 10**30))
        self._turn = 0
        network = self.deployment.network(start_block=self.start_block)
        network["chains"][0] |= {"finality": FINALITY, "block_range": BLOCK_RANGE}
        description = folder / f"{name}.json"
        description.write_text(json.dumps(network))
        os.environ.update(
            hosts.environment(),
            FUSION_ENVIRONMENT="test",
            GOOGLE_CLOUD_PROJECT=self.project,
            LOG_LEVEL="ERROR",
            NETWORK_FILE=str(description),
            RPC_URLS=f"{CHAIN_ID}={','.join(proxies)}",
            RELAY_INTERVAL_S="0.1",
        )
        manifest = load_manifest(ROOT / "functions.yaml")
        provision_messaging(manifest, project=self.project, pubsub_host=hosts.pubsub, push_base_url=None)
        self.announced = Listener(self.project, topics.SETTLEMENT_EVENTS)
        self.final = Listener(self.project, topics.FINALIZED_EVENTS)
        self.alerts = Listener(self.project, topics.OPERATIONS_ALERTS)
        self.context = new_context()
        self.database = database.connect(self.context.settings)

    def disturb(self, *proxies: str, **settings: float) -> None:
        """Set proxies, both where none are named."""
        for url in proxies or self.proxies:
            urllib3.request("PUT", f"{url}/control", body=json.dumps(settings), timeout=10.0)

    def disturbances(self) -> Mapping[str, int]:
        """What was injected: by this run, and by the proxies."""
        counts = Counter(self.injected)
        for url in self.proxies:
            answer = urllib3.request("GET", f"{url}/control", timeout=10.0)
            counts.update(json.loads(answer.data)["counts"])
        return dict(counts)

    def act(self, count: int) -> None:
        """Deposits of changing accounts and amounts, mined together in one block."""
        deposits: list[Transaction] = []
        for _ in range(count):
            self._turn += 1
            account = self.accounts[self._turn % _ACCOUNTS]
            (each,) = deposit(self.deployment, account, "ETH", self._turn)
            deposits.append(replace(each, gas=400_000))
        self._mine_together(deposits)

    def escrows(self, count: int) -> None:
        """Create escrows, many to a block."""
        payer, payee, arbiter = self.accounts[:3]
        for first in range(0, count, _ESCROWS_PER_BLOCK):
            numbers = range(first, min(count, first + _ESCROWS_PER_BLOCK))
            salts = [number.to_bytes(32, "big") for number in numbers]
            terms = [EscrowTerms(payer, payee, arbiter, 1, salt=salt) for salt in salts]
            created = [create_escrow(self.deployment, each)[0] for each in terms]
            self._mine_together([replace(each, gas=700_000) for each in created])
        self.injected["escrows"] += count

    def _mine_together(self, transactions: Sequence[Transaction]) -> None:
        self.chain.client.call("evm_setAutomine", False)
        senders = sorted({item.sender for item in transactions})
        counts = self.chain.client.batch(
            [("eth_getTransactionCount", [sender, "pending"]) for sender in senders]
        )
        nonces = {sender: int(count, 16) for sender, count in zip(senders, counts, strict=True)}
        calls: list[Any] = []
        for item in transactions:
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

    def mine_empty(self, count: int) -> None:
        """Mine empty blocks."""
        for start in range(0, count, _BLOCKS_PER_CALL):
            self.chain.client.call("anvil_mine", hex(min(_BLOCKS_PER_CALL, count - start)))

    def reorganise(self, depth: int) -> None:
        """Replace the last blocks by others; another transaction, for equal blocks have equal hashes."""
        self._turn += 1
        other = {"from": self.accounts[0], "to": self.accounts[1], "value": hex(self._turn), "gas": "0x5208"}
        self.chain.client.call("anvil_reorg", depth, [[other, 0]])
        self.injected[f"reorganisation of {depth} blocks"] += 1

    def catch_up(self, relays: int = 1) -> None:
        """Let relays run until the head is announced."""
        with Relays(relays) as running:
            self.wait(self.caught_up)
        self.injected["conflicts between relays"] += running.failures["conflict"]

    def verify(self) -> None:
        """Make all that was announced final, and let a relay run until it was read a second time."""
        last = blocks.head_number(self.chain.client)
        self.mine_empty(RETAINED_BLOCKS + FINALITY + 1)
        with Relays(1):
            self.wait(lambda: self._progress_on().verified_number >= last)

    def wait(self, condition: Any) -> None:
        """Wait for a condition, as long as a machine under load may take.

        Raises:
            TimeoutError: it does not come about.
        """
        ends_at = time.monotonic() + CATCH_UP_S
        while not condition():
            if time.monotonic() > ends_at:
                raise TimeoutError(f"not in {CATCH_UP_S} s; the relay is at {self.progress()}")
            time.sleep(0.05)

    def progress(self) -> ChainProgress | None:
        """How far the chain has been announced."""
        known = chain_cursors.find(self.database, CHAIN_ID)
        return None if known is None else known[0]

    def _progress_on(self) -> ChainProgress:
        progress = self.progress()
        if progress is None or progress.halted is not None:
            raise RuntimeError(f"the relay does not go on: {progress}")
        return progress

    def caught_up(self) -> bool:
        """Whether the cursor stands on the head of the node itself."""
        if self.progress() is None:
            return False
        head = blocks.read_block(self.chain.client, blocks.head_number(self.chain.client))
        return self._progress_on().block_hash == head.hash


def proxy_part(port: int, upstream: str, seed: int, fork: str | None) -> Part:
    """A lying proxy, to be started; ``fork`` is a node that it may answer from instead."""
    command = [sys.executable, "-m", "local.fault_proxy", "--port", str(port), "--upstream", upstream]
    command += ["--seed", str(seed), *([] if fork is None else ["--fork", fork])]
    environment = {**base_environment(), "PYTHONPATH": str(ROOT)}
    url = f"http://127.0.0.1:{port}/control"
    return Part(f"proxy-{port}", command, environment, lambda: _answers(url))


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, timeout=2.0, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
