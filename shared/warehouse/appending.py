"""Writing rows. What arrives twice is written twice at worst, and read once: queries take one row per id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared.errors import RetryableError
from shared.warehouse.client import FAILURES, RETRY, Warehouse
from shared.warehouse.rows import Row

_TIMEOUT_S = 30.0
_BYTES_PER_CALL = 4_000_000
"""BigQuery takes ten million bytes a request; ours are counted before they are escaped."""


def append(warehouse: Warehouse, rows: Sequence[Row]) -> dict[str, str]:
    """Write rows, whatever their tables; the ids of those that BigQuery refused, with the reason.

    Raises:
        RetryableError: BigQuery did not answer; some rows may have been written.
    """
    refused: dict[str, str] = {}
    by_table: dict[str, list[Row]] = {}
    for row in rows:
        by_table.setdefault(row.table, []).append(row)
    for table, of_table in by_table.items():
        for chunk in _chunks(of_table):
            try:
                errors = warehouse.client.insert_rows_json(
                    f"{warehouse.dataset}.{table}",
                    [row.values for row in chunk],
                    row_ids=[row.row_id for row in chunk],
                    skip_invalid_rows=True,
                    retry=RETRY,
                    timeout=_TIMEOUT_S,
                )
            except FAILURES as error:
                raise RetryableError(f"BigQuery did not take rows of {table}: {error}") from error
            for entry in errors:
                refused[chunk[entry["index"]].row_id] = f"{table}: {entry['errors']}"
    return refused


def append_all(warehouse: Warehouse, rows: Sequence[Row]) -> None:
    """Write rows, none of which may be refused.

    Raises:
        RetryableError: BigQuery did not answer, or refused a row; says why.
    """
    refused = append(warehouse, rows)
    if refused:
        row_id, reason = next(iter(refused.items()))
        raise RetryableError(f"BigQuery refused {len(refused)} rows, of them {row_id}: {reason}")


def _chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for row in rows:
        weight = sum(len(name) + len(str(value)) + 8 for name, value in row.values.items())
        if chunk and size + weight > _BYTES_PER_CALL:
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += weight
    if chunk:
        yield chunk
