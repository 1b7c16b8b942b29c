"""Every measure that a published package computes by the same definition, equal to it to 1e-9.

data/packages.json is what the packages returned (`make goldens`, tests/golden/packages.py).
"""

import json
from typing import Any

import numpy as np
import pytest

from shared.risk.book_risk import measure_components
from shared.risk.covariance import ewma_covariance, ledoit_wolf_covariance
from shared.risk.scenarios import ScenarioSet, ewma_volatility
from shared.risk.tail import var_es
from tests.golden.packages import DATA, EXPOSURES_USD, age_weights, monthly_returns

CASES: list[dict[str, Any]] = json.loads((DATA / "packages.json").read_text(encoding="utf-8"))
RETURNS = monthly_returns()
HELD = np.array(EXPOSURES_USD)
PNL = RETURNS @ HELD


def ours(measure: str) -> np.ndarray:
    name, _, parameter = measure.partition(" ")
    if name == "Ledoit-Wolf":
        shrunk = ledoit_wolf_covariance(RETURNS[:, json.loads(parameter)])
        return np.append(shrunk.matrix, shrunk.shrinkage)
    of, _, last = parameter.rpartition(" ")
    number = float(last)
    match name, of:
        case "VaR", "":
            return var_es(PNL, number)[0]
        case "ES", "":
            return var_es(PNL, number)[1]
        case "age-weighted", "VaR":
            return var_es(PNL, number, age_weights(PNL.size))[0]
        case "age-weighted", "ES":
            return var_es(PNL, number, age_weights(PNL.size))[1]
        case "EWMA", "covariance":
            return ewma_covariance(RETURNS, number).ravel()
        case "EWMA", "volatility":
            return ewma_volatility(RETURNS[:, :1], number)[:-1, 0]
        case "component", "ES":
            parts = measure_components(
                HELD[None, :], ScenarioSet(RETURNS, "golden", 1), number, as_of="golden"
            )
            component_es: np.ndarray = parts.component_es_usd[0]
            return component_es
    raise AssertionError(f"{measure}: recorded but not compared")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['measure']} {case['package']}")
def test_agrees_with_the_package(case: dict[str, Any]) -> None:
    np.testing.assert_allclose(ours(case["measure"]), np.ravel(case["value"]), rtol=1e-9)
