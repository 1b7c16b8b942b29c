"""One event on its way to one webhook endpoint, and when it is tried again.

The schedule is the one that Standard Webhooks recommends
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md): at once, and
then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h, each up to a tenth later. Which tenth
follows from the delivery and the attempt, so that what failed together is not tried again together.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

RETRY_AFTER = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""How long after each failed attempt the next one follows; after the last there is none."""

CLAIM = timedelta(seconds=60)
"""How long one process has to make an attempt and record it: longer than any attempt takes. Then it counts
as not made, and is made again under the same webhook id."""

RETENTION = timedelta(days=30)
"""How long a delivery and its log are kept after it was created, or last asked for."""

MAX_ATTEMPTS_KEPT = 20
"""Attempts that the log keeps of one delivery, the newest."""

_JITTER = 0.1
_MAX_RETRY_AFTER = timedelta(hours=24)
_DELIVERY_ID = re.compile(r"whd_[0-9a-f]{40}")
_ENDPOINT_ID = re.compile(r"whe_[0-9a-f]{32}")


class WebhookDeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """It is tried at ``next_attempt_at``."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Nothing more is tried unless somebody asks for it."""


@dataclass(frozen=True, slots=True)
class WebhookAttempt:
    """One attempt: what was answered, or why nothing was."""

    attempted_at: datetime
    status: int | None
    latency_ms: int
    error: str | None
    excerpt: str


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """One event on its way to one endpoint. ``body`` is what is sent, the same bytes every time.

    ``tries`` counts the attempts of the present round of the schedule; asking for a delivery again begins a
    new round. ``attempts`` are the newest ones, in order; ``attempt_count`` counts all. From
    ``expires_at`` on the store may forget it.
    """

    delivery_id: str
    endpoint_id: str
    event_id: str
    event_type: str
    body: bytes
    status: WebhookDeliveryStatus
    attempts: tuple[WebhookAttempt, ...]
    attempt_count: int
    tries: int
    next_attempt_at: datetime | None
    error: str | None
    created_at: datetime
    expires_at: datetime

    @property
    def webhook_id(self) -> str:
        """What the receiver knows it by, the same at every attempt and after every crash."""
        return "msg_" + self.delivery_id.removeprefix("whd_")

    def claimed(self, now: datetime) -> WebhookDelivery:
        """Taken by one process, for the time of an attempt."""
        return replace(self, next_attempt_at=now + CLAIM)

    def deferred(self, moment: datetime) -> WebhookDelivery:
        """Not tried now but at a moment; that is no attempt."""
        return replace(self, next_attempt_at=moment)

    def given_up(self, reason: str) -> WebhookDelivery:
        """Not tried any more."""
        return replace(self, status=WebhookDeliveryStatus.FAILED, next_attempt_at=None, error=reason)

    def attempted(self, attempt: WebhookAttempt, *, retry_after: timedelta | None = None) -> WebhookDelivery:
        """After an attempt: delivered, to be tried again, or failed for good.

        Args:
            retry_after: what the endpoint asked to be left alone for.
        """
        counted = replace(
            self,
            attempts=(*self.attempts, attempt)[-MAX_ATTEMPTS_KEPT:],
            attempt_count=self.attempt_count + 1,
            tries=self.tries + 1,
            error=attempt.error,
        )
        if attempt.error is None:
            return replace(counted, status=WebhookDeliveryStatus.DELIVERED, next_attempt_at=None)
        if attempt.status == 410:
            return counted.given_up(attempt.error)
        if counted.tries > len(RETRY_AFTER):
            return counted.given_up(f"given up after {counted.tries} attempts: {attempt.error}")
        wait = RETRY_AFTER[counted.tries - 1] * (
            1 + _JITTER * _fraction(self.delivery_id, self.attempt_count)
        )
        if retry_after is not None:
            wait = max(wait, min(retry_after, _MAX_RETRY_AFTER))
        return replace(counted, next_attempt_at=attempt.attempted_at + wait)

    def asked_again(self, now: datetime) -> WebhookDelivery:
        """To be tried at once, with the whole schedule before it, under the same webhook id."""
        return replace(
            self,
            status=WebhookDeliveryStatus.PENDING,
            tries=0,
            next_attempt_at=now,
            error=None,
            expires_at=max(self.expires_at, now + RETENTION),
        )


def new_delivery(
    endpoint_id: str, event_id: str, event_type: str, body: bytes, now: datetime
) -> WebhookDelivery:
    """An event that is due at an endpoint at once."""
    return WebhookDelivery(
        delivery_id=webhook_delivery_id(endpoint_id, event_id),
        endpoint_id=endpoint_id,
        event_id=event_id,
        event_type=event_type,
        body=body,
        status=WebhookDeliveryStatus.PENDING,
        attempts=(),
        attempt_count=0,
        tries=0,
        next_attempt_at=now,
        error=None,
        created_at=now,
        expires_at=now + RETENTION,
    )


def _fraction(delivery_id: str, attempt: int) -> float:
    """A number in [0, 1) that differs per delivery and attempt."""
    digest = hashlib.sha256(f"{delivery_id}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


def webhook_delivery_id(endpoint_id: str, event_id: str) -> str:
    """The id of an event's delivery to an endpoint: there is one."""
    return "whd_" + hashlib.sha256(f"{endpoint_id}\n{event_id}".encode()).hexdigest()[:40]


def is_delivery_id(text: str) -> bool:
    """Whether a text can be a delivery's id."""
    return _DELIVERY_ID.fullmatch(text) is not None


def is_endpoint_id(text: str) -> bool:
    """Whether a text can be an endpoint's id."""
    return _ENDPOINT_ID.fullmatch(text) is not None


def retry_after(header: str | None) -> timedelta | None:
    """What a ``Retry-After`` header in seconds asks for; None where there is none, or a date."""
    if header is None or not re.fullmatch(r"[0-9]{1,9}", header.strip()):
        return None
    return timedelta(seconds=int(header))
