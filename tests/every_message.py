"""A valid message of every topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shared.events import topics
from shared.events.base import Event
from shared.events.margin import (
    MarginSweep,
)
from shared.events.settlement_commands import (
    command_message,
)
from tests.contract_messages import (
    position_changed,
)
from tests.messages import (
    PAYER,
    delivery_changed,
    margin_samples,
    margin_shard_work,
    margin_transition,
    operations_alert,
    positions_changed,
    price_tick,
    settlement_command,
    settlement_command_changed,
)

VALID: Mapping[str, Callable[[], Event]] = {
    topics.SETTLEMENT_EVENTS: lambda: position_changed(PAYER, 1),
    topics.FINALIZED_EVENTS: lambda: position_changed(PAYER, 1),
    topics.SETTLEMENT_COMMANDS: lambda: command_message(settlement_command()),
    topics.SETTLEMENT_PROGRESS: settlement_command_changed,
    topics.POSITIONS_CHANGED: lambda: positions_changed(PAYER, 1, ETH=(10**18, 0)),
    topics.MARKET_PRICES: lambda: price_tick(1, ETH="3000", USDC="1"),
    topics.MARGIN_ALERTS: lambda: margin_transition(PAYER),
    topics.MARGIN_SAMPLES: margin_samples,
    topics.MARGIN_SWEEPS: lambda: MarginSweep(event_id="sweep"),
    topics.MARGIN_SHARDS: margin_shard_work,
    topics.OPERATIONS_ALERTS: operations_alert,
    topics.DELIVERIES: delivery_changed,
}
"""One valid message of every topic."""
