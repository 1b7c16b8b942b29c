"""``marks``, ``mark``, ``markHistory``, ``priceSources``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from typing import Annotated

import strawberry

from gateway.context import Info
from gateway.errors import BadUserInputError
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.marks.history import BarInterval, PriceBar, from_bar
from gateway.marks.sources import PriceSource, from_state
from gateway.marks.types import Mark, Marks, from_tick
from gateway.pagination import Connection, decode_moment_cursor, encode_cursor, page
from gateway.permissions import NeedsHistoryScope, NeedsMarksScope, NeedsOperationsScope
from gateway.scalars import DateTime
from shared.domain import price_bars as domain
from shared.runtime import clock
from shared.stores import price_sources
from shared.warehouse import price_bars


@strawberry.type
class MarkQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsMarksScope], description="The latest tick; null before the first."
    )
    def marks(self, info: Info) -> Marks | None:
        return _latest(info)

    @strawberry.field(
        permission_classes=[NeedsMarksScope],
        description="An asset's mark in the latest tick; null before the first, and for an unknown asset.",
    )
    def mark(self, info: Info, asset: str) -> Mark | None:
        latest = _latest(info)
        found = [] if latest is None else [mark for mark in latest.marks if mark.asset == asset]
        return found[0] if found else None

    @strawberry.field(
        permission_classes=[NeedsHistoryScope],
        description="An asset's bars with from <= start < to, oldest first.",
    )
    async def mark_history(  # noqa: PLR0917 GraphQL passes arguments by name
        self,
        info: Info,
        asset: str,
        interval: BarInterval,  # type: ignore[valid-type]
        start: Annotated[DateTime, strawberry.argument(name="from")],
        finish: Annotated[DateTime, strawberry.argument(name="to")],
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
    ) -> Connection[PriceBar]:
        check_page_size(first)
        behind = decode_moment_cursor(after)
        if asset not in info.context.network.assets:
            raise BadUserInputError("asset", "is not among the assets")
        if start >= finish:
            raise BadUserInputError("to", "must be later than from")
        rows = await info.context.stores.read_warehouse(
            price_bars.list_page,
            asset,
            domain.BarInterval(interval),
            start=start,
            finish=finish,
            after=None if behind is None else behind[0],
            limit=first + 1,
        )
        return page(
            rows,
            first=first,
            after=after,
            node=from_bar,
            cursor=lambda bar: encode_cursor(bar.start, bar.asset),
        )

    @strawberry.field(
        permission_classes=[NeedsOperationsScope], description="For operators: how each price source does."
    )
    async def price_sources(self, info: Info) -> list[PriceSource]:
        return [from_state(state) for state in await info.context.stores.read(price_sources.list_all)]


def _latest(info: Info) -> Marks | None:
    tick = info.context.live.book.tick
    return None if tick is None else from_tick(tick, info.context.network.tick_max_age_s, clock.now())
