"""``events``: every message of a topic, as it was published."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from google.cloud.bigquery import ScalarQueryParameter

from shared.warehouse.client import Warehouse, query

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_PAGE = 10_000


def iter_payloads(warehouse: Warehouse, topic: str, *, page: int = _PAGE) -> Iterator[bytes]:
    """The messages of a topic, each once however often it was archived, in order of when they happened.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    after = (_BEGINNING, "", "")
    while True:
        rows = query(
            warehouse,
            "event_log",
            [
                ScalarQueryParameter("topic", "STRING", topic),
                ScalarQueryParameter("beginning", "TIMESTAMP", _BEGINNING),
                ScalarQueryParameter("after_at", "TIMESTAMP", after[0]),
                ScalarQueryParameter("after_id", "STRING", after[1]),
                ScalarQueryParameter("after_payload", "STRING", after[2]),
                ScalarQueryParameter("row_limit", "INT64", page),
            ],
        )
        for row in rows:
            yield row["payload"].encode()
        if len(rows) < page:
            return
        after = (rows[-1]["occurred_at"], rows[-1]["event_id"], rows[-1]["payload"])
