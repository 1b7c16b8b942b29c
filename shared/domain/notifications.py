"""Who is told what, over which channel, in which words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from shared.domain.margin import Severity, State


class Channel(StrEnum):
    """How a person or a system is reached."""

    EMAIL = "email"
    WEBHOOK = "webhook"


class DeliveryStatus(StrEnum):
    """Where a delivery stands. ``FAILED`` will be tried again, ``REJECTED`` will not."""

    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification's words, the same for every recipient of the alert."""

    subject: str
    text: str


def delivery_id(alert_id: str, recipient_id: str, channel: Channel) -> str:
    """The id of a delivery: the same alert to the same recipient over the same channel is one delivery."""
    return f"{alert_id}~{recipient_id}~{channel}"


_HEADLINES: Mapping[State, str] = {
    State.NO_DEBT: "No debt left",
    State.HEALTHY: "Margin restored",
    State.WARNING: "Margin warning",
    State.MARGIN_CALL: "Margin call",
    State.LIQUIDATION: "Liquidation threshold reached",
    State.INSOLVENT: "Account insolvent",
}


def margin_notice(
    *,
    account_id: str,
    previous: State | None,
    state: State,
    severity: Severity,
    collateral_usd: Decimal,
    debt_usd: Decimal,
    health_pct: float | None,
    marks: Mapping[str, Decimal],
    as_of: datetime,
) -> Notice:
    """The words of a margin transition."""
    headline = _HEADLINES[state]
    if previous is not None and state.code < previous.code and state is not State.NO_DEBT:
        headline = f"Margin improved to {state.replace('_', ' ').lower()}"
    health = "no debt" if health_pct is None else f"{health_pct:.2f} %"
    prices = "\n".join(f"  {asset}: {price:,f} USD" for asset, price in sorted(marks.items()))
    return Notice(
        subject=f"[{severity.upper()}] {headline}: {account_id}",
        text=(
            f"{headline}\n\n"
            f"Account: {account_id}\n"
            f"State: {previous or 'new'} -> {state}\n"
            f"Margin health: {health}\n"
            f"Collateral: {collateral_usd:,.2f} USD\n"
            f"Debt: {debt_usd:,.2f} USD\n"
            f"As of: {as_of.astimezone(UTC).isoformat(timespec='milliseconds')}\n\n"
            f"Marks used:\n{prices}\n"
        ),
    )


def operations_notice(
    *, subject: str, severity: Severity, message: str, details: Mapping[str, str], as_of: datetime
) -> Notice:
    """The words of an operations alert."""
    rows = "\n".join(f"  {name}: {value}" for name, value in sorted(details.items()))
    return Notice(
        subject=f"[{severity.upper()}] {subject}: {message}",
        text=f"{message}\n\nSubject: {subject}\nAs of: {as_of.astimezone(UTC).isoformat()}\n{rows}\n",
    )
