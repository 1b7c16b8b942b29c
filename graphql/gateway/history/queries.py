"""``marginHistory``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from typing import Annotated

import strawberry

from gateway.context import Info
from gateway.history.reading import account_history
from gateway.history.types import MarginPoint, from_row
from gateway.limits import DEFAULT_PAGE_SIZE
from gateway.pagination import Connection
from gateway.permissions import NeedsHistoryScope
from gateway.scalars import DateTime
from shared.warehouse import margin_history


@strawberry.type
class HistoryQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsHistoryScope],
        description="An account's transitions and samples with from <= asOf < to, oldest first.",
    )
    async def margin_history(  # noqa: PLR0917 GraphQL passes arguments by name
        self,
        info: Info,
        account_id: strawberry.ID,
        start: Annotated[DateTime, strawberry.argument(name="from")],
        finish: Annotated[DateTime, strawberry.argument(name="to")],
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
    ) -> Connection[MarginPoint]:
        return await account_history(
            info,
            margin_history.list_page,
            account_id=account_id,
            start=start,
            finish=finish,
            first=first,
            after=after,
            node=from_row,
        )
