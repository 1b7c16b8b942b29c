"""``account`` and ``accounts``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from functools import partial

import strawberry

from gateway.accounts.types import Account, from_account
from gateway.context import Info
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.margin.types import MarginState
from gateway.pagination import Connection, decode_text_cursor, encode_cursor, page
from gateway.permissions import NeedsAccountsScope, account_argument
from shared.domain.margin import MarginRecord, State
from shared.domain.positions import Account as StoredAccount
from shared.stores import accounts, margin_states


@strawberry.type
class AccountQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsAccountsScope], description="One account; null if none was found."
    )
    async def account(self, info: Info, id: strawberry.ID) -> Account | None:  # noqa: A002 the field's name
        found = await info.context.loaders.account.load(account_argument(id, "id"))
        return None if found is None else from_account(info, found)

    @strawberry.field(
        permission_classes=[NeedsAccountsScope],
        description="Accounts in order of id; state is the recorded one.",
    )
    async def accounts(
        self,
        info: Info,
        first: int = DEFAULT_PAGE_SIZE,
        after: str | None = None,
        state: MarginState | None = None,  # type: ignore[valid-type]
    ) -> Connection[Account]:
        check_page_size(first)
        behind = decode_text_cursor(after)
        if state is not None:
            # Strawberry hands on an enum variable's bare value.
            rows = await _in_state(info, State(state), behind, first + 1)
        else:
            rows = await info.context.stores.read(
                accounts.list_page, after=behind, limit=first + 1, only=info.context.key.accounts
            )
            for account in rows:
                info.context.loaders.prime_account(account)
        return page(
            rows,
            first=first,
            after=after,
            node=partial(from_account, info),
            cursor=lambda account: encode_cursor(account.account_id),
        )


async def _in_state(info: Info, state: State, after: str | None, limit: int) -> list[StoredAccount]:
    records = await _records_in_state(info, state, after, limit)
    for record in records:
        info.context.loaders.prime_margin_record(record)
    found = await info.context.loaders.account.load_many([record.account_id for record in records])
    return [account for account in found if account is not None]


async def _records_in_state(info: Info, state: State, after: str | None, limit: int) -> list[MarginRecord]:
    allowed = info.context.key.accounts
    if allowed is None:
        return await info.context.stores.read(margin_states.list_in_state, state, after=after, limit=limit)
    wanted = sorted(account_id for account_id in allowed if after is None or account_id > after)
    records = await info.context.loaders.margin_record.load_many(wanted)
    return [record for record in records if record is not None and record.state is state][:limit]
