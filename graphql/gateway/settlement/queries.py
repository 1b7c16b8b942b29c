"""``settlementCommand``, ``settlementCommands`` and ``settlementCommandKinds``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import strawberry

from gateway.context import Info
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.pagination import Connection, decode_moment_cursor, encode_cursor, page
from gateway.permissions import NeedsCommandsScope
from gateway.scalars import Address
from gateway.settlement.types import (
    SettlementCommand,
    SettlementCommandKindDescription,
    command_type,
    kind_descriptions,
)
from shared.stores import settlement_commands


@strawberry.type
class SettlementQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsCommandsScope], description="One command; null if none was found."
    )
    async def settlement_command(self, info: Info, id: strawberry.ID) -> SettlementCommand | None:  # noqa: A002
        stored = await info.context.loaders.settlement_command.load(str(id))
        return None if stored is None else command_type(stored)

    @strawberry.field(
        permission_classes=[NeedsCommandsScope], description="Commands, the last accepted first."
    )
    async def settlement_commands(
        self,
        info: Info,
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
        account_id: Address | None = None,
    ) -> Connection[SettlementCommand]:
        check_page_size(first)
        before = decode_moment_cursor(after)
        accounts = info.context.key.accounts
        if account_id is not None:
            accounts = frozenset((account_id,)) if info.context.key.sees(account_id) else frozenset()
        rows = await info.context.stores.read(
            settlement_commands.list_page, account_ids=accounts, before=before, limit=first + 1
        )
        return page(
            rows,
            first=first,
            after=after,
            node=command_type,
            cursor=lambda command: encode_cursor(command.accepted_at, command.command_id),
        )

    @strawberry.field(
        permission_classes=[NeedsCommandsScope], description="Every kind of command and what it takes."
    )
    async def settlement_command_kinds(self) -> list[SettlementCommandKindDescription]:
        return kind_descriptions()
