"""The warehouse's rows of an event. Each row has an id of its own, so that a repeat is recognised."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from shared.events.base import Event
from shared.events.margin import MarginSamples, MarginTransition, Sample, Valuation
from shared.events.prices import PriceTick

_NUMERIC_PLACES = Decimal("1e-9")
_NUMERIC = Context(prec=60, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, as BigQuery's streaming API takes it."""

    table: str
    row_id: str
    values: dict[str, Any]


def rows_of(
    event: Event, *, topic: str, payload: bytes, ordering_key: str, published_at: datetime
) -> list[Row]:
    """An event's row in ``events``, and its rows in the tables made for queries."""
    occurred_at = getattr(event, "as_of", None) or getattr(event, "block_time", None) or published_at
    rows = [
        Row(
            "events",
            event.event_id,
            {
                "event_id": event.event_id,
                "topic": topic,
                "occurred_at": occurred_at.isoformat(),
                "ordering_key": ordering_key or None,
                "payload": payload.decode(),
            },
        )
    ]
    if isinstance(event, MarginTransition):
        rows.append(_transition(event))
    elif isinstance(event, MarginSamples):
        rows += _samples(event)
    elif isinstance(event, PriceTick):
        rows += _marks(event)
    return rows


def _transition(event: MarginTransition) -> Row:
    return Row(
        "margin_history",
        event.event_id,
        {
            "row_id": event.event_id,
            "account_id": event.account_id,
            "as_of": event.as_of.isoformat(),
            "kind": "transition",
            "state": event.state.value,
            "previous_state": event.previous_state.value if event.previous_state else None,
            "transition_sequence": event.sequence,
            "tick_sequence": event.tick_sequence,
            **_valuation(event.valuation),
        },
    )


def _samples(event: MarginSamples) -> list[Row]:
    return [
        Row(
            "margin_history",
            _sample_id(event, sample),
            {
                "row_id": _sample_id(event, sample),
                "account_id": sample.account_id,
                "as_of": event.as_of.isoformat(),
                "kind": "sample",
                "state": sample.state.value,
                "previous_state": None,
                "transition_sequence": None,
                "tick_sequence": event.tick_sequence,
                **_valuation(sample.valuation),
            },
        )
        for sample in event.samples
    ]


def _sample_id(event: MarginSamples, sample: Sample) -> str:
    """Of the account and the moment, not of the message: a repeat may chunk the accounts otherwise."""
    return f"sample:{sample.account_id}:{event.as_of.isoformat()}"


def _valuation(valuation: Valuation | None) -> dict[str, Any]:
    if valuation is None:
        return {"collateral_usd": None, "debt_usd": None, "health_pct": None}
    return {
        "collateral_usd": _numeric(valuation.collateral_usd),
        "debt_usd": _numeric(valuation.debt_usd),
        "health_pct": valuation.health_pct,
    }


def _marks(event: PriceTick) -> list[Row]:
    return [
        Row(
            "marks",
            f"{event.event_id}:{mark.asset}",
            {
                "row_id": f"{event.event_id}:{mark.asset}",
                "tick_sequence": event.sequence,
                "as_of": event.as_of.isoformat(),
                "asset": mark.asset,
                "status": mark.status.value,
                "price": None if mark.price is None else _numeric(mark.price),
                "source": mark.source,
                "confidence": None if mark.confidence is None else _numeric(mark.confidence),
                "method": mark.method.value,
                "quotes": json.dumps([quote.model_dump(mode="json") for quote in mark.quotes]),
                "observed_at": None if mark.observed_at is None else mark.observed_at.isoformat(),
                "reason": mark.reason,
            },
        )
        for mark in event.marks
    ]


def _numeric(value: Decimal) -> str:
    """A NUMERIC: 29 digits before the point and 9 behind it; the exact figure stays in the payload."""
    return format(value.quantize(_NUMERIC_PLACES, context=_NUMERIC), "f")
