"""The only module that reads the environment.

Each deployed function declares, in ``functions.yaml`` and beside its code, the settings it needs and the
services it uses. :func:`load` validates exactly those, all at once, before the process listens. There are
no defaults for anything that carries a business value or points at a service: what is missing stops the
process and is named.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from shared import setting_values
from shared.domain.fees import FeeCap
from shared.domain.public_addresses import Network
from shared.errors import ConfigurationError
from shared.setting_values import SmtpServer


class Environment(StrEnum):
    """Where the process runs. ``LOCAL`` and ``TEST`` require emulators; the others forbid them."""

    LOCAL = "local"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"

    @property
    def emulated(self) -> bool:
        """True where every Google service must be an emulator."""
        return self in (Environment.LOCAL, Environment.TEST)


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """One environment variable: how it is read and what it is for (printed into docs/settings.md)."""

    parse: Callable[[str], Any]
    purpose: str
    example: str
    secret: bool = False


SPECS: Mapping[str, SettingSpec] = {
    "FUSION_ENVIRONMENT": SettingSpec(
        Environment, "Where the process runs: local, test, staging or production.", "local"
    ),
    "GOOGLE_CLOUD_PROJECT": SettingSpec(setting_values.text, "The Google Cloud project.", "fusion-prime-dev"),
    "FIRESTORE_EMULATOR_HOST": SettingSpec(
        setting_values.host, "The Firestore emulator; only in local and test.", "127.0.0.1:8080"
    ),
    "PUBSUB_EMULATOR_HOST": SettingSpec(
        setting_values.host, "The Pub/Sub emulator; only in local and test.", "127.0.0.1:8085"
    ),
    "BIGQUERY_EMULATOR_HOST": SettingSpec(
        setting_values.host, "The BigQuery emulator; only in local and test.", "http://127.0.0.1:9050"
    ),
    "BIGQUERY_DATASET": SettingSpec(setting_values.text, "The dataset that holds the history.", "fusion"),
    "NETWORK_FILE": SettingSpec(
        setting_values.file,
        "Chains, contracts, assets, feeds and margin policy (JSON).",
        "config/network.json",
    ),
    "RPC_URLS": SettingSpec(
        setting_values.rpc_urls,
        "Chain nodes: '<chain id>=<url>,<url> <chain id>=<url>'.",
        "31337=http://127.0.0.1:8545",
        secret=True,
    ),
    "HERMES_URLS": SettingSpec(
        setting_values.urls,
        "Base addresses of Pyth's Hermes, in order of preference: '<url>,<url>'.",
        "https://pyth.dourolabs.app/hermes",
    ),
    "HERMES_API_KEY": SettingSpec(
        setting_values.token, "The key that Hermes asks for in every request.", "pyth-key", secret=True
    ),
    "PRICE_INTERVAL_S": SettingSpec(setting_values.seconds, "Seconds between price ticks.", "1"),
    "RELAY_INTERVAL_S": SettingSpec(
        setting_values.seconds, "Seconds between looks at each chain's head.", "1"
    ),
    "NEW_HEADS_URLS": SettingSpec(
        setting_values.web_sockets,
        "WebSockets of chain nodes whose new heads wake the relay at once: 'none', or as RPC_URLS.",
        "31337=ws://127.0.0.1:8545",
        secret=True,
    ),
    "SWEEP_INTERVAL_S": SettingSpec(setting_values.seconds, "Seconds between sweeps of the outbox.", "2"),
    "ARCHIVE_INTERVAL_S": SettingSpec(setting_values.seconds, "Seconds between batches into BigQuery.", "2"),
    "MARGIN_SHARDS": SettingSpec(
        setting_values.shards,
        "Into how many shards the margin book is cut: 1 up to some hundred thousand accounts.",
        "1",
    ),
    "RISK_BLOCK_ACCOUNTS": SettingSpec(
        setting_values.count,
        "Accounts that measure_risk measures at a time, in one function's memory and time.",
        "10000",
    ),
    "SIGNER_KEYS": SettingSpec(
        setting_values.signer_keys,
        "Who signs transactions: 'kms', or 'local:<key>,<key>' (hexadecimal) in development only.",
        "kms",
        secret=True,
    ),
    "FEE_CAPS": SettingSpec(
        setting_values.fee_caps,
        "The most that is bid per gas, at first and at the deadline (less room for a no-op): "
        "'<chain id>=<gwei>:<gwei>'.",
        "31337=100:1000",
    ),
    "FOLLOW_INTERVAL_S": SettingSpec(
        setting_values.seconds, "Seconds between looks at our transactions.", "2"
    ),
    "RESEND_AFTER_S": SettingSpec(
        setting_values.seconds,
        "Seconds after which a transaction is sent again; after twice as many it bids more.",
        "30",
    ),
    "WINDOW_S": SettingSpec(
        setting_values.seconds, "Seconds for which one scheduled invocation keeps ticking.", "55"
    ),
    "WEBHOOK_INTERVAL_S": SettingSpec(
        setting_values.seconds, "Seconds between looks at webhooks that are due.", "1"
    ),
    "WEBHOOK_LOCAL_NETWORKS": SettingSpec(
        setting_values.networks,
        "Networks that are not public and webhooks may go to: 'none', or a list in development only.",
        "none",
    ),
    "SMTP_URL": SettingSpec(setting_values.smtp, "The mail relay.", "smtp://127.0.0.1:1025", secret=True),
    "MAIL_FROM": SettingSpec(
        setting_values.address, "Sender of every e-mail.", "margin@fusion-prime.example"
    ),
    "LOG_LEVEL": SettingSpec(setting_values.level, "Least severe level that is logged.", "INFO"),
}

BASE = ("FUSION_ENVIRONMENT", "GOOGLE_CLOUD_PROJECT", "LOG_LEVEL")
EMULATOR_HOSTS: Mapping[str, str] = {
    "firestore": "FIRESTORE_EMULATOR_HOST",
    "pubsub": "PUBSUB_EMULATOR_HOST",
    "bigquery": "BIGQUERY_EMULATOR_HOST",
}


class Settings:
    """Validated settings of one process. Reading one that was not declared is a programming error.

    Equal and hashable by value, so that clients and warm state are cached per distinct configuration.
    """

    __slots__ = ("_raw", "_values")

    def __init__(self, raw: Mapping[str, str], values: Mapping[str, Any]) -> None:
        self._raw = frozenset(raw.items())
        self._values = dict(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self._raw == other._raw

    def __hash__(self) -> int:
        return hash(self._raw)

    def __repr__(self) -> str:
        names = ", ".join(sorted(self._values))
        return f"Settings({names})"

    def _get(self, name: str) -> Any:
        if name not in self._values:
            raise ConfigurationError([f"{name} is read but not declared: add it to functions.yaml"])
        return self._values[name]

    @property
    def environment(self) -> Environment:
        """Where the process runs."""
        value: Environment = self._get("FUSION_ENVIRONMENT")
        return value

    @property
    def project(self) -> str:
        """The Google Cloud project id."""
        return str(self._get("GOOGLE_CLOUD_PROJECT"))

    @property
    def log_level(self) -> str:
        """Least severe level that is logged."""
        return str(self._get("LOG_LEVEL"))

    @property
    def bigquery_dataset(self) -> str:
        """The dataset that holds the history."""
        return str(self._get("BIGQUERY_DATASET"))

    @property
    def bigquery_emulator_url(self) -> str | None:
        """Base URL of the BigQuery emulator, or None in a deployed environment."""
        if "BIGQUERY_EMULATOR_HOST" not in self._values:
            return None
        host = str(self._values["BIGQUERY_EMULATOR_HOST"])
        return host if host.startswith("http://") else f"http://{host}"

    @property
    def emulated_hosts(self) -> Mapping[str, str]:
        """Emulator host by service (``firestore``, ``pubsub``, ``bigquery``); empty when deployed."""
        return {
            service: str(self._values[name])
            for service, name in EMULATOR_HOSTS.items()
            if name in self._values
        }

    @property
    def network_file(self) -> Path:
        """The network description."""
        value: Path = self._get("NETWORK_FILE")
        return value

    @property
    def rpc_urls(self) -> Mapping[int, tuple[str, ...]]:
        """Node URLs by chain id, in order of preference."""
        value: Mapping[int, tuple[str, ...]] = self._get("RPC_URLS")
        return value

    @property
    def hermes_urls(self) -> tuple[str, ...]:
        """Base addresses of Pyth's Hermes, in order of preference."""
        value: tuple[str, ...] = self._get("HERMES_URLS")
        return value

    @property
    def hermes_api_key(self) -> str:
        """The key that Hermes asks for."""
        return str(self._get("HERMES_API_KEY"))

    @property
    def price_interval_s(self) -> float:
        """Seconds between price ticks."""
        return float(self._get("PRICE_INTERVAL_S"))

    @property
    def relay_interval_s(self) -> float:
        """Seconds between looks at each chain's head."""
        return float(self._get("RELAY_INTERVAL_S"))

    @property
    def new_heads_urls(self) -> Mapping[int, tuple[str, ...]]:
        """WebSocket URLs by chain id; none where the relay is to poll only."""
        value: Mapping[int, tuple[str, ...]] = self._get("NEW_HEADS_URLS")
        return value

    @property
    def sweep_interval_s(self) -> float:
        """Seconds between sweeps of the outbox."""
        return float(self._get("SWEEP_INTERVAL_S"))

    @property
    def archive_interval_s(self) -> float:
        """Seconds between batches into BigQuery."""
        return float(self._get("ARCHIVE_INTERVAL_S"))

    @property
    def margin_shards(self) -> int:
        """Into how many shards the margin book is cut."""
        return int(self._get("MARGIN_SHARDS"))

    @property
    def risk_block_accounts(self) -> int:
        """Accounts that are measured at a time."""
        return int(self._get("RISK_BLOCK_ACCOUNTS"))

    @property
    def local_signer_keys(self) -> tuple[bytes, ...]:
        """Private keys to sign with in development; none where Cloud KMS signs."""
        value: tuple[bytes, ...] = self._get("SIGNER_KEYS")
        return value

    @property
    def fee_caps(self) -> Mapping[int, FeeCap]:
        """The most that a transaction may bid, by chain id."""
        value: Mapping[int, FeeCap] = self._get("FEE_CAPS")
        return value

    @property
    def follow_interval_s(self) -> float:
        """Seconds between looks at our transactions."""
        return float(self._get("FOLLOW_INTERVAL_S"))

    @property
    def resend_after_s(self) -> float:
        """Seconds after which a transaction is sent again."""
        return float(self._get("RESEND_AFTER_S"))

    @property
    def window_s(self) -> float:
        """Seconds for which one scheduled invocation keeps ticking."""
        return float(self._get("WINDOW_S"))

    @property
    def webhook_interval_s(self) -> float:
        """Seconds between looks at webhooks that are due."""
        return float(self._get("WEBHOOK_INTERVAL_S"))

    @property
    def webhook_local_networks(self) -> tuple[Network, ...]:
        """Networks that webhooks may go to although they are not public; none where deployed."""
        value: tuple[Network, ...] = self._get("WEBHOOK_LOCAL_NETWORKS")
        return value

    @property
    def smtp(self) -> SmtpServer:
        """The mail relay."""
        value: SmtpServer = self._get("SMTP_URL")
        return value

    @property
    def mail_from(self) -> str:
        """Sender of every e-mail."""
        return str(self._get("MAIL_FROM"))


