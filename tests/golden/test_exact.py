"""The published examples again, computed exactly: what a page prints to four or six digits holds to 1e-9.

Rational arithmetic from the printed inputs; where a root or a quantile is needed, `Decimal` with 50 digits
and the standard library's `NormalDist` (Wichura's AS 241), neither of which the risk core uses.
"""

import json
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.sparse import csr_array

from shared.risk.addons import liquidity_horizon_es
from shared.risk.backtest import acerbi_szekely, christoffersen_of_counts, kupiec
from shared.risk.house import measure_house
from shared.risk.parametric import cornish_fisher, delta_normal, moments_of
from shared.risk.scenarios import ScenarioSet
from shared.risk.tail import var_es
from tests.golden.packages import monthly_returns

DATA = Path(__file__).parent / "data"
GOLDEN: dict[str, Any] = json.loads((DATA / "var_es.json").read_text())
COVERAGE = json.loads((DATA / "backtests.json").read_text())["kupiec_christoffersen"]
NORMAL = NormalDist()
EXACTLY = 1e-9
PRINTED = {0: (Decimal("-0.014674"), Decimal("-0.024080"))}
"""Modified VaR and historical ES at 95 % of the first series, PerformanceAnalytics' own test."""


def exact_es(
    pnl: Sequence[Fraction], weights: Sequence[Fraction], alpha: Fraction
) -> tuple[Fraction, Fraction]:
    """(VaR, ES) of weighted scenarios by their definitions."""
    left, lost, value_at_risk = alpha, Fraction(0), Fraction(0)
    for outcome, weight in sorted(zip(pnl, weights, strict=True)):
        taken = min(weight, left)
        lost -= taken * outcome
        left -= taken
        value_at_risk = -outcome
        if left == 0:
            break
    return value_at_risk, lost / alpha


def hull_pnl() -> list[Fraction]:
    case = GOLDEN["hull_historical"]
    pnl = [Fraction(0)] * case["n_scenarios"]
    for number, loss in case["worst"].items():
        pnl[int(number) - 1] = Fraction(-loss)
    return pnl


@pytest.mark.parametrize("decay", [None, Fraction(995, 1000)], ids=["basic", "age-weighted"])
@pytest.mark.parametrize("level", [Fraction(95, 100), Fraction(975, 1000), Fraction(99, 100)], ids=float)
def test_hull_historical_simulation(decay: Fraction | None, level: Fraction) -> None:
    pnl = hull_pnl()
    n = len(pnl)
    weights = [Fraction(1, n)] * n
    if decay is not None:
        weights = [decay ** (n - 1 - i) * (1 - decay) / (1 - decay**n) for i in range(n)]
    expected = exact_es(pnl, weights, 1 - level)
    given = None if decay is None else np.array([float(weight) for weight in weights])
    found = var_es(np.array([float(outcome) for outcome in pnl]), float(level), given)
    for mine, exact in zip(found, expected, strict=True):
        assert mine[0] == pytest.approx(float(exact), rel=EXACTLY)


@pytest.mark.parametrize("level", GOLDEN["quantitative_risk_management"]["levels"])
def test_normal_var_and_es(level: float) -> None:
    volatility = GOLDEN["quantitative_risk_management"]["volatility_usd"]
    quantile = NORMAL.inv_cdf(level)
    found = delta_normal(np.ones((1, 1)), np.array([[volatility**2]]), level)
    assert found.var_usd[0] == pytest.approx(quantile * volatility, rel=EXACTLY)
    assert found.es_usd[0] == pytest.approx(NORMAL.pdf(quantile) / (1 - level) * volatility, rel=EXACTLY)


