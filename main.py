"""The table of deployed functions, for the Functions Framework.

Looking a name up imports that function's module only, so that a cold start pays for nothing else, and
checks its settings, so that a process that lacks one refuses to start and names it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

FUNCTIONS = {
    "relay_chain_events": "functions.chain.relay_chain_events",
    "resolve_finality_violation": "functions.chain.resolve_finality_violation",
    "backfill_chain": "functions.chain.backfill_chain",
    "reconcile_positions": "functions.chain.reconcile_positions",
    "apply_settlement_event": "functions.settlement.apply_settlement_event",
    "submit_settlement_command": "functions.settlement.submit_settlement_command",
    "follow_transactions": "functions.settlement.follow_transactions",
    "fetch_prices": "functions.prices.fetch_prices",
    "build_price_bars": "functions.prices.build_price_bars",
    "backfill_prices": "functions.prices.backfill_prices",
    "evaluate_margin": "functions.margin.evaluate_margin",
    "pack_margin_book": "functions.margin.pack_margin_book",
    "notify": "functions.notifications.notify",
    "create_webhook_deliveries": "functions.notifications.create_webhook_deliveries",
    "send_webhooks": "functions.notifications.send_webhooks",
    "archive_events": "functions.reporting.archive_events",
    "relay_outbox": "functions.platform.relay_outbox",
    "record_dead_letter": "functions.platform.record_dead_letter",
    "replay_dead_letters": "functions.platform.replay_dead_letters",
    "dismiss_dead_letters": "functions.platform.dismiss_dead_letters",
    "health": "functions.platform.health",
    "measure_risk": "functions.risk.measure_risk",
}


def __getattr__(name: str) -> Any:
    if name not in FUNCTIONS:
        raise AttributeError(f"no function is called {name!r}; the table in main.py has {sorted(FUNCTIONS)}")
    function = getattr(import_module(FUNCTIONS[name]), name)
    triggers = import_module("shared.runtime.triggers")
    triggers.load_settings(triggers.declaration_of(function))
    return function
