"""Every loss and attack of ``docs/regressions.md`` has its test, and no regression is without a row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.repository.sources import ROOT

_ROW = re.compile(r"^\| (?P<what>[^|]+) \| `(?P<path>[^`:]+)::(?P<test>\w+)` \|$")
_HEADERS = {"| loss or attack | test |", "|---|---|"}
LINES = [
    line
    for line in (ROOT / "docs/regressions.md").read_text(encoding="utf-8").splitlines()
    if line[:1] == "|"
]
ROWS = [_ROW.match(line) for line in LINES if line not in _HEADERS]

# Files that have regressions and nothing else.
OWN = ["contracts/test/regression/*.sol", "tests/**/test_*_losses.py"]


def _tests(path: Path) -> set[str]:
    """The tests of a forge or pytest file, by name."""
    pattern = r"function (test_\w+)\(" if path.suffix == ".sol" else r"^(?:async )?def (test_\w+)\("
    return set(re.findall(pattern, path.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "no row" if row is None else row["test"])
def test_every_loss_names_a_test_that_exists(row: re.Match[str] | None) -> None:
    assert row is not None, "a line of the table is not: | loss or attack | `path::test` |"
    assert row["test"] in _tests(ROOT / row["path"])


def test_no_line_is_there_twice() -> None:
    named = [row["what"] for row in ROWS if row]
    assert len(set(named)) == len(named) > 50


@pytest.mark.parametrize(
    "path", [path for pattern in OWN for path in ROOT.glob(pattern)], ids=lambda path: path.name
)
def test_every_regression_has_a_row(path: Path) -> None:
    listed = {row["test"] for row in ROWS if row and ROOT / row["path"] == path}
    assert _tests(path) <= listed