@pytest.mark.parametrize("kind", ["two stocks", "equal_weights", "ewma"])
@pytest.mark.parametrize("horizon_days", [1, 10])
def test_hull_portfolio_deviation(kind: str, horizon_days: int) -> None:
    if kind == "two stocks":
        case = GOLDEN["hull_two_stocks"]
        exposures = [Fraction(x) for x in case["exposures"]]
        first, second = (Fraction(str(x)) for x in case["daily_volatility"])
        cross = Fraction(str(case["correlation"])) * first * second
        covariance = [[first**2, cross], [cross, second**2]]
    else:
        case = GOLDEN["hull_four_indices"]
        exposures = [Fraction(x) for x in case["exposures"]]
        covariance = [[Fraction(str(x)) for x in line] for line in case[kind]["covariance"]]
    pairs = range(len(exposures))
    variance = sum(exposures[i] * exposures[j] * covariance[i][j] for i in pairs for j in pairs)
    deviation = root(variance * horizon_days)
    found = delta_normal(
        np.array([[float(x) for x in exposures]]),
        np.array([[float(x) for x in line] for line in covariance]),
        0.99,
        horizon_days=horizon_days,
    )
    assert found.volatility_usd[0] == pytest.approx(float(deviation), rel=EXACTLY)
    assert found.var_usd[0] == pytest.approx(NORMAL.inv_cdf(0.99) * float(deviation), rel=EXACTLY)


@pytest.mark.parametrize(("series", "level"), [(0, 0.95), (0, 0.99), (2, 0.95), (2, 0.975)])
def test_modified_var(series: int, level: float) -> None:
    """Zangari's formula on exact moments; the domain is checked elsewhere."""
    returns = [Fraction(str(value)) for value in monthly_returns()[:, series].tolist()]
    n = len(returns)
    mean = sum(returns, Fraction(0)) / n
    second, third, fourth = (
        sum(((r - mean) ** power for r in returns), Fraction(0)) / n for power in (2, 3, 4)
    )
    deviation = root(second)
    skewness = decimal(third) / deviation**3
    kurtosis = decimal(fourth / second**2) - 3
    z = Decimal(NORMAL.inv_cdf(round(1 - level, 12)))
    quantile = z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * kurtosis / 24
    quantile -= (2 * z**3 - 5 * z) * skewness**2 / 36
    modified = decimal(mean) + deviation * quantile
    found = cornish_fisher(moments_of(monthly_returns()[:, [series]].T), level)
    assert found.var_usd[0] == pytest.approx(-float(modified), rel=EXACTLY)
    if level == 0.95 and series in PRINTED:
        assert round(modified, 6) == PRINTED[series][0]
        assert -round(float(var_es(monthly_returns()[:, series], level)[1][0]), 6) == float(
            PRINTED[series][1]
        )


@pytest.mark.parametrize("level", [0.95, 0.975, 0.99])
def test_modified_es_is_the_mean_of_the_expanded_quantile(level: float) -> None:
    """Its closed form against the integral of the quantile over the tail, by adaptive quadrature."""
    series = monthly_returns()[:, [0]].T
    moments = moments_of(series)
    alpha = round(1 - level, 12)
    s, k = float(moments.skewness[0]), float(moments.excess_kurtosis[0])

    def quantile(p: float) -> float:
        z = NORMAL.inv_cdf(p)
        return z + (z**2 - 1) * s / 6 + (z**3 - 3 * z) * k / 24 - (2 * z**3 - 5 * z) * s**2 / 36

    # Over z instead of p, so that the tail's end is no singularity.
    expected, _ = quad(lambda z: quantile(NORMAL.cdf(z)) * NORMAL.pdf(z), -8.2, NORMAL.inv_cdf(alpha))
    found = cornish_fisher(moments, level).es_usd[0]
    assert found == pytest.approx(
        -(float(moments.mean[0]) + float(moments.deviation[0]) * expected / alpha), rel=EXACTLY
    )


@pytest.mark.parametrize("case", COVERAGE, ids=lambda case: case["source"])
def test_kupiec_is_a_g_test(case: dict[str, Any]) -> None:
    """SciPy's log-likelihood ratio of the exceedances against their expectation, and the definition."""
    n, x, p = case["n"], case["failures"], 1 - Decimal(str(case["var_level"]))
    found = kupiec(n, x, case["var_level"])
    expected = stats.power_divergence([x, n - x], [n * float(p), n * float(1 - p)], lambda_="log-likelihood")
    assert found.statistic == pytest.approx(expected.statistic, rel=EXACTLY)
    assert found.p_value == pytest.approx(expected.pvalue, rel=EXACTLY)
    rate = Decimal(x) / n
    likelihoods = (x * (rate.ln() - p.ln()), (n - x) * ((1 - rate).ln() - (1 - p).ln()))
    assert found.statistic == pytest.approx(float(2 * sum(likelihoods)), rel=EXACTLY)


