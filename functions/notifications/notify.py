"""Delivers alerts by e-mail and signed webhook.

Trigger: ``alerts.margin.v1``, ``alerts.operations.v1``.
Reads: ``contacts``, ``deliveries``.
Writes: ``deliveries``: leased before anything is sent, concluded after.
Publishes: ``notifications.deliveries.v1``.

Each channel of each recipient is one delivery. A crash between sending and concluding sends once more,
under the same webhook id or Message-ID.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from shared.domain import notifications
from shared.domain.notifications import Channel, DeliveryStatus, Notice
from shared.errors import ConflictError, RetryableError, TerminalError
from shared.events import topics
from shared.events.deliveries import DeliveryChanged, delivery_event_id
from shared.events.margin import MarginTransition
from shared.events.operations import OperationsAlert
from shared.messaging import publisher
from shared.providers import mail, webhooks
from shared.providers.delivery import SendingFailedError, SendingRejectedError
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import pubsub_function
from shared.stores import contacts, database, deliveries, outbox
from shared.stores.deliveries import Delivery

LEASE = timedelta(seconds=30)
"""Longer than both channels' time limits together (18 s and 10 s): nothing is sent by two at once."""


@pubsub_function(
    uses=("firestore", "pubsub"),
    settings=("SMTP_URL", "MAIL_FROM"),
    messages={
        topics.MARGIN_ALERTS: TypeAdapter(MarginTransition),
        topics.OPERATIONS_ALERTS: TypeAdapter(OperationsAlert),
    },
)
def notify(event: MarginTransition | OperationsAlert, context: Context) -> None:
    """Deliver one alert over every channel of its recipient."""
    if isinstance(event, MarginTransition) and not event.notify:
        return
    recipient_id = event.account_id if isinstance(event, MarginTransition) else contacts.OPERATIONS
    client = database.connect(context.settings)
    contact = contacts.find(client, recipient_id)
    if contact is None:
        raise TerminalError(
            f"recipient {recipient_id} has no contact: add one and replay the dead letter",
            field="account_id",
        )
    sendings = _sendings(event, contact, context)
    leased, known = _lease_due(event, contact, sendings, context)
    concluded = {
        delivery_id: _attempt(delivery, sendings[delivery_id])
        for delivery_id, (delivery, _) in leased.items()
    }
    _conclude(concluded, leased, context)
    unfinished = [
        f"{delivery_id}: {delivery.error or 'being sent by another'}"
        for delivery_id, delivery in {**known, **concluded}.items()
        if delivery.status in (DeliveryStatus.FAILED, DeliveryStatus.SENDING)
    ]
    if unfinished:
        raise RetryableError("; ".join(unfinished))


def _lease_due(
    event: MarginTransition | OperationsAlert,
    contact: contacts.Contact,
    sendings: dict[str, _Sending],
    context: Context,
) -> tuple[dict[str, tuple[Delivery, Any]], dict[str, Delivery]]:
    """The deliveries that this process may make now, and all that were known before.

    Nearly every alert is new, so its deliveries are first leased as such, without a read.
    """
    try:
        return _lease(event, contact, dict.fromkeys(sendings), context), {}
    except ConflictError:
        known = deliveries.find_many(database.connect(context.settings), sendings)
    due = {
        delivery_id: known.get(delivery_id)
        for delivery_id in sendings
        if delivery_id not in known or _is_due(known[delivery_id][0], clock.now())
    }
    leased = _lease(event, contact, due, context) if due else {}
    return leased, {delivery_id: delivery for delivery_id, (delivery, _) in known.items()}


def _is_due(delivery: Delivery, now: datetime) -> bool:
    if delivery.status is DeliveryStatus.SENDING:
        return delivery.leased_until is None or delivery.leased_until <= now
    return delivery.status is DeliveryStatus.FAILED


@dataclass(frozen=True, slots=True)
class _Sending:
    channel: Channel
    send: Callable[[], None]


def _sendings(
    event: MarginTransition | OperationsAlert, contact: contacts.Contact, context: Context
) -> dict[str, _Sending]:
    """What to send, by delivery id."""
    notice = _notice(event)
    found: dict[str, _Sending] = {}
    if contact.email is not None:
        identifier = notifications.delivery_id(event.event_id, contact.recipient_id, Channel.EMAIL)
        found[identifier] = _Sending(
            Channel.EMAIL, _mail(identifier, contact.email, notice, event.as_of, context)
        )
    if contact.webhook is not None:
        identifier = notifications.delivery_id(event.event_id, contact.recipient_id, Channel.WEBHOOK)
        found[identifier] = _Sending(Channel.WEBHOOK, _webhook(identifier, contact.webhook, event.encode()))
    if not found:
        raise TerminalError(
            f"the contact of {contact.recipient_id} has no channel: add one and replay the dead letter",
            field="account_id",
        )
    return found


