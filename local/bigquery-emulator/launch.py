"""Starts local-bigquery 0.4.0 with what lets it run offline, on Python 3.11, and with many projects.

Runs in the emulator's own virtual environment, with nothing of this project on the path.

- It sets DuckDB's time zone in the connect configuration, which makes DuckDB 2.0 download its ``icu``
  extension; set on the open connection, the same setting uses the ``icu`` that is built in.
- It declares Python 3.13. What keeps it from running on 3.11 is the syntax of two modules (type
  parameters, PEP 695, and a quote inside an f-string, PEP 701); on 3.11 they are rewritten as they are
  imported. The installed package is not touched.
- It looks for a project's tables in the catalogs of all projects; it is made to look in one.

All name the exact text they replace: another version of the emulator is refused rather than guessed at.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.resources
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

VERSION = "0.4.0"

# Module -> the text that Python 3.11 cannot parse -> the same in its syntax.
SYNTAX_FOR_3_11 = {
    "local_bigquery.catalog.metadata": {
        "def list_[R: Resource](": (
            'from typing import TypeVar\nR = TypeVar("R", bound=Resource)\n\n\ndef list_('
        ),
        "def load[R: Resource](": "def load(",
        "def save[R: Resource](": "def save(",
    },
    "local_bigquery.engine.results": {
        'error in writing field {column}"\n': """error in writing field {column}".replace("'", "''")\n""",
        """{message.replace("'", "''")}""": "{message}",
    },
}


class _Rewriter(importlib.machinery.SourceFileLoader):
    """Compiles a module after replacing each text of its table, which must occur exactly once."""

    # CPython calls it as a method; typeshed has the static one of the abstract class.
    def source_to_code(  # type: ignore[override]
        self, data: Any, path: Any, *, _optimize: int = -1
    ) -> Any:
        source = bytes(data).decode()
        for unparsable, replacement in SYNTAX_FOR_3_11[self.name].items():
            if source.count(unparsable) != 1:
                raise SystemExit(f"{path}: {unparsable!r} does not occur exactly once; see {__file__}")
            source = source.replace(unparsable, replacement)
        return super().source_to_code(source.encode(), path)


class _Rewritten(importlib.abc.MetaPathFinder):
    """Finds the modules of :data:`SYNTAX_FOR_3_11` where they are, and loads them rewritten."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in SYNTAX_FOR_3_11:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Rewriter(fullname, spec.origin)
        return spec


def _extension(name: str, duckdb_version: str) -> str:
    """The file of a DuckDB extension that was installed from its package."""
    file = importlib.resources.files(f"duckdb_extension_{name}").joinpath(
        "extensions", f"v{duckdb_version}", f"{name}.duckdb_extension"
    )
    if not file.is_file():
        raise SystemExit(f"{file} does not exist: DuckDB and its extensions must be of one version")
    return str(file)


def _connect_offline() -> None:
    """Wrap ``duckdb.connect``: load the installed DuckLake, and set a ``TimeZone`` after connecting."""
    import duckdb  # noqa: PLC0415 - only in the emulator's process

    connect = duckdb.connect
    ducklake = _extension("ducklake", duckdb.__version__)

    def connect_offline(
        *arguments: Any, config: dict[str, Any] | None = None, **options: Any
    ) -> duckdb.DuckDBPyConnection:
        settings = dict(config or {})
        time_zone = settings.pop("TimeZone", None)
        connection = connect(*arguments, config=settings, **options)
        connection.execute(f"LOAD '{ducklake}'")
        if time_zone is not None:
            connection.execute(f"SET TimeZone = '{time_zone}'")
        return connection

    duckdb.connect = connect_offline


def _drop_geography() -> None:
    """Leave out the geography functions, which begin by downloading DuckDB's ``spatial`` extension."""
    from local_bigquery.engine import database  # noqa: PLC0415 - imported after the adaptations

    database.FUNCTIONS = [file for file in database.FUNCTIONS if file.stem != "geography"]


