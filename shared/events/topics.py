"""Topic names, as in ``functions.yaml`` (a test holds the two equal)."""

SETTLEMENT_EVENTS = "settlement.events.v1"
FINALIZED_EVENTS = "settlement.finalized.v1"
SETTLEMENT_COMMANDS = "settlement.commands.v1"
SETTLEMENT_PROGRESS = "settlement.progress.v1"
POSITIONS_CHANGED = "positions.changed.v1"
MARKET_PRICES = "market.prices.v1"
MARGIN_ALERTS = "alerts.margin.v1"
MARGIN_SAMPLES = "margin.samples.v1"
MARGIN_SWEEPS = "margin.sweeps.v1"
MARGIN_SHARDS = "margin.shards.v1"
OPERATIONS_ALERTS = "alerts.operations.v1"
DELIVERIES = "notifications.deliveries.v1"

DEAD_LETTER_SUFFIX = ".dead"


def dead_letter_topic(topic: str) -> str:
    """The topic that keeps what could not be processed from ``topic``."""
    return topic + DEAD_LETTER_SUFFIX
