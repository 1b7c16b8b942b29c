"""Webhook endpoints that clients register for settlement events: who may see them, what they are told, when
they are switched off.

An endpoint is told of events of its accounts. Where the client named none, its accounts are those that the
client's key may see at that moment: every account for a key that is not restricted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

from shared.domain.api_keys import ApiKey
from shared.domain.client_keys import CLIENT_KEY_RULE, is_client_key
from shared.domain.public_addresses import is_public

DISABLED_AFTER = timedelta(days=5)
"""An endpoint of which nothing was taken for so long is switched off."""

HELD_FOR = timedelta(days=7)
"""Events are kept for an endpoint that is off for so long after it was switched off; its owner may ask for
them once it is on again."""

SECRET_OVERLAP = timedelta(hours=24)
"""How long a secret that was replaced still signs beside the new one, unless asked otherwise."""

MAX_SECRET_OVERLAP = timedelta(days=7)
MAX_ACCOUNTS = 500
MAX_DESCRIPTION = 500
SECRET_BYTES = 32
"""Standard Webhooks asks for 24 to 64 random bytes."""

_MAX_URL = 2_048
_PRINTABLE = re.compile(r"[!-~]+")


class WebhookEventType(StrEnum):
    """The events that an endpoint may ask for: the kinds of settlement events.

    A retraction is no type of its own: whoever is told of an event is told if it is taken back.
    """

    POSITION_CHANGED = "position_changed"
    MARKET_CHANGED = "market_changed"
    ESCROW_CREATED = "escrow_created"
    ESCROW_APPROVED = "escrow_approved"
    ESCROW_ARBITER_PROPOSED = "escrow_arbiter_proposed"
    ESCROW_ARBITER_CHANGED = "escrow_arbiter_changed"
    ESCROW_DISPUTED = "escrow_disputed"
    ESCROW_RESOLVED = "escrow_resolved"
    ESCROW_RELEASED = "escrow_released"
    ESCROW_REFUNDED = "escrow_refunded"
    ESCROW_WITHDRAWN = "escrow_withdrawn"
    DVP_CREATED = "dvp_created"
    DVP_DEPOSITED = "dvp_deposited"
    DVP_SETTLED = "dvp_settled"
    DVP_REFUNDED = "dvp_refunded"
    DVP_WITHDRAWN = "dvp_withdrawn"


class EndpointState(StrEnum):
    """Whether an endpoint is sent anything, and why not."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    """By its owner."""
    GONE = "gone"
    """It answered 410 Gone."""
    FAILING = "failing"
    """Nothing was taken for :data:`DISABLED_AFTER`."""


class WebhookRefusedError(ValueError):
    """What a client asks for cannot be done; names the field to blame."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"{field} {reason}")


