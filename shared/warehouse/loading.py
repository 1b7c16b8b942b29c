"""Loading many rows as a job: all of them or none, and once however often it is asked.

A load job has an id that the caller derives from what is loaded. BigQuery runs a job id once, so a repeat
after a crash meets the job that was there and waits for it. (Streaming, as the archive does, would write
the rows twice.)
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from typing import Any

from google.api_core import exceptions as google_errors
from google.cloud import bigquery

from shared.errors import RetryableError
from shared.warehouse.client import FAILURES, RETRY, Warehouse
from shared.warehouse.rows import Row

_TIMEOUT_S = 60.0
_JOB_TIMEOUT_S = 300.0
_ATTEMPTS = 20
_NOT_IN_JOB_IDS = re.compile(r"[^A-Za-z0-9_-]")


def load_once(warehouse: Warehouse, table: str, rows: Sequence[Row], *, load_id: str) -> bool:
    """Load rows into a table unless the load of this id was made already; whether it was made now.

    A load that failed leaves its job id used up, so the next attempt has another; the failed one has written
    nothing.

    Raises:
        RetryableError: BigQuery did not answer, or refused the rows; none was written by this call, or all
            were, and asking again with the same id finds out.
    """
    base = _NOT_IN_JOB_IDS.sub("_", f"{warehouse.dataset}-{table}-{load_id}")
    failure: Exception | None = None
    try:
        for attempt in range(_ATTEMPTS):
            job_id = f"{base}-{attempt}"
            is_new = True
            try:
                job = _begin(warehouse, table, rows, job_id)
            except google_errors.Conflict:
                is_new = False
                job = warehouse.client.get_job(job_id, retry=RETRY, timeout=_TIMEOUT_S)
            try:
                job.result(retry=RETRY, timeout=_JOB_TIMEOUT_S)
            except google_errors.GoogleAPICallError as error:
                failure = error
                if is_new:
                    break
            else:
                return is_new
    except (*FAILURES, OSError) as error:
        # An upload fails with what the HTTP library raises, which is an OSError.
        raise RetryableError(f"BigQuery did not take a load of {table}: {error}") from error
    raise RetryableError(f"BigQuery refused {len(rows)} rows of {table}: {failure}") from failure


def _begin(warehouse: Warehouse, table: str, rows: Sequence[Row], job_id: str) -> Any:
    data = "\n".join(json.dumps(row.values) for row in rows).encode()
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
    )
    return warehouse.client.load_table_from_file(
        io.BytesIO(data),
        f"{warehouse.dataset}.{table}",
        size=len(data),
        job_id=job_id,
        job_config=config,
        num_retries=2,
        timeout=_TIMEOUT_S,
    )