_DATASET = """
    SELECT 1 FROM {catalog}.ducklake_schema WHERE end_snapshot IS NULL AND schema_name = $1
"""
_OBJECTS = """
    SELECT t.table_name, 'TABLE', coalesce(s.record_count, 0)
    FROM {catalog}.ducklake_table t
    JOIN {catalog}.ducklake_schema d ON d.schema_id = t.schema_id AND d.end_snapshot IS NULL
    LEFT JOIN {catalog}.ducklake_table_stats s ON s.table_id = t.table_id
    WHERE t.end_snapshot IS NULL AND d.schema_name = $1 AND t.table_name = coalesce($2, t.table_name)
    UNION ALL
    SELECT v.view_name, 'VIEW', 0
    FROM {catalog}.ducklake_view v
    JOIN {catalog}.ducklake_schema d ON d.schema_id = v.schema_id AND d.end_snapshot IS NULL
    WHERE v.end_snapshot IS NULL AND d.schema_name = $1 AND v.view_name = coalesce($2, v.view_name)
    ORDER BY 1
"""
_REQUIRED_COLUMNS = """
    SELECT c.column_name
    FROM {catalog}.ducklake_column c
    JOIN {catalog}.ducklake_table t ON t.table_id = c.table_id AND t.end_snapshot IS NULL
    JOIN {catalog}.ducklake_schema d ON d.schema_id = t.schema_id AND d.end_snapshot IS NULL
    WHERE c.end_snapshot IS NULL AND c.parent_column IS NULL AND NOT c.nulls_allowed
    AND d.schema_name = $1 AND t.table_name = $2
"""
_COLUMN = """
    SELECT 1
    FROM {catalog}.ducklake_column c
    JOIN {catalog}.ducklake_table t ON t.table_id = c.table_id AND t.end_snapshot IS NULL
    JOIN {catalog}.ducklake_schema d ON d.schema_id = t.schema_id AND d.end_snapshot IS NULL
    WHERE c.end_snapshot IS NULL AND c.parent_column IS NULL
    AND d.schema_name = $1 AND t.table_name = $2 AND c.column_name = $3
"""

# What the emulator asks about all projects and then filters -> the same of one project's catalog.
QUESTIONS_OF_ONE_PROJECT = {
    "SELECT 1 FROM duckdb_schemas() WHERE database_name = ? AND schema_name = ?": _DATASET,
    "SELECT table_name, 'TABLE', estimated_size FROM duckdb_tables() "
    "WHERE database_name = $1 AND schema_name = $2 "
    "AND table_name = coalesce($3, table_name) "
    "UNION ALL SELECT view_name, 'VIEW', 0 FROM duckdb_views() "
    "WHERE database_name = $1 AND schema_name = $2 "
    "AND view_name = coalesce($3, view_name) AND NOT internal ORDER BY 1": _OBJECTS,
    "SELECT column_name FROM duckdb_columns() WHERE database_name = ? "
    "AND schema_name = ? AND table_name = ? AND NOT is_nullable": _REQUIRED_COLUMNS,
    "SELECT 1 FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? "
    "AND table_name = ? AND column_name = ?": _COLUMN,
}


def _look_in_one_project() -> None:
    """Look for a project's datasets, tables and columns in its own catalog.

    DuckDB's tables of tables read the catalogs of every project before they filter: each project that was
    ever made slows down every call to all of them.
    """
    from local_bigquery.engine import database  # noqa: PLC0415 - imported after the adaptations

    fetch = database.fetch

    def fetch_of_one_project(sql: str, params: list[Any] | None = None) -> list[tuple[Any, ...]]:
        question = QUESTIONS_OF_ONE_PROJECT.get(sql)
        if question is None or not params or params[0] not in database._attached:
            return list(fetch(sql, params))
        project, *others = params
        catalog = database.quote(f"__ducklake_metadata_{project}")
        return list(fetch(question.format(catalog=catalog), others))

    database.fetch = fetch_of_one_project


def main() -> None:
    """Run the emulator's own command line, so its options are its own (``--host``, ``--port``, …)."""
    installed = importlib.metadata.version("local-bigquery")
    if installed != VERSION:
        raise SystemExit(f"local-bigquery {installed} is installed, this launcher is for {VERSION}")
    if sys.version_info < (3, 12):
        sys.meta_path.insert(0, _Rewritten())
    _connect_offline()
    _drop_geography()
    _look_in_one_project()
    from local_bigquery.cli import main as serve  # noqa: PLC0415 - imported after the adaptations

    serve()


if __name__ == "__main__":
    main()
