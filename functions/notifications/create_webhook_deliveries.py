"""Puts settlement events on their way to the webhook endpoints that clients registered.

Trigger: ``settlement.events.v1``, ``settlement.finalized.v1``.
Reads: ``webhook_endpoints``; ``escrows`` and ``dvp_escrows`` for the parties of an escrow.
Writes: ``webhook_deliveries``, one per event and endpoint, due at once unless the endpoint is off.
Publishes: nothing.

An endpoint is told either of events as they are announced, or of the same events once they are final. A
delivery's id follows from event and endpoint, so that repeats create nothing. Retractions are deliveries of
their own. Nothing here depends on the order of events, and receivers must not either: what they are sent has
the contracts' own numbers (``sequence``, ``step``) and the chain's ``revision``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import TypeAdapter

from shared.domain import dvp, escrows
from shared.domain.steps import StepRecord
from shared.domain.webhook_deliveries import WebhookDelivery, new_delivery
from shared.domain.webhooks import WebhookEndpoint, WebhookEventType
from shared.errors import ConflictError, RetryableError
from shared.events import topics
from shared.events.escrow_steps import dvp_step, escrow_step
from shared.events.settlement import (
    AnyContractEvent,
    AnyDvpEvent,
    AnyEscrowEvent,
    EventRetracted,
    FinalizedEvent,
    MarketChanged,
    PositionChanged,
    SettlementEvent,
)
from shared.events.webhook_bodies import webhook_body
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import pubsub_function
from shared.stores import database, dvp_escrows, webhook_deliveries, webhook_endpoints
from shared.stores import escrows as escrow_documents
from shared.stores.escrow_collection import escrow_id


@pubsub_function(
    uses=("firestore",),
    messages={
        topics.SETTLEMENT_EVENTS: TypeAdapter(SettlementEvent),
        topics.FINALIZED_EVENTS: TypeAdapter(FinalizedEvent),
    },
)
def create_webhook_deliveries(event: AnyContractEvent | EventRetracted, context: Context) -> None:
    """Create the deliveries of one event."""
    client = database.connect(context.settings)
    reported = event.retracted if isinstance(event, EventRetracted) else event
    event_type = WebhookEventType(reported.kind)
    final = context.topic == topics.FINALIZED_EVENTS
    concerned = _concerned(client, reported)
    if concerned is None:
        if not webhook_endpoints.has_any(client):
            return
        raise RetryableError(f"{reported.subject} of chain {reported.chain_id} is not known up to here yet")
    wanting = [
        endpoint
        for endpoint in webhook_endpoints.list_concerned(client, concerned)
        if endpoint.wants(event_type, concerned, reported.block_time, final=final)
    ]
    if not wanting:
        return
    retracted = isinstance(event, EventRetracted)
    body = webhook_body(event, happened_at=context.as_of if retracted else reported.block_time)
    now = clock.now()
    created = [_delivery(endpoint, event, body, now) for endpoint in wanting if endpoint.receives(now)]
    deliveries = {delivery.delivery_id: delivery for delivery in created}
    try:
        _create(client, deliveries.values(), context)
    except ConflictError:
        known = webhook_deliveries.find_many(client, deliveries)
        _create(client, [each for key, each in deliveries.items() if key not in known], context)


def _concerned(client: database.Client, event: AnyContractEvent) -> frozenset[str] | None:
    """The accounts whose event it is, of an escrow its parties at that step; None while not known."""
    if isinstance(event, PositionChanged):
        return frozenset((event.account_id,))
    if isinstance(event, MarketChanged):
        return frozenset()
    return _dvp_parties(client, event) if isinstance(event, AnyDvpEvent) else _parties(client, event)


def _parties(client: database.Client, event: AnyEscrowEvent) -> frozenset[str] | None:
    path = escrow_documents.path(escrow_id(event.chain_id, event.escrow))
    document = database.find(client, path)
    known = {} if document is None else escrow_documents.decode_records(document.fields)
    return escrows.parties_at(event.step, escrow_step(event), known)


def _dvp_parties(client: database.Client, event: AnyDvpEvent) -> frozenset[str] | None:
    path = dvp_escrows.path(escrow_id(event.chain_id, event.escrow))
    document = database.find(client, path)
    known = {} if document is None else dvp_escrows.decode_records(document.fields)
    created = dvp_step(event) if event.step == 1 else known.get(1, StepRecord()).step
    return frozenset((created.seller, created.buyer)) if isinstance(created, dvp.DvpCreated) else None


def _delivery(
    endpoint: WebhookEndpoint, event: AnyContractEvent | EventRetracted, body: bytes, now: datetime
) -> WebhookDelivery:
    """Due at once; for an endpoint that is off, kept until its owner asks for it."""
    delivery = new_delivery(endpoint.endpoint_id, event.event_id, event.kind, body, now)
    if endpoint.enabled:
        return delivery
    return delivery.given_up(f"the endpoint is {endpoint.state}: {endpoint.reason}")


def _create(client: database.Client, deliveries: Iterable[WebhookDelivery], context: Context) -> None:
    waiting = list(deliveries)
    for start in range(0, len(waiting), database.MAX_WRITES):
        commit = database.Commit(client, traceparent=context.traceparent)
        for delivery in waiting[start : start + database.MAX_WRITES]:
            commit.create(webhook_deliveries.path(delivery.delivery_id), webhook_deliveries.encode(delivery))
        commit.apply()
