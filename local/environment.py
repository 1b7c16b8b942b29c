"""The settings of each local process: where everything is, and how often it ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.emulators import CHAIN_ID, EmulatorHosts, base_environment

ROOT = Path(__file__).resolve().parent.parent

MAIL_FROM = "margin@fusion-prime.example"
HERMES_API_KEY = "local-pyth-key"

# The last of the accounts that anvil itself gives out and funds, known to everybody.
CUSTODY_ACCOUNT = "0xa0ee7a142d267c1f36714e4a8f75612f20a79720"
CUSTODY_KEY = "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"


@dataclass(frozen=True)
class Intervals:
    """How often the scheduled functions tick, and for how long one call of the clock keeps them ticking."""

    price_s: float = 1.0
    relay_s: float = 1.0
    sweep_s: float = 2.0
    archive_s: float = 2.0
    follow_s: float = 1.0
    window_s: float = 55.0


@dataclass(frozen=True)
class Places:
    """Where a process of the platform finds what is outside it."""

    hosts: EmulatorHosts
    rpc_url: str
    smtp_port: int
    network_file: Path
    dataset: str
    hermes_url: str


def settings(
    project: str, places: Places, intervals: Intervals, *, log_level: str, margin_shards: int
) -> dict[str, str]:
    """Every setting of ``shared.config`` for a process of this copy of the platform."""
    return {
        "FUSION_ENVIRONMENT": "local",
        "GOOGLE_CLOUD_PROJECT": project,
        "LOG_LEVEL": log_level,
        **places.hosts.environment(),
        "RPC_URLS": f"{CHAIN_ID}={places.rpc_url}",
        "HERMES_URLS": places.hermes_url,
        "HERMES_API_KEY": HERMES_API_KEY,
        "BIGQUERY_DATASET": places.dataset,
        "NETWORK_FILE": str(places.network_file),
        "SMTP_URL": f"smtp://127.0.0.1:{places.smtp_port}",
        "MAIL_FROM": MAIL_FROM,
        "PRICE_INTERVAL_S": f"{intervals.price_s:g}",
        "NEW_HEADS_URLS": f"{CHAIN_ID}={places.hosts.rpc.replace('http', 'ws', 1)}",
        "RELAY_INTERVAL_S": f"{intervals.relay_s:g}",
        "SWEEP_INTERVAL_S": f"{intervals.sweep_s:g}",
        "ARCHIVE_INTERVAL_S": f"{intervals.archive_s:g}",
        "MARGIN_SHARDS": str(margin_shards),
        "RISK_BLOCK_ACCOUNTS": "10000",
        "FOLLOW_INTERVAL_S": f"{intervals.follow_s:g}",
        "RESEND_AFTER_S": "10",
        "SIGNER_KEYS": f"local:{CUSTODY_KEY}",
        "FEE_CAPS": f"{CHAIN_ID}=100:1000",
        "WEBHOOK_INTERVAL_S": "1",
        "WEBHOOK_LOCAL_NETWORKS": "127.0.0.0/8",
        "WINDOW_S": f"{intervals.window_s:g}",
    }


def process_environment(values: Mapping[str, str]) -> dict[str, str]:
    """A whole environment: what every process inherits, our code, and these settings."""
    return {
        **base_environment(),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'graphql'}",
        "PYTHONUNBUFFERED": "1",
        # A stack of every thread in the log, should a process crash in native code.
        "PYTHONFAULTHANDLER": "1",
        **values,
    }
