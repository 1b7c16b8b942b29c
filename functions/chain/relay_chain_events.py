"""Reads contract logs from every chain and announces them, missing none.

Trigger: every minute by Cloud Scheduler; looks every ``RELAY_INTERVAL_S`` while it holds its lease, and as
soon as a node of ``NEW_HEADS_URLS`` announces a block. Also a worker (``python -m worker``).
Reads: each chain's blocks, logs and receipts; ``chain_cursors``, ``announced_blocks``.
Writes: ``chain_cursors`` and ``announced_blocks``, in the same commit as the announcements; ``chain_sync``.
Publishes: ``settlement.events.v1``; ``settlement.finalized.v1`` once events can be retracted no more;
``alerts.operations.v1`` when a chain needs an operator.

The cursor only ever moves over blocks whose logs were proven and announced, one slice behind the other,
however far behind it is. What a reorganisation takes back before it was final is retracted first; one that
goes deeper halts the chain until an operator has looked.
"""

from __future__ import annotations

from shared.chain.new_heads import NewHeads
from shared.runtime.context import Context
from shared.runtime.relay.working import begin
from shared.runtime.triggers import Request, Response, http_function
from shared.runtime.waking import Alarm
from shared.runtime.window import tick_under_lease
from shared.stores import database


@http_function(
    uses=("firestore", "pubsub"),
    settings=("NETWORK_FILE", "RPC_URLS", "NEW_HEADS_URLS", "RELAY_INTERVAL_S", "WINDOW_S"),
)
def relay_chain_events(_request: Request, context: Context) -> Response:
    """Relay until the window ends."""
    alarm = Alarm()
    urls = [url for chain in context.network.chains for url in context.settings.new_heads_urls.get(chain, ())]
    with NewHeads(urls, alarm.ring):
        looked = tick_under_lease(
            database.connect(context.settings),
            context,
            interval_s=context.settings.relay_interval_s,
            begin=lambda: begin(context),
            wait=alarm.wait,
        )
    return Response({"looks": looked})
