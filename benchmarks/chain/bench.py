"""A chain of deposits and a relay of it, on this machine's emulators: what is measured."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.peer_environment import ROOT
from local.chain import LocalChain, Transaction, deposit
from local.deployment import CHAIN_ID
from local.emulators import EmulatorHosts
from local.provision import provision_messaging
from shared import config
from shared.chain import blocks
from shared.events import topics
from shared.manifest import load_manifest
from shared.messaging import puller
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.relay.chain_relay import ChainRelay
from shared.runtime.relay.working import begin
from shared.stores import chain_cursors

PROJECT = "bench-chain"
ACCOUNTS, EVENTS_PER_BLOCK, BLOCK_RANGE = 200, 200, 100
_SUBSCRIPTION = f"archive_events--{topics.SETTLEMENT_EVENTS}"
_SECONDS_BETWEEN_WORDS = 15.0


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
            say(f"announced up to block {cursor} of {target}")
            step()

    def verify(self) -> None:
        """Relay until what is final was read a second time, and announced as final."""
        step = begin(self.context)
        said_at = time.monotonic()
        while step():
            if time.monotonic() - said_at > _SECONDS_BETWEEN_WORDS:
                say(f"read up to block {self.verified()} of {self.head()} a second time")
                said_at = time.monotonic()
        self.take()


def say(what: str) -> None:
    """Tell who waits what is being done."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
