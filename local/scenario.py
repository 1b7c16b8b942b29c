"""Stories of a market, as data in ``local/scenarios``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from shared.domain.margin import State

FOLDER = Path(__file__).resolve().parent / "scenarios"


class Breakage(StrEnum):
    """How a feed's answer is unusable."""

    ZERO = "zero"
    NEGATIVE = "negative"
    STALE = "stale"


class SourceHealth(StrEnum):
    """Whether a price source answers."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Step:
    """One moment: sources fail, prices move by factors, feeds break, people act; then the story pauses."""

    moves: Mapping[str, Decimal]
    broken: Mapping[str, Breakage]
    pause_s: float
    escrows: int = 0
    repayments: int = 0
    sources: Mapping[str, SourceHealth] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must have been seen by the end of the story.

    ``worst_at_least`` is a state that some account must have reached or passed; None where nobody may be
    called.
    """

    worst_at_least: State | None
    recoveries: bool
    unvalued: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story."""

    name: str
    description: str
    steps: tuple[Step, ...]
    expect: Expectation = field(default_factory=lambda: Expectation(None, recoveries=False, unvalued=False))


class ScenarioError(ValueError):
    """A story is not written as it must be, or does not exist."""


def names() -> list[str]:
    """The stories there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_scenario(name: str) -> Scenario:
    """A story by name.

    Raises:
        ScenarioError: there is none of this name, or its file is wrong.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise ScenarioError(f"SCENARIO {name!r} does not exist; there are {', '.join(names())}")
    document = yaml.safe_load(path.read_text())
    try:
        expect = document["expect"]
        return Scenario(
            document["name"],
            document["description"].strip(),
            tuple(_step(entry) for entry in document["steps"]),
            Expectation(
                State(expect["worst_at_least"]) if expect["worst_at_least"] else None,
                bool(expect["recoveries"]),
                bool(expect["unvalued"]),
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ScenarioError(f"{path.name}: {error!r}") from error


def _step(entry: Mapping[str, Any]) -> Step:
    unknown = set(entry) - {"moves", "broken", "pause_s", "escrows", "repayments", "sources"}
    if unknown:
        raise ValueError(f"a step has no {sorted(unknown)[0]!r}")
    return Step(
        moves={asset: Decimal(str(factor)) for asset, factor in entry.get("moves", {}).items()},
        broken={asset: Breakage(kind) for asset, kind in entry.get("broken", {}).items()},
        pause_s=float(entry["pause_s"]),
        escrows=int(entry.get("escrows", 0)),
        repayments=int(entry.get("repayments", 0)),
        sources={source: SourceHealth(health) for source, health in entry.get("sources", {}).items()},
    )
