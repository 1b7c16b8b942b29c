"""What a result rests on; every result carries one."""

from typing import NamedTuple

from shared.risk.scenarios import ScenarioSet
from shared.risk.tail import TAIL_DEFINITION


class Basis(NamedTuple):
    """The moment a result is for (as the caller gave it), the measure's definition, and the scenarios or
    covariance it was computed from: their id, definition, horizon, the history behind them and the assets
    they lack."""

    as_of: str
    definition: str
    scenario_set_id: str
    scenario_definition: str
    horizon_days: int
    history_first: str | None
    history_last: str | None
    n_observations: int
    missing_assets: tuple[int, ...]


def basis_of(scenarios: ScenarioSet, as_of: str, measure: str) -> Basis:
    """The basis of a measure on a scenario set."""
    return Basis(as_of, f"{measure}.{TAIL_DEFINITION}", *scenarios.provenance)
