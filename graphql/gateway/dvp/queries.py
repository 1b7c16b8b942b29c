"""``dvpEscrow`` and ``dvpEscrows``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import strawberry

from gateway.context import Info
from gateway.dvp.types import DvpEscrow, DvpStatus, from_stored
from gateway.escrows.queries import escrow_page, list_visible
from gateway.limits import DEFAULT_PAGE_SIZE
from gateway.pagination import Connection
from gateway.permissions import NeedsEscrowsScope
from gateway.scalars import Address
from shared.stores import dvp_escrows
from shared.stores.escrow_collection import escrow_id


@strawberry.type
class DvpQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsEscrowsScope],
        description="One delivery-versus-payment escrow; null if none was found.",
    )
    async def dvp_escrow(self, info: Info, chain_id: int, address: Address) -> DvpEscrow | None:
        stored = await info.context.loaders.dvp_escrow.load(escrow_id(chain_id, address))
        return None if stored is None else from_stored(stored)

    @strawberry.field(
        permission_classes=[NeedsEscrowsScope],
        description="Delivery-versus-payment escrows in order of id; party is seller or buyer.",
    )
    async def dvp_escrows(
        self,
        info: Info,
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
        status: DvpStatus | None = None,  # type: ignore[valid-type]
        party: Address | None = None,
    ) -> Connection[DvpEscrow]:
        # Strawberry hands on an enum variable's bare value.
        wanted = None if status is None else DvpStatus(status)
        rows = await list_visible(
            info, dvp_escrows.list_page, first=first, after=after, status=wanted, party=party
        )
        return escrow_page(rows, from_stored, first=first, after=after)
