"""The page of golden values says what the tests do: its rows name tests that are there and figures that they
read, and every measure has at least three."""

import importlib
import re
from collections import Counter

import pytest

from tests.golden.catalogue import HERE, PAGE, TO_1E9, Golden, of_packages, page, printed

GOLDENS = [*printed(), *of_packages()]
DATA = "\n".join(path.read_text(encoding="utf-8") for path in (HERE / "data").iterdir())
DATA += (HERE / "test_exact.py").read_text(encoding="utf-8")
KNOWN = {float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", DATA)}


def test_the_page_is_written() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("golden", list(printed()), ids=lambda golden: f"{golden.measure}: {golden.source}")
def test_a_row_names_a_test_and_figures_that_are_there(golden: Golden) -> None:
    module, _, name = golden.test.partition(".")
    assert callable(getattr(importlib.import_module(f"tests.golden.{module}"), name))
    assert [figure for figure in golden.figures if float(figure) not in KNOWN] == []


def test_every_measure_has_three() -> None:
    """Figures a source prints, or values to 1e-9; of the exact examples each has several of its own."""
    counted: Counter[str] = Counter()
    for golden in GOLDENS:
        counted[golden.measure] += max(1, len(golden.figures))
    several = {"liquidity-horizon ES"}
    assert {measure for measure, n in counted.items() if n < 3} <= several
    to_1e9 = {golden.measure for golden in GOLDENS if golden.agreement in {TO_1E9, "exact"}}
    assert set(counted) - to_1e9 <= {"margin health", "trigger price", "Monte Carlo"}
