"""``alerts.operations.v1``: what the people who run the platform must know."""

from __future__ import annotations

from enum import StrEnum

from shared.domain.margin import Severity
from shared.events.base import Event, Identifier, Instant


class OperationsAlertKind(StrEnum):
    """What happened to the platform."""

    MARK_UNUSABLE = "mark_unusable"
    MARK_RECOVERED = "mark_recovered"
    MARK_OFF_PEG = "mark_off_peg"
    MARK_AT_PEG = "mark_at_peg"
    PRICE_SOURCE_FAILING = "price_source_failing"
    PRICE_SOURCE_RECOVERED = "price_source_recovered"
    PRICES_STOPPED = "prices_stopped"
    PRICES_RESUMED = "prices_resumed"
    MARGIN_SNAPSHOT_REFUSED = "margin_snapshot_refused"
    FINALITY_VIOLATED = "finality_violated"
    FINALITY_RESTORED = "finality_restored"
    LOG_NOT_UNDERSTOOD = "log_not_understood"
    LOGS_INCOMPLETE = "logs_incomplete"
    HISTORY_PRUNED = "history_pruned"
    CHAIN_BACKFILLED = "chain_backfilled"
    POSITION_DIFFERS = "position_differs"
    POSITION_AGREES = "position_agrees"
    EVENT_CONTRADICTED = "event_contradicted"
    TRANSACTION_STUCK = "transaction_stuck"
    NONCE_TAKEN = "nonce_taken"
    WEBHOOK_DISABLED = "webhook_disabled"


class OperationsAlert(Event):
    """One condition, raised once when it begins and once when it ends."""

    kind: OperationsAlertKind
    subject: Identifier
    severity: Severity
    message: str
    details: dict[str, str]
    as_of: Instant
