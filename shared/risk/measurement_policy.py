"""What is measured of every account, and how: data/measurement_policy.json, checked when it is read.

Levels, horizons and methods of the recorded runs; the window of history; the methods' parameters; which asset
stands in for which. A proxy is a decision that somebody answers for, so it is written down here and an asset
without one has no result.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from shared.risk.tail import tail_of


class RiskMethod(StrEnum):
    """How VaR and ES are measured; defined in docs/methodology."""

    FILTERED = "filtered"
    HISTORICAL = "historical"
    AGE_WEIGHTED = "age_weighted"
    DELTA_NORMAL_EWMA = "delta_normal_ewma"
    DELTA_NORMAL_LEDOIT_WOLF = "delta_normal_ledoit_wolf"
    CORNISH_FISHER = "cornish_fisher"
    MONTE_CARLO_NORMAL = "monte_carlo_normal"
    MONTE_CARLO_T = "monte_carlo_t"


@dataclass(frozen=True, slots=True)
class NamedProxy:
    """Stands in for an asset: `beta` times the return of `asset`."""

    asset: str
    beta: float


@dataclass(frozen=True, slots=True)
class MeasurementPolicy:
    """`run_every_s` between recorded runs, which record `recorded_methods`, `levels` and `horizons_days` of
    each account, on a history of `n_returns` daily returns.

    `history_proxies` take the place of days before an asset's first; `stress_proxies` and `stress_returns` of
    a return that a named scenario lacks.
    """

    run_every_s: int
    n_returns: int
    levels: tuple[float, ...]
    horizons_days: tuple[int, ...]
    recorded_methods: tuple[RiskMethod, ...]
    age_weight_decay: float
    ewma_decay: float
    monte_carlo_scenarios: int
    monte_carlo_seed: int
    monte_carlo_degrees_of_freedom: float
    history_proxies: Mapping[str, NamedProxy]
    stress_proxies: Mapping[str, NamedProxy]
    stress_returns: Mapping[str, float]

    def stress_declared(self, shocks: Mapping[str, float]) -> dict[str, float]:
        """The returns that the policy gives assets which a named scenario's `shocks` lack."""
        proxied = {
            asset: max(-1.0, proxy.beta * shocks[proxy.asset])
            for asset, proxy in self.stress_proxies.items()
            if proxy.asset in shocks
        }
        return {**self.stress_returns, **proxied}


def parse_measurement_policy(text: str) -> MeasurementPolicy:
    """The policy of a JSON text.

    Raises:
        ValueError: naming the field that is missing, unknown or out of range.
    """
    fields: dict[str, Any] = json.loads(text)
    simulation = fields.pop("monte_carlo", {})
    try:
        policy = MeasurementPolicy(
            **{
                **fields,
                "levels": tuple(fields["levels"]),
                "horizons_days": tuple(fields["horizons_days"]),
                "recorded_methods": tuple(RiskMethod(name) for name in fields["recorded_methods"]),
                "history_proxies": _proxies(fields["history_proxies"]),
                "stress_proxies": _proxies(fields["stress_proxies"]),
            },
            monte_carlo_scenarios=simulation["n_scenarios"],
            monte_carlo_seed=simulation["seed"],
            monte_carlo_degrees_of_freedom=simulation["degrees_of_freedom"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"measurement policy: a field is missing or unknown: {error}") from error
    for level in policy.levels:
        # Refused here, not in the middle of a run.
        tail_of(level, policy.n_returns - max(policy.horizons_days) + 1)
    for name in ("run_every_s", "n_returns", "monte_carlo_scenarios"):
        if getattr(policy, name) < 1:
            raise ValueError(f"measurement policy: {name} must be at least 1, got {getattr(policy, name)}")
    if min(policy.horizons_days) < 1:
        raise ValueError(f"measurement policy: horizons_days must be at least 1, got {policy.horizons_days}")
    return policy


@cache
def measurement_policy() -> MeasurementPolicy:
    """The policy of the data file."""
    path = resources.files("shared.risk").joinpath("data/measurement_policy.json")
    return parse_measurement_policy(path.read_text(encoding="utf-8"))


def _proxies(listed: Mapping[str, Mapping[str, Any]]) -> dict[str, NamedProxy]:
    return {asset: NamedProxy(entry["asset"], float(entry["beta"])) for asset, entry in listed.items()}