@pytest.mark.parametrize(
    "counts",
    [tuple(COVERAGE[0][key] for key in ("n00", "n01", "n10", "n11")), (1000, 7, 6, 1), (230, 9, 9, 2)],
)
def test_christoffersen_is_a_g_test(counts: tuple[int, int, int, int]) -> None:
    """Independence in the table of transitions, by SciPy."""
    found = christoffersen_of_counts(*counts)
    expected = stats.chi2_contingency(np.reshape(counts, (2, 2)), correction=False, lambda_="log-likelihood")
    assert found.statistic == pytest.approx(expected.statistic, rel=EXACTLY)
    assert found.p_value == pytest.approx(expected.pvalue, rel=EXACTLY)


@pytest.mark.parametrize("level", [0.95, 0.975, 0.99])
def test_acerbi_szekely_statistics(level: float) -> None:
    """Z1 and Z2 in rational arithmetic, of the monthly returns against their own VaR and ES."""
    returns = monthly_returns()[:, 1]
    value_at_risk, shortfall = (float(x[0]) * 0.8 for x in var_es(returns, level))
    ratios = [Fraction(r) / Fraction(shortfall) for r in returns.tolist() if -r > value_at_risk]
    n = returns.size
    found = acerbi_szekely(returns, np.full(n, value_at_risk), np.full(n, shortfall), level)
    alpha = 1 - Fraction(str(level))
    assert found.z1 == pytest.approx(float(sum(ratios) / len(ratios) + 1), rel=EXACTLY)
    assert found.z2 == pytest.approx(float(sum(ratios) / (n * alpha) + 1), rel=EXACTLY)


@pytest.mark.parametrize("kind", ["one", "two"])
def test_house_loses_what_hulls_projects_lose(kind: str) -> None:
    """Hull's projects as accounts: each holds an asset of 9 and owes 10, a loss of 1; with probability 2 %
    the asset is worth nothing, a loss of 10. Joint outcomes as 10,000 equally likely scenarios."""
    case = GOLDEN["hull_two_projects"]
    n_projects = {"one": 1, "two": 2}[kind]
    failing: list[tuple[float, tuple[float, ...]]] = [(0.02, (-1.0,)), (0.98, (0.0,))]
    if kind == "two":
        failing = [(p * q, (*a, *b)) for p, a in failing for q, b in failing]
    returns = np.concatenate([np.tile((*shocks, 0.0), (round(p * 10_000), 1)) for p, shocks in failing])
    held = csr_array(np.column_stack([np.eye(n_projects) * 9.0, np.zeros(n_projects)]))
    owed = csr_array(np.column_stack([np.zeros((n_projects, n_projects)), np.full(n_projects, 10.0)]))
    house = measure_house(held, owed, ScenarioSet(returns, "projects", 1), case["level"], as_of="golden")
    assert house.var_usd == pytest.approx(case[kind]["var"], rel=EXACTLY)
    assert house.es_usd == pytest.approx(case[kind]["es"], rel=EXACTLY)
    assert house.es_by_account_usd == pytest.approx(case[kind]["es"] / n_projects, rel=EXACTLY)


@pytest.mark.parametrize("shortfalls", [(3, 4), (100, 80, 40), (17, 11, 7, 5, 2)])
def test_liquidity_horizons_cascade(shortfalls: tuple[int, ...]) -> None:
    """BCBS MAR33.4–33.5 with its horizons of 10, 20, 40, 60 and 120 days."""
    horizons = (10, 20, 40, 60, 120)[: len(shortfalls)]
    squares = Fraction(shortfalls[0]) ** 2
    for shortfall, before, until in zip(shortfalls[1:], horizons, horizons[1:], strict=False):
        squares += Fraction(shortfall) ** 2 * Fraction(until - before, 10)
    found = liquidity_horizon_es([np.array([float(x)]) for x in shortfalls], list(horizons), 10)
    assert found[0] == pytest.approx(float(root(squares)), rel=EXACTLY)


def decimal(value: Fraction) -> Decimal:
    with localcontext(prec=50):
        return Decimal(value.numerator) / value.denominator


def root(value: Fraction | int) -> Decimal:
    with localcontext(prec=50):
        return decimal(Fraction(value)).sqrt()
