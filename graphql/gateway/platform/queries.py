"""``systemStatus``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import asyncio

import strawberry

from gateway.context import Info
from gateway.permissions import NeedsOperationsScope
from gateway.platform.types import StateCount, SystemStatus
from shared.runtime import clock
from shared.stores import dead_letters, margin_progress, margin_states, outbox


@strawberry.type
class PlatformQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsOperationsScope], description="For operators: how the platform is doing."
    )
    async def system_status(self, info: Info) -> SystemStatus:
        stores, live = info.context.stores, info.context.live
        counts, waiting, oldest, evaluated = await asyncio.gather(
            stores.read(margin_states.count_by_state),
            stores.read(dead_letters.count_open),
            stores.read(outbox.find_oldest),
            stores.read(margin_progress.find_evaluated),
        )
        tick = live.book.tick
        current = tick is not None and tick.is_current(clock.now(), info.context.network.tick_max_age_s)
        return SystemStatus(
            tick_sequence=tick.sequence if tick else None,
            tick_as_of=tick.as_of if tick else None,
            ticks_current=current,
            evaluated_tick_sequence=evaluated,
            accounts_by_state=[StateCount(state=state, accounts=n) for state, n in counts.items()],
            dead_letters=waiting,
            oldest_unpublished_at=oldest,
            live_connected=live.connected,
            live_accounts=live.followed_accounts,
            refused_messages=live.refused_messages,
        )
