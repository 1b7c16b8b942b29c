"""The BigQuery client and the dataset it reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from google.api_core import exceptions as google_errors
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from shared.config import Settings
from shared.errors import RetryableError

_TIMEOUT_S = 30.0
RETRY = bigquery.DEFAULT_RETRY.with_timeout(6.0)
"""The client's own policy goes on for ten minutes, longer than any function may run."""

FAILURES = (google_errors.GoogleAPICallError, google_errors.RetryError, ConnectionError)
"""How the client says that BigQuery did not answer."""


@dataclass(frozen=True, slots=True)
class Warehouse:
    """A client and the dataset (``project.dataset``) that its queries name as ``{dataset}``."""

    client: bigquery.Client
    dataset: str


@lru_cache(maxsize=16)
def connect(settings: Settings) -> Warehouse:
    """The process's warehouse for these settings."""
    dataset = f"{settings.project}.{settings.bigquery_dataset}"
    url = settings.bigquery_emulator_url
    if url is None:
        return Warehouse(bigquery.Client(project=settings.project), dataset)
    client = bigquery.Client(
        project=settings.project,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options=ClientOptions(api_endpoint=url),
    )
    return Warehouse(client, dataset)


def query(
    warehouse: Warehouse,
    name: str,
    parameters: Iterable[bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter],
) -> list[dict[str, Any]]:
    """The rows of ``shared/warehouse/queries/<name>.sql`` with these parameters.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    statement = resources.files("shared.warehouse").joinpath("queries", f"{name}.sql").read_text()
    config = bigquery.QueryJobConfig(query_parameters=list(parameters))
    try:
        rows = warehouse.client.query(
            statement.format(dataset=warehouse.dataset),
            job_config=config,
            retry=RETRY,
            job_retry=None,
            timeout=_TIMEOUT_S,
        ).result(retry=RETRY, job_retry=None, timeout=_TIMEOUT_S)
        return [dict(row) for row in rows]
    except FAILURES as error:
        raise RetryableError(f"BigQuery did not answer query {name}: {error}") from error


def view_statement(name: str, dataset: str) -> str:
    """What the view ``shared/warehouse/views/<name>.sql`` selects, from the tables of a dataset
    (``project.dataset``)."""
    text = resources.files("shared.warehouse").joinpath("views", f"{name}.sql").read_text()
    return text.format(dataset=dataset)


def list_tables(warehouse: Warehouse) -> list[str]:
    """Names of the dataset's tables.

    Raises:
        RetryableError: BigQuery did not answer, or the dataset does not exist.
    """
    try:
        return [
            table.table_id
            for table in warehouse.client.list_tables(warehouse.dataset, retry=RETRY, timeout=_TIMEOUT_S)
        ]
    except FAILURES as error:
        raise RetryableError(f"BigQuery did not list the tables of {warehouse.dataset}: {error}") from error
