"""The worked examples of docs/methodology say what the code does, and every measure has a page."""

import doctest
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "methodology"
NAMES = sorted(path.name for path in PAGES.glob("*.md") if path.name not in {"README.md", "golden_values.md"})


@pytest.mark.parametrize("name", NAMES)
def test_worked_examples(name: str) -> None:
    result = doctest.testfile(str(PAGES / name), module_relative=False)
    assert result.attempted > 0, f"{name} has no example"
    assert result.failed == 0


def test_every_page_is_listed() -> None:
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"({name})" not in index] == []
