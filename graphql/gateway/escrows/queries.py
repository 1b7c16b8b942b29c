"""``escrow`` and ``escrows``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import strawberry

from gateway.context import Info
from gateway.escrows.types import Escrow, EscrowStatus, from_stored
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.pagination import Connection, decode_text_cursor, encode_cursor, page
from gateway.permissions import NeedsEscrowsScope
from gateway.scalars import Address
from shared.domain.api_keys import ApiKey
from shared.stores import escrows
from shared.stores.escrow_collection import escrow_id
from shared.stores.escrows import StoredEscrow


@strawberry.type
class EscrowQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsEscrowsScope], description="One escrow; null if none was found."
    )
    async def escrow(self, info: Info, chain_id: int, address: Address) -> Escrow | None:
        stored = await info.context.loaders.escrow.load(escrow_id(chain_id, address))
        return None if stored is None else from_stored(stored)

    @strawberry.field(
        permission_classes=[NeedsEscrowsScope],
        description="Escrows in order of id; party is payer, payee or arbiter.",
    )
    async def escrows(
        self,
        info: Info,
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
        status: EscrowStatus | None = None,  # type: ignore[valid-type]
        party: Address | None = None,
    ) -> Connection[Escrow]:
        check_page_size(first)
        behind = decode_text_cursor(after)
        rows = await info.context.stores.read(
            escrows.list_page,
            after=behind,
            limit=first + 1,
            # Strawberry hands on an enum variable's bare value.
            status=None if status is None else EscrowStatus(status),
            parties=visible_parties(info.context.key, party),
        )
        return escrow_page(rows, first=first, after=after)


def visible_parties(key: ApiKey, party: str | None) -> frozenset[str] | None:
    """Among whose escrows to look: those of ``party``, else of every account that the key may see."""
    if party is None:
        return key.accounts
    # An escrow between a party that the key may see and a stranger is found under the former only.
    return frozenset((party,)) if key.sees(party) else frozenset()


def escrow_page(rows: list[StoredEscrow], *, first: int, after: str | None) -> Connection[Escrow]:
    """A page of escrows."""
    return page(
        rows,
        first=first,
        after=after,
        node=from_stored,
        cursor=lambda stored: encode_cursor(stored.escrow_id),
    )
