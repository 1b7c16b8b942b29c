"""How long it takes from a price on chain to whoever waits for it, measured from outside.

Clocks: everything runs on one machine. A price's moment is when its transaction was seen mined; a state's is
Firestore's commit time; a subscriber's and a receiver's is when the message arrived.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.cloud import firestore

from local.price_data import CHAINLINK
from shared.domain.notifications import Channel, delivery_id
from shared.events.margin import MarginTransition
from shared.events.prices import PriceTick
from shared.providers.mail import message_id
from shared.providers.webhooks import webhook_id

RECORDED = "price on chain -> state recorded"
SUBSCRIBED = "price on chain -> subscriber"
DELIVERED = "margin call -> delivered"
CALLED = "price on chain -> margin call delivered"


@dataclass(frozen=True, slots=True)
class Distribution:
    """Latencies of one kind, in milliseconds."""

    name: str
    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def distribution(name: str, seconds: Iterable[float]) -> Distribution | None:
    """The distribution of some latencies (nearest rank), or None without any."""
    ordered = sorted(seconds)
    if not ordered:
        return None

    def rank(share: float) -> float:
        return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)] * 1000

    return Distribution(name, len(ordered), rank(0.50), rank(0.99), ordered[-1] * 1000)


class LatencyProbe:
    """Collects moments and pairs them."""

    def __init__(
        self, client: firestore.Client, mined_at: Mapping[tuple[str, str], float], mail_from: str
    ) -> None:
        self._client = client
        self._mined_at = mined_at
        self._mail_from = mail_from
        self._lock = threading.Lock()
        self._tick_price_at: dict[int, float] = {}
        self._rounds_seen: set[tuple[str, str]] = set()
        self._last_tick = 0
        self._arrivals: dict[int, list[float]] = {}
        self._alerts: dict[str, tuple[MarginTransition, float]] = {}
        self._last_alert: datetime | None = None
        self._received: dict[str, float] = {}

    def arrived(self, sequence: int, moment: float) -> None:
        """A subscriber got a message of a tick."""
        with self._lock:
            self._arrivals.setdefault(sequence, []).append(moment)

    def received(self, message_ids: Mapping[str, float]) -> None:
        """When each e-mail or webhook id first arrived, in seconds."""
        for identifier, moment in message_ids.items():
            self._received.setdefault(identifier, moment)

    def refresh(self) -> None:
        """Read what was recorded since the last refresh."""
        self._read_ticks()
        self._read_alerts()

    def _read_ticks(self) -> None:
        statement = (
            self._client.collection("price_ticks")
            .where(filter=firestore.FieldFilter("sequence", ">", self._last_tick))
            .order_by("sequence")
        )
        for snapshot in statement.stream():
            fields: Any = snapshot.to_dict()
            tick = PriceTick.model_validate_json(fields["tick"])
            self._last_tick = tick.sequence
            fresh = {
                (mark.asset, quote.reference)
                for mark in tick.marks
                for quote in mark.quotes
                if quote.source == CHAINLINK
                and quote.reference is not None
                # A held mark does not follow its sources yet.
                and mark.held_since is None
                and (mark.asset, quote.reference) not in self._rounds_seen
            }
            self._rounds_seen |= fresh
            moments = [self._mined_at[key] for key in fresh if key in self._mined_at]
            if moments:
                self._tick_price_at[tick.sequence] = max(moments)

    def _read_alerts(self) -> None:
        statement: Any = self._client.collection("alerts").order_by("created_at")
        if self._last_alert is not None:
            statement = statement.where(filter=firestore.FieldFilter("created_at", ">=", self._last_alert))
        for snapshot in statement.stream():
            fields = snapshot.to_dict()
            transition = MarginTransition.model_validate_json(fields["transition"])
            self._last_alert = fields["created_at"]
            self._alerts.setdefault(transition.event_id, (transition, snapshot.create_time.timestamp()))

    def distributions(self) -> list[Distribution]:
        """What has been measured so far."""
        with self._lock:
            arrivals = {sequence: list(moments) for sequence, moments in self._arrivals.items()}
        recorded: list[float] = []
        delivered: list[float] = []
        called: list[float] = []
        for transition, recorded_at in self._alerts.values():
            priced_at = self._tick_price_at.get(transition.tick_sequence)
            if priced_at is not None and recorded_at >= priced_at:
                recorded.append(recorded_at - priced_at)
            if not transition.notify:
                continue
            for received_at in self._receipts(transition):
                delivered.append(received_at - recorded_at)
                if priced_at is not None:
                    called.append(received_at - priced_at)
        subscribed = [
            moment - self._tick_price_at[sequence]
            for sequence, moments in arrivals.items()
            if sequence in self._tick_price_at
            for moment in moments
        ]
        found = [
            distribution(RECORDED, recorded),
            distribution(SUBSCRIBED, subscribed),
            distribution(DELIVERED, delivered),
            distribution(CALLED, called),
        ]
        return [each for each in found if each is not None]

    def _receipts(self, transition: MarginTransition) -> list[float]:
        identifiers: Sequence[str] = receipt_ids(transition.event_id, transition.account_id, self._mail_from)
        return [self._received[each] for each in identifiers if each in self._received]


def receipt_ids(alert_id: str, recipient_id: str, mail_from: str) -> tuple[str, str]:
    """The Message-ID and the webhook id under which an alert reaches its recipient."""
    return (
        message_id(delivery_id(alert_id, recipient_id, Channel.EMAIL), mail_from),
        webhook_id(delivery_id(alert_id, recipient_id, Channel.WEBHOOK)),
    )
