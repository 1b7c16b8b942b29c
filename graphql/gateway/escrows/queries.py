"""``escrow`` and ``escrows``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

import strawberry

from gateway.context import Info
from gateway.escrows.types import Escrow, EscrowStatus, from_stored
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.pagination import Connection, Node, decode_text_cursor, encode_cursor, page
from gateway.permissions import NeedsEscrowsScope
from gateway.scalars import Address
from shared.domain.api_keys import ApiKey
from shared.stores import escrows
from shared.stores.escrow_collection import EscrowState, Stored, escrow_id


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
        # Strawberry hands on an enum variable's bare value.
        wanted = None if status is None else EscrowStatus(status)
        rows = await list_visible(
            info, escrows.list_page, first=first, after=after, status=wanted, party=party
        )
        return escrow_page(rows, from_stored, first=first, after=after)


def visible_parties(key: ApiKey, party: str | None) -> frozenset[str] | None:
    """Among whose escrows to look: those of ``party``, else of every account that the key may see."""
    if party is None:
        return key.accounts
    # An escrow between a party that the key may see and a stranger is found under the former only.
    return frozenset((party,)) if key.sees(party) else frozenset()


async def list_visible(
    info: Info,
    list_page: Callable[..., list[Stored[EscrowState]]],
    *,
    first: int,
    after: str | None,
    status: StrEnum | None,
    party: str | None,
) -> list[Stored[EscrowState]]:
    """Escrows of one kind that the key may see, in order of id, one more than a page has.

    Args:
        list_page: of the kind's store.
    """
    check_page_size(first)
    return await info.context.stores.read(
        list_page,
        after=decode_text_cursor(after),
        limit=first + 1,
        status=status,
        parties=visible_parties(info.context.key, party),
    )


def escrow_page(
    rows: Sequence[Stored[EscrowState]],
    node: Callable[[Stored[EscrowState]], Node],
    *,
    first: int,
    after: str | None,
) -> Connection[Node]:
    """A page of escrows of one kind."""
    return page(
        rows,
        first=first,
        after=after,
        node=node,
        cursor=lambda stored: encode_cursor(stored.escrow_id),
    )
