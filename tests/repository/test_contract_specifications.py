"""Every branch of a contract's specification (``contracts/test/unit/*.tree``) names a test that exists.

The trees are those of the Branching Tree Technique: conditions, and what happens under them. A leaf names
its test in brackets; a unit test that no leaf names is behaviour that nobody specified.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "contracts" / "test" / "unit"
TREES = sorted(UNIT.glob("*.tree"))
_TEST = re.compile(r"function (test_\w+)\(")
_LEAF = re.compile(r"[├└]── it [^\[]+\[(test_\w+)\]$")


def _tests() -> set[str]:
    return {name for path in UNIT.glob("*.t.sol") for name in _TEST.findall(path.read_text(encoding="utf-8"))}


def _named(tree: Path) -> set[str]:
    lines = tree.read_text(encoding="utf-8").splitlines()
    return {found[1] for line in lines if (found := _LEAF.search(line))}


def test_there_are_specifications() -> None:
    assert {"Escrow", "EscrowFactory", "DvpEscrow"} <= {tree.stem for tree in TREES}


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.stem)
def test_every_outcome_names_a_test(tree: Path) -> None:
    lines = tree.read_text(encoding="utf-8").splitlines()
    unnamed = [line for line in lines if "── it " in line and not _LEAF.search(line)]
    assert not unnamed, f"{tree.name}: outcomes without a test: {unnamed}"
    assert _named(tree) <= _tests(), f"{tree.name} names tests that do not exist"


@pytest.mark.parametrize("path", sorted(UNIT.glob("*.t.sol")), ids=lambda path: path.name)
def test_every_unit_test_is_in_a_tree(path: Path) -> None:
    specified = set[str]().union(*map(_named, TREES))
    tests = set(_TEST.findall(path.read_text(encoding="utf-8")))
    assert tests <= specified, f"{path.name} has tests that no tree names"