@dataclass(frozen=True, slots=True)
class PreviousSecret:
    """A secret that was replaced, and until when it still signs."""

    secret: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where a client receives events. ``accounts`` None means every account; no ``event_types`` mean all.

    ``failing_since`` is the first failure after which nothing was taken; ``reason`` says why it is not
    enabled, ``off_since`` since when. ``final_only``: it is told of events once they are final, and so of no
    retraction; that never changes, for whoever changed over would be told of some events twice or never.
    """

    endpoint_id: str
    url: str
    description: str
    accounts: frozenset[str] | None
    event_types: frozenset[WebhookEventType]
    state: EndpointState
    reason: str | None
    secret: str = field(repr=False)
    previous_secret: PreviousSecret | None
    failing_since: datetime | None
    created_at: datetime
    off_since: datetime | None = None
    final_only: bool = False

    @property
    def enabled(self) -> bool:
        """Whether events are sent to it."""
        return self.state is EndpointState.ENABLED

    def signing_secrets(self, now: datetime) -> tuple[str, ...]:
        """The secrets to sign with: the present one, and the one before it while that is still accepted."""
        previous = self.previous_secret
        if previous is None or previous.expires_at <= now:
            return (self.secret,)
        return (self.secret, previous.secret)

    def receives(self, now: datetime) -> bool:
        """Whether events are kept for it: it is on, or has not been off for longer than :data:`HELD_FOR`."""
        return self.enabled or (self.off_since is not None and now - self.off_since <= HELD_FOR)

    def wants(
        self,
        event_type: WebhookEventType,
        concerned: frozenset[str],
        happened_at: datetime,
        *,
        final: bool,
    ) -> bool:
        """Whether it is to be told of an event that concerns these accounts, and is announced or final.

        What happened before it was registered is not: a back-fill announces years of events again.
        """
        return (
            self.final_only == final
            and happened_at >= self.created_at
            and (not self.event_types or event_type in self.event_types)
            and (self.accounts is None or not self.accounts.isdisjoint(concerned))
        )

    def rotated(self, secret: str, now: datetime, overlap: timedelta) -> WebhookEndpoint:
        """With a new secret; the present one still signs for ``overlap``.

        Raises:
            WebhookRefusedError: the overlap is too long.
        """
        if not timedelta(0) <= overlap <= MAX_SECRET_OVERLAP:
            raise WebhookRefusedError("overlapS", f"must be 0 to {int(MAX_SECRET_OVERLAP.total_seconds())}")
        previous = PreviousSecret(self.secret, now + overlap) if overlap else None
        return replace(self, secret=secret, previous_secret=previous)

    def switched(self, now: datetime, *, on: bool) -> WebhookEndpoint:
        """Enabled, or disabled by its owner; the same where it is so already."""
        if on == self.enabled:
            return self
        if on:
            return replace(self, state=EndpointState.ENABLED, reason=None, failing_since=None, off_since=None)
        return replace(self, state=EndpointState.DISABLED, reason="disabled by its owner", off_since=now)

    def after_success(self) -> WebhookEndpoint:
        """After it took something."""
        return replace(self, failing_since=None) if self.failing_since is not None else self

    def after_failure(self, status: int | None, error: str, now: datetime) -> WebhookEndpoint:
        """After it took nothing: switched off by 410 Gone, or once it has failed for too long."""
        if not self.enabled:
            return self
        since = self.failing_since or now
        failed = replace(self, failing_since=since)
        if status == 410:
            reason = f"it answered 410 Gone at {now.isoformat()}"
            return replace(failed, state=EndpointState.GONE, reason=reason, off_since=now)
        if now - since >= DISABLED_AFTER:
            reason = f"nothing was taken since {since.isoformat()}; the last failure: {error}"
            return replace(failed, state=EndpointState.FAILING, reason=reason, off_since=now)
        return failed


def sees_endpoint(key: ApiKey, endpoint: WebhookEndpoint) -> bool:
    """Whether a key may see and change an endpoint: it must see every account of the endpoint."""
    if endpoint.accounts is None:
        return key.accounts is None
    return all(map(key.sees, endpoint.accounts))


def scope_of(key: ApiKey, named: Sequence[str]) -> frozenset[str] | None:
    """The accounts of a new endpoint; the key must see those that were named.

    Raises:
        WebhookRefusedError: there are none, or too many.
    """
    accounts = frozenset(named) if named else key.accounts
    if accounts is not None and not 0 < len(accounts) <= MAX_ACCOUNTS:
        raise WebhookRefusedError("accountIds", f"must be 1 to {MAX_ACCOUNTS}")
    return accounts


def format_secret(random: bytes) -> str:
    """A Standard Webhooks secret of so many random bytes."""
    return "whsec_" + base64.b64encode(random).decode()


def check_url(url: str, *, local: bool) -> None:
    """Make sure that a URL can be an endpoint's; ``local`` allows http and our own machine.

    A name is resolved and its addresses are checked whenever something is sent; an address that is written
    out can be refused at once.

    Raises:
        WebhookRefusedError: saying what is wrong.
    """
    if len(url) > _MAX_URL or not _PRINTABLE.fullmatch(url):
        raise WebhookRefusedError("url", f"must be at most {_MAX_URL} printable ASCII characters, no spaces")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise WebhookRefusedError("url", f"is no URL: {error}") from None
    if parts.scheme not in (("https", "http") if local else ("https",)) or not host:
        raise WebhookRefusedError("url", "must be an https URL")
    if parts.username is not None or parts.fragment:
        raise WebhookRefusedError("url", "must have no user, password or fragment")
    try:
        address = ip_address(host)
    except ValueError:
        return
    if not local and not is_public(address):
        raise WebhookRefusedError("url", "must not name an address that is not public")


def check_description(description: str) -> None:
    """Make sure that a description is one.

    Raises:
        WebhookRefusedError: it is too long.
    """
    if len(description) > MAX_DESCRIPTION:
        raise WebhookRefusedError("description", f"must have at most {MAX_DESCRIPTION} characters")


def check_client_key(client_key: str) -> None:
    """Make sure that a client's key can name a registration.

    Raises:
        WebhookRefusedError: it cannot.
    """
    if not is_client_key(client_key):
        raise WebhookRefusedError("clientKey", CLIENT_KEY_RULE)


def registration_hash(
    url: str,
    description: str,
    named: Sequence[str],
    event_types: frozenset[WebhookEventType],
    *,
    final_only: bool,
) -> str:
    """SHA-256 of what a client asks to be registered, in hexadecimal, whatever the order of what it names."""
    asked = [url, description, sorted(set(named)), sorted(each.value for each in event_types)]
    if final_only:
        # Not where it is not: registrations of before it could be asked for have no such word.
        asked.append("final only")
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
