"""API keys: how they look, how they are kept, and what one of them allows.

A key is ``fp_<key id>_<secret>``. The secret has 256 random bits, so one round of SHA-256 is enough: there
is nothing to guess that a slow hash would protect (unlike a password).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_FORMAT = re.compile(r"fp_([0-9a-z]{12})_([A-Za-z0-9_-]{43})")


class Scope(StrEnum):
    """What a key may read, or do."""

    ACCOUNTS_READ = "accounts:read"
    MARKS_READ = "marks:read"
    ESCROWS_READ = "escrows:read"
    ALERTS_READ = "alerts:read"
    DELIVERIES_READ = "deliveries:read"
    HISTORY_READ = "history:read"
    COMMANDS_READ = "commands:read"
    COMMANDS_WRITE = "commands:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    OPERATIONS_READ = "operations:read"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept. ``accounts`` is the allow-list of account ids; None means every account."""

    key_id: str
    secret_hash: str
    name: str
    scopes: frozenset[Scope]
    accounts: frozenset[str] | None
    expires_at: datetime | None
    enabled: bool

    def allows(self, scope: Scope) -> bool:
        """Whether the key has a scope."""
        return scope in self.scopes

    def sees(self, account_id: str) -> bool:
        """Whether the key may see an account."""
        return self.accounts is None or account_id in self.accounts

    def valid_at(self, moment: datetime) -> bool:
        """Whether the key may be used at a moment."""
        return self.enabled and (self.expires_at is None or moment < self.expires_at)


def split_key(presented: str) -> tuple[str, str] | None:
    """The key id and secret of a presented key, or None where it does not look like one."""
    match = _FORMAT.fullmatch(presented)
    return None if match is None else (match[1], match[2])


def format_key(key_id: str, secret: str) -> str:
    """The key as its owner gets it, once.

    Raises:
        ValueError: where the parts do not make a key.
    """
    key = f"fp_{key_id}_{secret}"
    if split_key(key) is None:
        raise ValueError("a key id has 12 characters of 0-9a-z and a secret 43 of base64url")
    return key


def hash_secret(secret: str) -> str:
    """What is kept of a secret: SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(key: ApiKey, secret: str) -> bool:
    """Whether a presented secret is the key's, in constant time."""
    return hmac.compare_digest(key.secret_hash, hash_secret(secret))


def parse_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Scopes by name.

    Raises:
        ValueError: naming a scope that does not exist.
    """
    return frozenset(Scope(name) for name in names)
