"""``marginHistory``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from typing import Annotated

import strawberry

from gateway.context import Info
from gateway.errors import BadUserInputError
from gateway.history.types import MarginPoint, from_row
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.pagination import Connection, decode_moment_cursor, encode_cursor, page
from gateway.permissions import NeedsHistoryScope, account_argument
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
        check_page_size(first)
        behind = decode_moment_cursor(after)
        wanted = account_argument(account_id, "accountId")
        if start >= finish:
            raise BadUserInputError("to", "must be later than from")
        rows: list[margin_history.HistoryRow] = []
        if info.context.key.sees(wanted):
            rows = await info.context.stores.read_warehouse(
                margin_history.list_page,
                wanted,
                start=start,
                finish=finish,
                after=behind,
                limit=first + 1,
            )
        return page(
            rows,
            first=first,
            after=after,
            node=from_row,
            cursor=lambda row: encode_cursor(row.as_of, row.row_id),
        )
