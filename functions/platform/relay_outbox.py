"""Publishes announcements that a crash left behind.

Trigger: every minute by Cloud Scheduler; sweeps every ``SWEEP_INTERVAL_S`` while it holds its lease.
Reads: ``outbox``.
Writes: ``outbox`` (clears what was published).
Publishes: whatever the outbox holds, under the event ids it was written with.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.runtime.window import tick_under_lease
from shared.stores import database, outbox

GRACE = timedelta(seconds=5)
"""An announcement younger than this is still being published by the one who wrote it."""

_BATCH = 50


@http_function(uses=("firestore", "pubsub"), settings=("SWEEP_INTERVAL_S", "WINDOW_S"))
def relay_outbox(_request: Request, context: Context) -> Response:
    """Sweep until the window ends."""
    swept = tick_under_lease(
        database.connect(context.settings),
        context,
        interval_s=context.settings.sweep_interval_s,
        begin=lambda: _begin(context),
    )
    return Response({"sweeps": swept})


def _begin(context: Context) -> Callable[[], bool]:
    client = database.connect(context.settings)
    after: tuple[datetime, str] | None = None

    def step() -> bool:
        nonlocal after
        left, last = outbox.list_before(client, clock.now() - GRACE, after=after, limit=_BATCH)
        outbox.publish(client, publisher.connect(context.settings), left)
        # Past a full page, whatever became of it: what cannot be published must not hold up the rest.
        after = last if len(left) == _BATCH else None
        return len(left) == _BATCH

    return step
