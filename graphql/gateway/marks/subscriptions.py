"""``marks``, live."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from collections.abc import AsyncIterator

import strawberry

from gateway.context import Info
from gateway.marks.types import MarksMessage
from gateway.permissions import NeedsMarksScope


@strawberry.type
class MarkSubscriptions:
    """Mixed into the schema's Subscription."""

    @strawberry.subscription(
        permission_classes=[NeedsMarksScope],
        description="The latest tick, then every new one; a slow reader gets the newest.",
    )
    async def marks(self, info: Info) -> AsyncIterator[MarksMessage]:
        return info.context.live.marks_stream()  # type: ignore[return-value]
