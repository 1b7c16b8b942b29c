"""The only module that reads the environment.

Each deployed function declares, in ``functions.yaml`` and beside its code, the settings it needs and the
services it uses. :func:`load` validates exactly those, all at once, before the process listens. There are
no defaults for anything that carries a business value or points at a service: what is missing stops the
process and is named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.domain.fees import FeeCap
from shared.domain.sharding import SHARD_COUNTS
from shared.errors import ConfigurationError

_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


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
class SmtpServer:
    """Where outgoing mail is handed over. ``starttls`` follows the URL's scheme (``smtp+starttls``)."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    starttls: bool


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


def _file(value: str) -> Path:
    path = Path(value)
    if not path.is_file():
        raise ValueError(f"names a file that does not exist: {value}")
    return path


def _host(value: str) -> str:
    host, separator, port = value.removeprefix("http://").rpartition(":")
    if not separator or not host or not port.isdigit():
        raise ValueError(f"must be host:port, got {value!r}")
    return value


def _seconds(value: str) -> float:
    try:
        seconds = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"must be a number of seconds, got {value!r}") from None
    if not seconds.is_finite() or seconds <= 0:
        raise ValueError(f"must be greater than zero, got {value!r}")
    return float(seconds)


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"must be a whole number of at least 1, got {value!r}")
    return int(value)


def _rpc_urls(value: str) -> Mapping[int, tuple[str, ...]]:
    urls: dict[int, tuple[str, ...]] = {}
    for entry in value.split():
        chain, separator, listed = entry.partition("=")
        if not separator or not chain.isdigit():
            raise ValueError("must be '<chain id>=<url>,<url> <chain id>=<url>'")
        if int(chain) in urls:
            raise ValueError(f"lists chain {chain} twice")
        urls[int(chain)] = tuple(listed.split(","))
        for url in urls[int(chain)]:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ValueError(f"has no http(s) URL for chain {chain}")
    if not urls:
        raise ValueError("is empty")
    return urls


def _token(value: str) -> str:
    if not _BEARER_TOKEN.fullmatch(value):
        raise ValueError("must be a bearer token (RFC 6750): letters, digits and -._~+/=")
    return value


def _urls(value: str) -> tuple[str, ...]:
    urls = tuple(value.split(","))
    for url in urls:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError("must be http(s) URLs joined by ','")
    return urls


def _signer_keys(value: str) -> tuple[bytes, ...]:
    if value == "kms":
        return ()
    scheme, separator, listed = value.partition(":")
    if scheme != "local" or not separator:
        raise ValueError("must be 'kms' or 'local:<key>,<key>'")
    keys = tuple(bytes.fromhex(key.removeprefix("0x")) for key in listed.split(","))
    if any(len(key) != 32 for key in keys):
        raise ValueError("must have 32 bytes per key")
    return keys


_GWEI = 10**9


def _fee_caps(value: str) -> Mapping[int, FeeCap]:
    caps: dict[int, FeeCap] = {}
    for entry in value.split():
        chain, separator, bounds = entry.partition("=")
        start, colon, ceiling = bounds.partition(":")
        if not (separator and colon and chain.isdigit() and start.isdigit() and ceiling.isdigit()):
            raise ValueError(f"must be '<chain id>=<gwei>:<gwei>' per chain, got {value!r}")
        if int(chain) in caps:
            raise ValueError(f"lists chain {chain} twice")
        if not 0 < int(start) <= int(ceiling):
            raise ValueError(f"has a cap for chain {chain} that starts at zero or above its ceiling")
        caps[int(chain)] = FeeCap(int(start) * _GWEI, int(ceiling) * _GWEI)
    if not caps:
        raise ValueError("is empty")
    return caps


def _smtp(value: str) -> SmtpServer:
    parts = urlsplit(value)
    if parts.scheme not in ("smtp", "smtp+starttls") or not parts.hostname or not parts.port:
        raise ValueError("must be smtp://host:port or smtp+starttls://user:password@host:port")
    return SmtpServer(
        parts.hostname,
        parts.port,
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        starttls=parts.scheme == "smtp+starttls",
    )


