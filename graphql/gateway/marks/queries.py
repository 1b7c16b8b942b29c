"""``marks``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import strawberry

from gateway.context import Info
from gateway.marks.types import Marks, from_tick
from gateway.permissions import NeedsMarksScope
from shared.runtime import clock


@strawberry.type
class MarkQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsMarksScope], description="The latest tick; null before the first."
    )
    def marks(self, info: Info) -> Marks | None:
        tick = info.context.live.book.tick
        return None if tick is None else from_tick(tick, info.context.network.tick_max_age_s, clock.now())
