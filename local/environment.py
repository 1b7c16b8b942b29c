"""The settings of each local process: where everything is, and how often it ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.emulators import CHAIN_ID, EmulatorHosts, base_environment

ROOT = Path(__file__).resolve().parent.parent

MAIL_FROM = "margin@fusion-prime.example"
HERMES_API_KEY = "local-pyth-key"


@dataclass(frozen=True)
class Intervals:
    """How often the scheduled functions tick, and for how long one call of the clock keeps them ticking."""

    price_s: float = 1.0
    relay_s: float = 1.0
    sweep_s: float = 2.0
    archive_s: float = 2.0
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


def settings(project: str, places: Places, intervals: Intervals, log_level: str) -> dict[str, str]:
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
        "RELAY_INTERVAL_S": f"{intervals.relay_s:g}",
        "SWEEP_INTERVAL_S": f"{intervals.sweep_s:g}",
        "ARCHIVE_INTERVAL_S": f"{intervals.archive_s:g}",
        "MARGIN_SHARDS": "1",
        "RISK_BLOCK_ACCOUNTS": "10000",
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
