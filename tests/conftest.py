"""Fixtures that every kind of test shares: real emulators, once a session, and a fresh project per test."""

from __future__ import annotations

import json
import os
import secrets
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import grpc
import pytest
from google.cloud.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from hypothesis import settings as hypothesis_settings

from local.chain import LocalChain
from local.deployment import Deployment
from local.emulators import EmulatorHosts, running_emulators
from local.price_data import single_feed_prices
from local.provision import provision_subscriptions, provision_topics, provision_warehouse
from shared.config import SPECS, Settings, load
from shared.manifest import Manifest, load_manifest

ROOT = Path(__file__).parents[1]

# The same examples in every run, and however long each takes: a machine that is busy elsewhere is no failure.
hypothesis_settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis_settings.load_profile("repeatable")

DATASET = "fusion"
NATIVE = "0x" + "00" * 20


@cache
def deployed_manifest() -> Manifest:
    """The manifest, read once."""
    return load_manifest(ROOT / "functions.yaml")


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorHosts]:
    """Google's Firestore and Pub/Sub emulators, a BigQuery emulator and a chain."""
    with running_emulators(tmp_path_factory.mktemp("emulators")) as hosts:
        yield hosts


@dataclass
class Project:
    """A Google Cloud project of its own on the emulators, with the environment of a process in it."""

    project_id: str
    hosts: EmulatorHosts
    monkeypatch: pytest.MonkeyPatch
    folder: Path
    network: dict[str, object] = field(default_factory=dict)
    has_warehouse: bool = False

    def setenv(self, **environment: str) -> None:
        """Set variables of the process's environment."""
        for name, value in environment.items():
            self.monkeypatch.setenv(name, value)

    def write_network(self, network: dict[str, object]) -> Path:
        """Write the network description and point the process at it. A changed one gets a new path,
        because a process reads the file once."""
        self.network = network
        path = self.folder / f"network-{uuid.uuid4().hex}.json"
        path.write_text(json.dumps(network))
        self.setenv(NETWORK_FILE=str(path))
        return path

    def network_bytes(self) -> bytes:
        """The network description as the process reads it."""
        return Path(os.environ["NETWORK_FILE"]).read_bytes()

    def environment(self) -> dict[str, str]:
        """The settings of a process in this project, as they are now."""
        return {name: os.environ[name] for name in SPECS if name in os.environ}

    def settings(self, *names: str, uses: tuple[str, ...] = ("firestore", "pubsub")) -> Settings:
        """Validated settings, as a function of this project has them."""
        return load(uses=uses, settings=names)

    def provision_pulls(self) -> None:
        """Create the subscriptions that functions pull, for the tests that look at what is pulled."""
        provision_subscriptions(
            deployed_manifest(),
            project=self.project_id,
            pubsub_host=self.hosts.pubsub,
            push_base_url=None,
        )

    def provision_warehouse(self, *tables: str) -> None:
        """Create the dataset and these tables, for the tests that look at them; without any, all of them."""
        self.has_warehouse = True
        provision_warehouse(
            deployed_manifest(),
            project=self.project_id,
            bigquery_url=self.hosts.bigquery,
            dataset=DATASET,
            tables=tables or None,
        )

    def forget(self) -> None:
        """Remove its documents, tables and subscriptions: what hundreds of tests leave would slow down the
        last ones. The Pub/Sub emulator has a thread for each subscription, which looks ten times a second."""
        paths = [
            f"http://{self.hosts.firestore}/emulator/v1/projects/{self.project_id}/databases/(default)/documents"
        ]
        if self.has_warehouse:
            paths.append(f"{self.hosts.bigquery}/emulator/v1/projects/{self.project_id}")
        for path in paths:
            urllib.request.urlopen(urllib.request.Request(path, method="DELETE"), timeout=60).close()
        # Not where the environment says: a test may have pointed that elsewhere.
        channel = grpc.insecure_channel(self.hosts.pubsub)
        with SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)) as subscriber:
            for subscription in subscriber.list_subscriptions(project=f"projects/{self.project_id}"):
                subscriber.delete_subscription(subscription=subscription.name)


