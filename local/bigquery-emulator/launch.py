"""Starts local-bigquery 0.4.0 with what lets it run offline, on Python 3.11, and forget a project.

Runs in the emulator's own virtual environment, with nothing of this project on the path.

- It sets DuckDB's time zone in the connect configuration, which makes DuckDB 2.0 download its ``icu``
  extension; set on the open connection, the same setting uses the ``icu`` that is built in.
- It declares Python 3.13. What keeps it from running on 3.11 is the syntax of two modules (type
  parameters, PEP 695, and a quote inside an f-string, PEP 701); on 3.11 they are rewritten as they are
  imported. The installed package is not touched.
- Every call reads the catalogs of all projects that were ever made, so that hundreds of them, one a test,
  slow each other down tenfold. ``DELETE /emulator/v1/projects/<id>``, as Firestore's emulator has it too,
  removes one.

They are for the version that is named: another one is refused rather than guessed at.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.resources
import shutil
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


def _forget(project_id: str) -> dict[str, str]:
    """Remove a project with its datasets, jobs and results."""
    from local_bigquery.engine import database  # noqa: PLC0415 - imported after the adaptations

    results = database.fetch(
        "SELECT table_name FROM duckdb_tables() "
        "WHERE database_name = 'emulator' AND schema_name = '_results' AND starts_with(table_name, ?)",
        [f"{project_id}:"],
    )
    for (table,) in results:
        database.execute(f"DROP TABLE IF EXISTS {database.quote('emulator', '_results', table)}")
    for kind in ("jobs", *database.RESOURCES):
        database.execute(f"DELETE FROM emulator.{kind} WHERE project_id = ?", [project_id])  # noqa: S608 - its own names
    with database._attach_lock:
        if project_id in database._attached:
            database.execute(f"DETACH {database.quote(project_id)}")
            database._attached.discard(project_id)
    catalog = database.settings.data_dir / f"{project_id}.ducklake"
    catalog.unlink(missing_ok=True)
    shutil.rmtree(catalog.with_suffix(""), ignore_errors=True)
    return {}


def _add_forgetting() -> None:
    """Serve :func:`_forget`."""
    from local_bigquery import app  # noqa: PLC0415 - imported after the adaptations

    app.add_api_route("/emulator/v1/projects/{project_id}", _forget, methods=["DELETE"])


def main() -> None:
    """Run the emulator's own command line, so its options are its own (``--host``, ``--port``, …)."""
    installed = importlib.metadata.version("local-bigquery")
    if installed != VERSION:
        raise SystemExit(f"local-bigquery {installed} is installed, this launcher is for {VERSION}")
    if sys.version_info < (3, 12):
        sys.meta_path.insert(0, _Rewritten())
    _connect_offline()
    _drop_geography()
    _add_forgetting()
    from local_bigquery.cli import main as serve  # noqa: PLC0415 - imported after the adaptations

    serve()


if __name__ == "__main__":
    main()