def _mail(
    identifier: str, address: str, notice: Notice, as_of: datetime, context: Context
) -> Callable[[], None]:
    mailer = mail.connect(context.settings)
    return lambda: mailer.send(delivery_id=identifier, recipient=address, notice=notice, as_of=as_of)


def _webhook(identifier: str, endpoint: contacts.WebhookEndpoint, body: bytes) -> Callable[[], None]:
    return lambda: webhooks.sender().send(
        delivery_id=identifier, url=endpoint.url, secret=endpoint.secret, body=body, now=clock.now()
    )


def _notice(event: MarginTransition | OperationsAlert) -> Notice:
    if isinstance(event, OperationsAlert):
        return notifications.operations_notice(
            subject=event.subject,
            severity=event.severity,
            message=event.message,
            details=event.details,
            as_of=event.as_of,
        )
    return notifications.margin_notice(
        account_id=event.account_id,
        previous=event.previous_state,
        state=event.state,
        severity=event.severity,
        collateral_usd=event.valuation.collateral_usd,
        debt_usd=event.valuation.debt_usd,
        health_pct=event.valuation.health_pct,
        marks=event.marks,
        as_of=event.as_of,
    )


def _lease(
    event: MarginTransition | OperationsAlert,
    contact: contacts.Contact,
    due: dict[str, tuple[Delivery, Any] | None],
    context: Context,
) -> dict[str, tuple[Delivery, Any]]:
    """Take all due deliveries for this process, or none: whoever lost the race is delivered again."""
    now = clock.now()
    commit = database.Commit(database.connect(context.settings), traceparent=context.traceparent)
    written: dict[str, tuple[Delivery, int]] = {}
    for delivery_id, known in due.items():
        before, read_at = known if known is not None else (None, None)
        delivery = Delivery(
            delivery_id=delivery_id,
            alert_id=event.event_id,
            recipient_id=contact.recipient_id,
            channel=Channel(delivery_id.rpartition("~")[2]),
            status=DeliveryStatus.SENDING,
            attempt=1 if before is None else before.attempt + 1,
            error=None,
            leased_until=now + LEASE,
            created_at=now if before is None else before.created_at,
        )
        index = commit.replace(deliveries.path(delivery_id), deliveries.encode(delivery), read_at=read_at)
        written[delivery_id] = (delivery, index)
    commit.apply()
    return {
        delivery_id: (delivery, commit.update_time(index))
        for delivery_id, (delivery, index) in written.items()
    }


def _attempt(delivery: Delivery, sending: _Sending) -> Delivery:
    try:
        sending.send()
    except SendingFailedError as error:
        return replace(delivery, status=DeliveryStatus.FAILED, error=str(error), leased_until=None)
    except SendingRejectedError as error:
        return replace(delivery, status=DeliveryStatus.REJECTED, error=str(error), leased_until=None)
    return replace(delivery, status=DeliveryStatus.DELIVERED, leased_until=None)


def _conclude(
    concluded: dict[str, Delivery], leased: dict[str, tuple[Delivery, Any]], context: Context
) -> None:
    if not concluded:
        return
    client = database.connect(context.settings)
    commit = database.Commit(client, traceparent=context.traceparent)
    now = clock.now()
    for delivery_id, delivery in concluded.items():
        commit.replace(
            deliveries.path(delivery_id), deliveries.encode(delivery), read_at=leased[delivery_id][1]
        )
        changed = DeliveryChanged(
            event_id=delivery_event_id(delivery_id, delivery.attempt, delivery.status),
            delivery_id=delivery_id,
            alert_id=delivery.alert_id,
            recipient_id=delivery.recipient_id,
            channel=delivery.channel,
            status=delivery.status,
            attempt=delivery.attempt,
            error=delivery.error,
            as_of=now,
        )
        commit.announce(topics.DELIVERIES, changed)
    commit.apply()
    outbox.publish(client, publisher.connect(context.settings), commit.announced)
