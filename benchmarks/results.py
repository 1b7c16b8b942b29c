"""The figures of every benchmark: rows in ``benchmarks/results/<name>.json``, and one table of them all.

Every row has the reference that it is held against, a limit or a peer measured in the same run, and the
ratio to it. What is measured alone on a busy machine says little; the ratio says more.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Row:
    """One figure. ``ratio`` is value / reference_value: for a time, below 1 is better than the reference."""

    metric: str
    value: float
    unit: str
    reference: str = ""
    reference_value: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The figure in terms of its reference; None without one."""
        return None if not self.reference_value else self.value / self.reference_value


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    models = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "scipy": version("scipy"),
        "load_average": os.getloadavg()[0],
    }


def report(name: str, rows: Sequence[Row]) -> None:
    """Print the rows as a table and write them to ``benchmarks/results/<name>.json``."""
    print("\n".join(table({name: rows})))
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "rows": [asdict(row) | {"ratio": row.ratio} for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


def read(name: str) -> list[Row]:
    """The rows of a benchmark that has run.

    Raises:
        FileNotFoundError: it has not.
    """
    document = json.loads((RESULTS / f"{name}.json").read_bytes())
    return [Row(**{key: row[key] for key in row if key != "ratio"}) for row in document["rows"]]


def table(rows_by_name: dict[str, Sequence[Row]]) -> Iterable[str]:
    """The lines of a table of several benchmarks."""
    rows = [row for group in rows_by_name.values() for row in group]
    metric_width = max(len(row.metric) for row in rows)
    reference_width = max(len(row.reference) for row in rows)
    for name, group in rows_by_name.items():
        yield f"── {name}"
        for row in group:
            figure = f"{row.metric:<{metric_width}} {row.value:12.4g} {row.unit:<12}"
            against = "" if row.ratio is None else f"{row.ratio:9.3g} × {row.reference:<{reference_width}}"
            yield f"{figure} {against}  {row.note}".rstrip()
