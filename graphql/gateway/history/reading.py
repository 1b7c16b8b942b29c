"""A page of an account's history, as every field of one reads it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, TypeVar

from gateway.context import Info
from gateway.errors import BadUserInputError
from gateway.limits import check_page_size
from gateway.pagination import Connection, decode_moment_cursor, encode_cursor, page
from gateway.permissions import account_argument
from shared.warehouse.history_pages import HistoryPage


class Recorded(Protocol):
    """A row of history."""

    @property
    def as_of(self) -> datetime: ...

    @property
    def row_id(self) -> str: ...


Row = TypeVar("Row", bound=Recorded)
Node = TypeVar("Node")


async def account_history(
    info: Info,
    read: Callable[..., list[Row]],
    *,
    account_id: str,
    start: datetime,
    finish: datetime,
    first: int,
    after: str | None,
    node: Callable[[Row], Node],
    **filters: Any,
) -> Connection[Node]:
    """The page that ``read`` finds; empty where the key does not see the account.

    Raises:
        BadUserInputError: naming the argument.
    """
    check_page_size(first)
    behind = decode_moment_cursor(after)
    wanted = account_argument(account_id, "accountId")
    if start >= finish:
        raise BadUserInputError("to", "must be later than from")
    rows: list[Row] = []
    if info.context.key.sees(wanted):
        # One more than asked for says that there is a next page.
        asked = HistoryPage(wanted, start, finish, behind, first + 1)
        rows = await info.context.stores.read_warehouse(read, asked, **filters)
    return page(
        rows, first=first, after=after, node=node, cursor=lambda row: encode_cursor(row.as_of, row.row_id)
    )
