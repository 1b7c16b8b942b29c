"""VaR and ES figures from textbooks and other people's software, with their sources in data/var_es.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.risk.covariance import CovarianceModel, ledoit_wolf_covariance
from shared.risk.monte_carlo import normal_scenarios, t_scenarios
from shared.risk.parametric import cornish_fisher_domain, delta_normal
from shared.risk.tail import var_es

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "var_es.json").read_text())


def hull_pnl() -> np.ndarray:
    """Ten worst losses at their scenario numbers; the other 490 do not matter to the tail."""
    pnl = np.zeros(GOLDEN["hull_historical"]["n_scenarios"])
    for number, loss in GOLDEN["hull_historical"]["worst"].items():
        pnl[int(number) - 1] = -loss
    return pnl


def test_basic_historical_simulation() -> None:
    case = GOLDEN["hull_historical"]
    value_at_risk, shortfall = var_es(hull_pnl(), case["level"])
    assert value_at_risk[0] == case["var"]
    assert shortfall[0] == pytest.approx(case["es"], abs=0.5)


def test_age_weighted_historical_simulation() -> None:
    case = GOLDEN["hull_historical"]
    n, decay = case["n_scenarios"], case["decay"]
    weights = decay ** np.arange(n)[::-1] * (1 - decay) / (1 - decay**n)
    for number, weight in case["weights"].items():
        assert weights[int(number) - 1] == pytest.approx(weight, abs=5e-6)
    value_at_risk, shortfall = var_es(hull_pnl(), case["level"], weights)
    assert value_at_risk[0] == case["weighted_var"]
    assert shortfall[0] == pytest.approx(case["weighted_es"], abs=0.5)


def test_volatility_scaled_historical_simulation() -> None:
    case = GOLDEN["hull_volatility_scaled"]
    pnl = np.zeros(case["n_scenarios"])
    pnl[: len(case["worst"])] = -np.array(case["worst"])
    assert var_es(pnl, 0.99)[0][0] == case["var_99"]
    assert var_es(pnl, 0.992)[1][0] == pytest.approx(case["mean_of_four_worst"], rel=1e-12)


@pytest.mark.parametrize("kind", ["one", "two"])
def test_discrete_losses(kind: str) -> None:
    """The example that shows VaR failing subadditivity, as 10,000 equally likely scenarios."""
    case = GOLDEN["hull_two_projects"]
    pnl = np.concatenate(
        [np.full(round(p * 10_000), -float(loss)) for loss, p in case[kind]["probabilities"].items()]
    )
    value_at_risk, shortfall = var_es(pnl, case["level"])
    assert value_at_risk[0] == case[kind]["var"]
    assert shortfall[0] == pytest.approx(case[kind]["es"], rel=1e-12)


def test_two_stocks() -> None:
    case = GOLDEN["hull_two_stocks"]
    volatility = np.array(case["daily_volatility"])
    correlation = np.array([[1.0, case["correlation"]], [case["correlation"], 1.0]])
    covariance = correlation * np.outer(volatility, volatility)
    first, second = (float(x) for x in case["exposures"])
    accounts = np.array([[first, 0.0], [0.0, second], [first, second]])
    for horizon, key in ((1, "var_99_1d"), (10, "var_99_10d")):
        risk = delta_normal(accounts, covariance, 0.99, horizon_days=horizon)
        np.testing.assert_allclose(risk.var_usd, case[key], atol=200)
    assert delta_normal(accounts, covariance, 0.99).volatility_usd[2] == pytest.approx(
        case["one_day_deviation"], abs=50
    )


@pytest.mark.parametrize("kind", ["equal_weights", "ewma"])
def test_four_indices(kind: str) -> None:
    case = GOLDEN["hull_four_indices"]
    risk = delta_normal(np.array([case["exposures"]], dtype=float), np.array(case[kind]["covariance"]), 0.99)
    assert risk.volatility_usd[0] == pytest.approx(case[kind]["deviation"], rel=1e-4)
    assert risk.var_usd[0] == pytest.approx(case[kind]["var_99_1d"], rel=1e-4)


def test_normal_var_and_es_table() -> None:
    case = GOLDEN["quantitative_risk_management"]
    for level, expected_var, expected_es in zip(
        case["levels"], case["normal_var"], case["normal_es"], strict=True
    ):
        risk = delta_normal(np.ones((1, 1)), np.array([[case["volatility_usd"] ** 2]]), level)
        assert risk.var_usd[0] == pytest.approx(expected_var, abs=0.05)
        assert risk.es_usd[0] == pytest.approx(expected_es, abs=0.05)


@pytest.mark.parametrize(("law", "tolerance"), [("normal", 0.012), ("t4", 0.03)])
def test_monte_carlo_against_the_table(law: str, tolerance: float) -> None:
    """200,000 draws of a position of 10,000: four standard errors at 99.5 % are 1.2 % (normal) and 3 %
    (t)."""
    case = GOLDEN["quantitative_risk_management"]
    covariance = CovarianceModel(np.array([[(case["volatility_usd"] / 10_000) ** 2]]), "given")
    scenarios = (
        normal_scenarios(covariance, 200_000, seed=1)
        if law == "normal"
        else t_scenarios(covariance, 200_000, seed=1, degrees_of_freedom=4.0)
    )
    for level, expected_var, expected_es in zip(
        case["levels"], case[f"{law}_var"], case[f"{law}_es"], strict=True
    ):
        value_at_risk, shortfall = var_es(10_000 * scenarios.returns[:, 0], level)
        assert value_at_risk[0] == pytest.approx(expected_var, rel=tolerance)
        assert shortfall[0] == pytest.approx(expected_es, rel=tolerance)


def test_ledoit_wolf() -> None:
    """The documentation cuts the figures off after four decimals."""
    case = GOLDEN["ledoit_wolf"]
    draws = np.random.RandomState(case["seed"]).multivariate_normal(
        mean=[0, 0], cov=case["true_covariance"], size=case["n"]
    )
    np.testing.assert_allclose(ledoit_wolf_covariance(draws).matrix, case["covariance"], atol=1e-4)


def test_cornish_fisher_domain() -> None:
    case = GOLDEN["cornish_fisher_domain"]
    largest = case["largest_skewness"]
    kurtosis = np.linspace(0.0, 20.0, 40_001)
    for skewness, is_reachable in ((largest - 1e-4, True), (largest + 1e-4, False)):
        assert cornish_fisher_domain(np.full(kurtosis.size, skewness), kurtosis).any() == is_reachable
    inside = kurtosis[cornish_fisher_domain(np.zeros(kurtosis.size), kurtosis)]
    assert inside.min() == case["kurtosis_at_zero_skewness"][0]
    assert inside.max() == pytest.approx(case["kurtosis_at_zero_skewness"][1], abs=1e-3)
