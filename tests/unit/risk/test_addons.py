"""Distance to call, concentration, liquidity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.risk.addons import (
    concentration_addon,
    days_to_liquidate,
    distance_to_call_sigma,
    liquidity_horizon_es,
)


def test_distance_to_call_in_standard_deviations() -> None:
    """One coin against a stable debt: f = 1500 − 1.3·1000 = 200, σ = 1500·4 %."""
    covariance = np.diag([0.04**2, 0.0])
    collateral = np.array([[1500.0, 0.0], [1200.0, 0.0], [0.0, 1500.0], [1500.0, 0.0]])
    debt = np.array([[0.0, 1000.0], [0.0, 1000.0], [0.0, 1000.0], [0.0, 0.0]])
    distance = distance_to_call_sigma(collateral, debt, covariance, 0.3)
    assert distance[0] == pytest.approx(200 / 60)
    assert distance[1] == pytest.approx(-100 / 48)
    assert distance[2:].tolist() == [np.inf, np.inf]
    nine_days = distance_to_call_sigma(collateral, debt, covariance, 0.3, horizon_days=9)
    assert nine_days[0] == pytest.approx(distance[0] / 3)


def test_concentration() -> None:
    exposures = np.array([[90.0, -10.0], [50.0, -50.0], [0.0, 0.0]])
    np.testing.assert_allclose(concentration_addon(exposures, 0.6, 0.1), [3.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="limit"):
        concentration_addon(exposures, 0.0, 0.1)


def test_days_to_liquidate() -> None:
    days = days_to_liquidate(np.array([[100.0, -50.0, 0.0]]), np.array([1000.0, 0.0, 0.0]), 0.05)
    assert days.tolist() == [[2.0, np.inf, 0.0]]
    with pytest.raises(ValueError, match="participation"):
        days_to_liquidate(np.ones((1, 1)), np.ones(1), 0.0)


@settings(deadline=None)
@given(shortfall=st.floats(0, 1e6), horizon=st.integers(11, 120))
def test_one_liquidity_horizon_is_square_root_scaling(shortfall: float, horizon: int) -> None:
    """Every position at one horizon: the cascade is ES · √(horizon / base)."""
    es = [np.array([shortfall]), np.array([shortfall])]
    scaled = liquidity_horizon_es(es, [10, horizon], 10)
    assert scaled[0] == pytest.approx(shortfall * np.sqrt(horizon / 10))
    with pytest.raises(ValueError, match="horizons_days"):
        liquidity_horizon_es(es, [20, 10], 10)
