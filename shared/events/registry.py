"""How to decode the messages of every topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from shared.events import topics
from shared.events.deliveries import DeliveryChanged
from shared.events.margin import MarginSamples, MarginShardWork, MarginSweep, MarginTransition
from shared.events.operations import OperationsAlert
from shared.events.positions import PositionsChanged
from shared.events.prices import PriceTick
from shared.events.settlement import FinalizedEvent, SettlementEvent
from shared.events.settlement_commands import SettlementCommand, SettlementCommandChanged

ADAPTERS: Mapping[str, TypeAdapter[Any]] = {
    topics.SETTLEMENT_EVENTS: TypeAdapter(SettlementEvent),
    topics.FINALIZED_EVENTS: TypeAdapter(FinalizedEvent),
    topics.SETTLEMENT_COMMANDS: TypeAdapter(SettlementCommand),
    topics.SETTLEMENT_PROGRESS: TypeAdapter(SettlementCommandChanged),
    topics.POSITIONS_CHANGED: TypeAdapter(PositionsChanged),
    topics.MARKET_PRICES: TypeAdapter(PriceTick),
    topics.MARGIN_ALERTS: TypeAdapter(MarginTransition),
    topics.MARGIN_SAMPLES: TypeAdapter(MarginSamples),
    topics.MARGIN_SWEEPS: TypeAdapter(MarginSweep),
    topics.MARGIN_SHARDS: TypeAdapter(MarginShardWork),
    topics.OPERATIONS_ALERTS: TypeAdapter(OperationsAlert),
    topics.DELIVERIES: TypeAdapter(DeliveryChanged),
}