def _address(value: str) -> str:
    if value.count("@") != 1 or value.startswith("@") or value.endswith("@"):
        raise ValueError(f"must be an e-mail address, got {value!r}")
    return value


def _shards(value: str) -> int:
    if not value.isdigit() or int(value) not in SHARD_COUNTS:
        raise ValueError(f"must be one of {', '.join(map(str, SHARD_COUNTS))}, got {value!r}")
    return int(value)


def _level(value: str) -> str:
    if value not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError(f"must be DEBUG, INFO, WARNING or ERROR, got {value!r}")
    return value


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
    "GOOGLE_CLOUD_PROJECT": SettingSpec(_text, "The Google Cloud project.", "fusion-prime-dev"),
    "FIRESTORE_EMULATOR_HOST": SettingSpec(
        _host, "The Firestore emulator; only in local and test.", "127.0.0.1:8080"
    ),
    "PUBSUB_EMULATOR_HOST": SettingSpec(
        _host, "The Pub/Sub emulator; only in local and test.", "127.0.0.1:8085"
    ),
    "BIGQUERY_EMULATOR_HOST": SettingSpec(
        _host, "The BigQuery emulator; only in local and test.", "http://127.0.0.1:9050"
    ),
    "BIGQUERY_DATASET": SettingSpec(_text, "The dataset that holds the history.", "fusion"),
    "NETWORK_FILE": SettingSpec(
        _file, "Chains, contracts, assets, feeds and margin policy (JSON).", "config/network.json"
    ),
    "RPC_URLS": SettingSpec(
        _rpc_urls,
        "Chain nodes: '<chain id>=<url>,<url> <chain id>=<url>'.",
        "31337=http://127.0.0.1:8545",
        secret=True,
    ),
    "HERMES_URLS": SettingSpec(
        _urls,
        "Base addresses of Pyth's Hermes, in order of preference: '<url>,<url>'.",
        "https://pyth.dourolabs.app/hermes",
    ),
    "HERMES_API_KEY": SettingSpec(
        _token, "The key that Hermes asks for in every request.", "pyth-key", secret=True
    ),
    "PRICE_INTERVAL_S": SettingSpec(_seconds, "Seconds between price ticks.", "1"),
    "RELAY_INTERVAL_S": SettingSpec(_seconds, "Seconds between looks at each chain's head.", "1"),
    "SWEEP_INTERVAL_S": SettingSpec(_seconds, "Seconds between sweeps of the outbox.", "2"),
    "ARCHIVE_INTERVAL_S": SettingSpec(_seconds, "Seconds between batches into BigQuery.", "2"),
    "MARGIN_SHARDS": SettingSpec(
        _shards, "Into how many shards the margin book is cut: 1 up to some hundred thousand accounts.", "1"
    ),
    "RISK_BLOCK_ACCOUNTS": SettingSpec(
        _count, "Accounts that measure_risk measures at a time, in one function's memory and time.", "10000"
    ),
    "SIGNER_KEYS": SettingSpec(
        _signer_keys,
        "Who signs transactions: 'kms', or 'local:<key>,<key>' (hexadecimal) in development only.",
        "kms",
        secret=True,
    ),
    "FEE_CAPS": SettingSpec(
        _fee_caps,
        "The most that a transaction bids per gas, at first and at its deadline: '<chain id>=<gwei>:<gwei>'.",
        "31337=100:1000",
    ),
    "FOLLOW_INTERVAL_S": SettingSpec(_seconds, "Seconds between looks at our transactions.", "2"),
    "RESEND_AFTER_S": SettingSpec(
        _seconds, "Seconds after which a transaction is sent again; after twice as many it bids more.", "30"
    ),
    "WINDOW_S": SettingSpec(_seconds, "Seconds for which one scheduled invocation keeps ticking.", "55"),
    "SMTP_URL": SettingSpec(_smtp, "The mail relay.", "smtp://127.0.0.1:1025", secret=True),
    "MAIL_FROM": SettingSpec(_address, "Sender of every e-mail.", "margin@fusion-prime.example"),
    "LOG_LEVEL": SettingSpec(_level, "Least severe level that is logged.", "INFO"),
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

    if problems:
        raise ConfigurationError(problems)
    return Settings(raw, values)
