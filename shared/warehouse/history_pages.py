"""Which rows of an account's history a page holds; every query of one takes these parameters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from google.cloud.bigquery import ScalarQueryParameter

_BEGINNING = (datetime(1, 1, 1, tzinfo=UTC), "")


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Up to ``limit`` rows with ``start <= as_of < finish``, oldest first, from the one behind ``after``
    (as_of, row id)."""

    account_id: str
    start: datetime
    finish: datetime
    after: tuple[datetime, str] | None
    limit: int

    @property
    def parameters(self) -> list[ScalarQueryParameter]:
        """Of the query: account_id, start, finish, after_as_of, after_row_id, row_limit."""
        after_as_of, after_row_id = self.after or _BEGINNING
        return [
            ScalarQueryParameter("account_id", "STRING", self.account_id),
            ScalarQueryParameter("start", "TIMESTAMP", self.start),
            ScalarQueryParameter("finish", "TIMESTAMP", self.finish),
            ScalarQueryParameter("after_as_of", "TIMESTAMP", after_as_of),
            ScalarQueryParameter("after_row_id", "STRING", after_row_id),
            ScalarQueryParameter("row_limit", "INT64", self.limit),
        ]