def network_document(**feeds: str) -> dict[str, object]:
    """A network of one chain whose assets have the given feeds; ETH and USDC where none is given."""
    addresses = feeds or {"ETH": "0x" + "e1" * 20, "USDC": "0x" + "c1" * 20}
    sources, prices = single_feed_prices(31337, addresses)
    decimals = {"ETH": 18, "WBTC": 8, "USDC": 6, "LINK": 18}
    return {
        "margin_policy": {
            "warning_pct": "50",
            "margin_call_pct": "30",
            "liquidation_pct": "15",
            "hysteresis_pct": "2",
        },
        "tick_max_age_s": 120,
        "price_sources": sources,
        "assets": {
            asset: {
                "collateral_factor": "1",
                "borrow_factor": "1",
                "prices": prices[asset],
            }
            for asset in addresses
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
                    NATIVE if asset == "ETH" else f"0x{index:040x}": {
                        "asset": asset,
                        "decimals": decimals[asset],
                    }
                    for index, asset in enumerate(addresses, start=1)
                },
            }
        ],
    }


@contextmanager
def fresh_project(
    emulators: EmulatorHosts, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> Iterator[Project]:
    """A project with every topic of the manifest; it is removed at the end."""
    fresh = Project(f"test-{uuid.uuid4().hex[:12]}", emulators, monkeypatch, folder)
    fresh.setenv(
        **emulators.environment(),
        FUSION_ENVIRONMENT="test",
        GOOGLE_CLOUD_PROJECT=fresh.project_id,
        LOG_LEVEL="WARNING",
        BIGQUERY_DATASET=DATASET,
        PRICE_INTERVAL_S="0.2",
        NEW_HEADS_URLS="none",
        RELAY_INTERVAL_S="0.2",
        SWEEP_INTERVAL_S="0.2",
        ARCHIVE_INTERVAL_S="0.2",
        MARGIN_SHARDS="1",
        RISK_BLOCK_ACCOUNTS="10000",
        WINDOW_S="0.1",
        HERMES_URLS="http://127.0.0.1:9",
        HERMES_API_KEY="pyth-key-of-the-tests",
        FOLLOW_INTERVAL_S="0.2",
        RESEND_AFTER_S="0.4",
        SIGNER_KEYS="local:" + secrets.token_hex(32),
        FEE_CAPS="31337=100:1000",
        WEBHOOK_INTERVAL_S="0.2",
        WEBHOOK_LOCAL_NETWORKS="127.0.0.0/8",
        SMTP_URL="smtp://127.0.0.1:9",
        MAIL_FROM="margin@fusion-prime.example",
    )
    for name in ("K_SERVICE", "FUNCTION_TARGET", "FUNCTION_SIGNATURE_TYPE"):
        monkeypatch.delenv(name, raising=False)
    fresh.write_network(network_document())
    provision_topics(deployed_manifest(), project=fresh.project_id, pubsub_host=emulators.pubsub)
    yield fresh
    fresh.forget()


@pytest.fixture
def project(emulators: EmulatorHosts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Project]:
    """The project of one test."""
    with fresh_project(emulators, monkeypatch, tmp_path) as fresh:
        yield fresh


@dataclass
class DeployedChain:
    """A chain that every test finds as it was right after the deployment."""

    chain: LocalChain
    deployment: Deployment
    snapshot: str

    def restore(self) -> None:
        """Take back whatever was done since; blocks go on at the clock's time."""
        client = self.chain.client
        client.call("anvil_dropAllTransactions")
        if not client.call("evm_revert", self.snapshot):
            raise AssertionError(f"the chain lost its snapshot {self.snapshot}")
        self.snapshot = client.call("evm_snapshot")
        client.call("evm_setTime", int(time.time()))


@pytest.fixture(scope="session")
def deployed_chain(emulators: EmulatorHosts) -> DeployedChain:
    """Our contracts on the session's chain, deployed once."""
    chain = LocalChain(emulators.rpc)
    deployment = chain.deploy()
    return DeployedChain(chain, deployment, chain.client.call("evm_snapshot"))