def load(
    *,
    uses: Iterable[str] = (),
    settings: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read and check the settings of one process.

    Args:
        uses: Google services the process talks to (``firestore``, ``pubsub``, ``bigquery``).
        settings: names beyond :data:`BASE`, keys of :data:`SPECS`.
        environ: what to read; the process's environment unless a test passes another.

    Raises:
        ConfigurationError: naming every variable that is missing, malformed or contradictory.
    """
    source: Mapping[str, str] = os.environ if environ is None else environ
    problems: list[str] = []
    raw: dict[str, str] = {}
    values: dict[str, Any] = {}

    def read(name: str) -> None:
        spec = SPECS[name]
        if name not in source:
            problems.append(f"{name} is not set. {spec.purpose} Example: {spec.example}")
            return
        try:
            values[name] = spec.parse(source[name])
            raw[name] = source[name]
        except ValueError as error:
            # A secret's text must not reach the log, and some parsers quote it.
            problems.append(f"{name} is malformed." if spec.secret else f"{name} {error}.")

    for name in dict.fromkeys((*BASE, *settings)):
        read(name)

    environment = values.get("FUSION_ENVIRONMENT")
    emulators_set = [name for name in EMULATOR_HOSTS.values() if name in source]
    if "K_SERVICE" in source and emulators_set:
        problems.append(
            f"{', '.join(emulators_set)} set in a deployed service (K_SERVICE={source['K_SERVICE']}): "
            "unset it, an emulator loses every record."
        )
    if environment is not None and environment.emulated:
        if "K_SERVICE" in source:
            problems.append(
                f"FUSION_ENVIRONMENT is {environment} in a deployed service "
                f"(K_SERVICE={source['K_SERVICE']}): set it to staging or production."
            )
        for service in uses:
            read(EMULATOR_HOSTS[service])
    elif environment is not None and emulators_set:
        problems.append(
            f"{', '.join(emulators_set)} set while FUSION_ENVIRONMENT is {environment}: unset it, "
            "or set FUSION_ENVIRONMENT to local."
        )

    if environment is not None and not environment.emulated and values.get("SIGNER_KEYS"):
        problems.append(
            f"SIGNER_KEYS holds private keys while FUSION_ENVIRONMENT is {environment}: set it to 'kms'."
        )

    if environment is not None and not environment.emulated and values.get("WEBHOOK_LOCAL_NETWORKS"):
        problems.append(
            f"WEBHOOK_LOCAL_NETWORKS lets webhooks into our own networks while FUSION_ENVIRONMENT is "
            f"{environment}: set it to 'none'."
        )

    if problems:
        raise ConfigurationError(problems)
    return Settings(raw, values)
