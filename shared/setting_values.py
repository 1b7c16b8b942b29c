"""What a setting's text means: one reader per kind of value, none of which knows where the text comes from.

Each raises ``ValueError`` with what is wrong with the text; ``shared.config`` names the variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.domain.fees import FeeCap
from shared.domain.public_addresses import Network
from shared.domain.sharding import SHARD_COUNTS

_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where outgoing mail is handed over. ``starttls`` follows the URL's scheme (``smtp+starttls``)."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    starttls: bool


def text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


def file(value: str) -> Path:
    path = Path(value)
    if not path.is_file():
        raise ValueError(f"names a file that does not exist: {value}")
    return path


def host(value: str) -> str:
    host, separator, port = value.removeprefix("http://").rpartition(":")
    if not separator or not host or not port.isdigit():
        raise ValueError(f"must be host:port, got {value!r}")
    return value


def seconds(value: str) -> float:
    try:
        seconds = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"must be a number of seconds, got {value!r}") from None
    if not seconds.is_finite() or seconds <= 0:
        raise ValueError(f"must be greater than zero, got {value!r}")
    return float(seconds)


def count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"must be a whole number of at least 1, got {value!r}")
    return int(value)


def rpc_urls(value: str) -> Mapping[int, tuple[str, ...]]:
    return _urls_by_chain(value, ("http", "https"))


def web_sockets(value: str) -> Mapping[int, tuple[str, ...]]:
    return {} if value == "none" else _urls_by_chain(value, ("ws", "wss"))


def _urls_by_chain(value: str, schemes: tuple[str, ...]) -> Mapping[int, tuple[str, ...]]:
    urls: dict[int, tuple[str, ...]] = {}
    for entry in value.split():
        chain, separator, listed = entry.partition("=")
        if not separator or not chain.isdigit():
            raise ValueError("must be '<chain id>=<url>,<url> <chain id>=<url>'")
        if int(chain) in urls:
            raise ValueError(f"lists chain {chain} twice")
        urls[int(chain)] = tuple(listed.split(","))
        for url in urls[int(chain)]:
            if urlsplit(url).scheme not in schemes or not urlsplit(url).hostname:
                raise ValueError(f"has no {schemes[0]}(s) URL for chain {chain}")
    if not urls:
        raise ValueError("is empty")
    return urls


def token(value: str) -> str:
    if not _BEARER_TOKEN.fullmatch(value):
        raise ValueError("must be a bearer token (RFC 6750): letters, digits and -._~+/=")
    return value


def urls(value: str) -> tuple[str, ...]:
    urls = tuple(value.split(","))
    for url in urls:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError("must be http(s) URLs joined by ','")
    return urls


def signer_keys(value: str) -> tuple[bytes, ...]:
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


def fee_caps(value: str) -> Mapping[int, FeeCap]:
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


def smtp(value: str) -> SmtpServer:
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


def address(value: str) -> str:
    if value.count("@") != 1 or value.startswith("@") or value.endswith("@"):
        raise ValueError(f"must be an e-mail address, got {value!r}")
    return value


def shards(value: str) -> int:
    if not value.isdigit() or int(value) not in SHARD_COUNTS:
        raise ValueError(f"must be one of {', '.join(map(str, SHARD_COUNTS))}, got {value!r}")
    return int(value)


def networks(value: str) -> tuple[Network, ...]:
    if value == "none":
        return ()
    try:
        return tuple(ip_network(each) for each in value.split(","))
    except ValueError as error:
        raise ValueError(f"must be 'none' or networks joined by ',': {error}") from None


def level(value: str) -> str:
    if value not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError(f"must be DEBUG, INFO, WARNING or ERROR, got {value!r}")
    return value
