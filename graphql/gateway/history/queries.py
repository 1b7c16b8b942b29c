"""``marginHistory``, ``hourlyExposures``, ``houseExposures``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import strawberry

from gateway.context import Info
from gateway.errors import BadUserInputError
from gateway.history.reading import account_history
from gateway.history.types import (
    HourlyExposure,
    HouseExposure,
    MarginPoint,
    from_hour,
    from_house_hour,
    from_row,
)
from gateway.limits import DEFAULT_PAGE_SIZE
from gateway.pagination import Connection
from gateway.permissions import NeedsHistoryScope, NeedsOperationsScope
from gateway.scalars import DateTime
from shared.runtime import clock
from shared.warehouse import exposures, margin_history

_MAX_HOURS = 168


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

    @strawberry.field(
        permission_classes=[NeedsHistoryScope],
        description="What an account held and owed in each hour with from <= hour < to, oldest first.",
    )
    async def hourly_exposures(  # noqa: PLR0917 GraphQL passes arguments by name
        self,
        info: Info,
        account_id: strawberry.ID,
        start: Annotated[DateTime, strawberry.argument(name="from")],
        finish: Annotated[DateTime, strawberry.argument(name="to")],
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
    ) -> Connection[HourlyExposure]:
        return await account_history(
            info,
            exposures.list_exposure_page,
            account_id=account_id,
            start=start,
            finish=finish,
            first=first,
            after=after,
            node=from_hour,
        )

    @strawberry.field(
        permission_classes=[NeedsOperationsScope],
        description=(
            "What all accounts together held and owed in each of the last hours, the present one included, "
            "oldest first. An hour in which nothing was recorded has no entry."
        ),
    )
    async def house_exposures(self, info: Info, hours: int = 24) -> list[HouseExposure]:
        if not 1 <= hours <= _MAX_HOURS:
            raise BadUserInputError("hours", f"must be from 1 to {_MAX_HOURS}, got {hours}")
        present = clock.now().replace(minute=0, second=0, microsecond=0)
        rows = await info.context.stores.read_warehouse(
            exposures.list_house_exposures, since=present - timedelta(hours=hours - 1)
        )
        return [from_house_hour(row) for row in rows]
