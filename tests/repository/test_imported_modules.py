"""Each function loads its own libraries and no other: what a cold start pays for is a decision."""

from __future__ import annotations

import json

import pytest

from benchmarks.cold_start.imports import MODULES_FILE, functions, imported_libraries

COMMITTED: dict[str, list[str]] = json.loads(MODULES_FILE.read_bytes())

# What would cost a function more than everything else that it imports, and which may load it.
HEAVY = {
    "numpy": {"evaluate_margin", "measure_risk", "pack_margin_book"},
    "scipy": {"evaluate_margin", "measure_risk"},
    "google.cloud.bigquery": {
        *("archive_events", "backfill_prices", "build_price_bars", "health", "measure_risk"),
    },
    "strawberry": set[str](),
    "graphql": set[str](),
    "web3": set[str](),
    "eth_abi": set[str](),
    "matplotlib": set[str](),
    "rich": set[str](),
}


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    """What each loads, as a fresh interpreter would."""
    return imported_libraries()


def test_every_function_is_listed() -> None:
    assert list(COMMITTED) == ["functions_framework", *functions()]


@pytest.mark.parametrize("function", COMMITTED)
def test_a_function_loads_the_libraries_that_are_listed_and_no_other(
    imported: dict[str, list[str]], function: str
) -> None:
    """``python -m benchmarks.cold_start.imports --write`` lists them; look at what it changes."""
    assert imported[function] == COMMITTED[function]


@pytest.mark.parametrize("library", HEAVY)
def test_a_heavy_library_is_loaded_only_where_it_is_used(
    imported: dict[str, list[str]], library: str
) -> None:
    loading = {function for function, libraries in imported.items() if library in libraries}
    assert loading == HEAVY[library]
