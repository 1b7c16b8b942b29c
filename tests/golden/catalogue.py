"""What each measure is held to: ``python -m tests.golden.catalogue`` writes the page of golden values.

The rows are catalogue.json, and what data/packages.json has. A test compares the page with them, and them
with the tests and the data that they name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "methodology" / "golden_values.md"
TO_1E9 = "1e-9"


class Golden(NamedTuple):
    """Published figures, or the exact value of a published example. `figures`: as printed, none where there
    are more than fit a line; `agreement`: how near ours must be; `test` in this folder."""

    measure: str
    source: str
    figures: list[str]
    agreement: str
    test: str


def printed() -> Iterator[Golden]:
    """The rows that no package was asked for."""
    for row in json.loads((HERE / "catalogue.json").read_text(encoding="utf-8")):
        yield Golden(**row)


_OF_PACKAGE = {
    "VaR": "historical VaR and ES",
    "ES": "historical VaR and ES",
    "Ledoit-Wolf": "Ledoit–Wolf covariance",
    "EWMA covariance": "EWMA covariance",
    "EWMA volatility": "filtered scenarios",
    "age-weighted ES": "age-weighted VaR and ES",
    "age-weighted VaR": "age-weighted VaR and ES",
    "component ES": "component ES",
}


def of_packages() -> Iterator[Golden]:
    """One row for each value that a package returned."""
    for case in json.loads((HERE / "data" / "packages.json").read_text(encoding="utf-8")):
        name = max((name for name in _OF_PACKAGE if case["measure"].startswith(name)), key=len)
        figures = [repr(case["value"])] if isinstance(case["value"], float) else []
        source = f"{case['package']}, `{case['call']}`"
        yield Golden(_OF_PACKAGE[name], source, figures, TO_1E9, "test_packages.test_agrees_with_the_package")


_HEAD = """<!-- Written by `python -m tests.golden.catalogue` (`make goldens`); edit tests/golden. -->
# Golden values

What each measure is held to, and how near it must be. Where a source prints few digits, its example is
computed once more exactly, from the printed inputs and by other means than the risk core's, and the two agree
to 1e-9. Packages are named with their version and the call; `make goldens` asks them again. Oracles and
properties over random books are beside these, in `tests/unit/risk`.

| measure | source | figures | agreement | test, in `tests/golden` |
|---|---|---|---|---|
"""


def page() -> str:
    """The page's text."""
    goldens = [*printed(), *of_packages()]
    rows = [
        f"| {golden.measure} | {golden.source} | {', '.join(golden.figures)} | {golden.agreement} "
        f"| `{golden.test}` |\n"
        for measure in dict.fromkeys(golden.measure for golden in goldens)
        for golden in goldens
        if golden.measure == measure
    ]
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
