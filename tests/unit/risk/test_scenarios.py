"""Scenario sets: joined on dates, proxied or refused, never filled with zeros."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.risk.scenarios import (
    PriceHistory,
    Proxy,
    age_weighted_scenarios,
    ewma_volatility,
    filtered_scenarios,
    historical_scenarios,
    join_histories,
    shock_scenarios,
)
from shared.risk.tail import InsufficientHistoryError

START = np.datetime64("2024-01-01")


def history(closes: list[float], first: int = 0, skip: tuple[int, ...] = ()) -> PriceHistory:
    """Closes on successive days from day `first`; the days in `skip` have none."""
    days = [day for day in range(first, first + len(closes) + len(skip)) if day not in skip]
    return PriceHistory(START + np.array(days), np.array(closes))


def random_histories(seed: int, n_assets: int, n_days: int) -> dict[int, PriceHistory]:
    rng = np.random.default_rng(seed)
    return {
        asset: history(list(100 * np.exp(np.cumsum(rng.normal(0, 0.03, n_days)))))
        for asset in range(n_assets)
    }


def test_histories_are_joined_on_dates() -> None:
    joined = join_histories(
        {0: history([10.0, 11.0, 12.0, 15.0]), 1: history([5.0, 6.0, 9.0], skip=(2,))}, 2, 2
    )
    assert joined.dates.tolist() == (START + np.array([1, 3])).tolist()
    np.testing.assert_allclose(joined.returns, [[0.1, 0.2], [15 / 11 - 1, 0.5]])
    assert joined.missing == ()


def test_a_young_asset_is_missing_or_proxied() -> None:
    histories = {0: history([10.0, 11.0, 12.1, 24.2]), 1: history([4.0, 5.0], first=2)}
    refused = join_histories(histories, 3, 3)
    assert refused.missing == (1, 2)
    assert np.isnan(refused.returns[0, 1])
    proxied = join_histories(histories, 3, 3, proxies={1: Proxy(0, 1.5), 2: Proxy(0, 0.0)})
    assert proxied.missing == ()
    assert dict(proxied.proxied) == {1: 2, 2: 3}
    np.testing.assert_allclose(proxied.returns[:, 1], [0.15, 0.15, 0.25])


def test_a_proxy_that_is_young_itself_stands_in_for_nothing() -> None:
    histories = {0: history([10.0, 11.0, 12.0]), 1: history([4.0], first=2), 2: history([4.0], first=2)}
    assert join_histories(histories, 3, 2, proxies={1: Proxy(2, 1.0)}).missing == (1, 2)


def test_too_little_history_says_how_much_is_missing() -> None:
    with pytest.raises(InsufficientHistoryError, match="needs 500 scenarios, has 3; 497 missing"):
        join_histories({0: history([1.0, 2.0, 3.0, 4.0])}, 1, 500)
    with pytest.raises(InsufficientHistoryError, match="history"):
        join_histories({}, 1, 5)


@pytest.mark.parametrize(
    ("dates", "closes", "field"),
    [
        ([0, 0], [1.0, 1.0], "dates"),
        ([0, 1], [1.0, 0.0], "closes"),
        ([0, 1], [1.0, np.nan], "closes"),
        ([0], [1.0, 2.0], "dates"),
    ],
)
def test_histories_refuse_bad_data(dates: list[int], closes: list[float], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        PriceHistory(START + np.array(dates), np.array(closes))


@settings(deadline=None)
@given(seed=st.integers(0, 1000), horizon=st.sampled_from([2, 5, 10]))
def test_overlapping_returns_are_compounded(seed: int, horizon: int) -> None:
    histories = random_histories(seed, 2, 41)
    joined = join_histories(histories, 2, 40)
    scenarios = historical_scenarios(joined, horizon_days=horizon)
    closes = np.array([histories[asset].closes for asset in range(2)]).T
    np.testing.assert_allclose(
        scenarios.returns, closes[horizon:] / closes[:-horizon] - 1.0, rtol=1e-10, atol=1e-12
    )


def test_square_root_scaling_stops_at_zero() -> None:
    joined = join_histories({0: history([10.0, 5.0, 6.0])}, 1, 2)
    scenarios = historical_scenarios(joined, horizon_days=10, horizon_method="square_root")
    np.testing.assert_allclose(scenarios.returns[:, 0], [-1.0, 0.2 * np.sqrt(10)])
    with pytest.raises(ValueError, match="horizon_days"):
        historical_scenarios(joined, horizon_days=0)


def test_filtering_scales_to_present_volatility() -> None:
    """A calm and then a wild half: calm days are scaled up to today's volatility, and doubling all returns
    doubles them."""
    rng = np.random.default_rng(5)
    returns = np.concatenate([rng.normal(0, 0.01, 300), rng.normal(0, 0.05, 200)])
    closes = 100 * np.cumprod(np.concatenate([[1.0], 1 + returns]))
    scenarios = filtered_scenarios(join_histories({0: history(list(closes))}, 1, 500))
    now = ewma_volatility(returns[:, None], 0.94)[-1, 0]
    assert scenarios.returns[100:300].std() == pytest.approx(now, rel=0.15)
    assert scenarios.returns[400:].std() == pytest.approx(now, rel=0.25)


def test_ewma_volatility_recursion() -> None:
    returns = np.random.default_rng(1).normal(0, 0.02, (50, 3))
    volatility = ewma_volatility(returns, 0.9)
    expected = np.square(returns[:30]).mean(axis=0)
    for r in returns:
        expected = 0.9 * expected + 0.1 * r**2
    np.testing.assert_allclose(volatility[-1], np.sqrt(expected), rtol=1e-12)
    with pytest.raises(InsufficientHistoryError, match="30"):
        ewma_volatility(returns[:29], 0.9)


def test_age_weights_favour_the_recent() -> None:
    weights = age_weighted_scenarios(join_histories(random_histories(0, 1, 101), 1, 100), decay=0.99).weights
    assert weights is not None
    assert weights.sum() == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(weights[:-1] / weights[1:], 0.99)


def test_ids_follow_content() -> None:
    joined = join_histories(random_histories(0, 2, 61), 2, 60)
    other = join_histories(random_histories(1, 2, 61), 2, 60)
    ids = {
        historical_scenarios(joined).id,
        historical_scenarios(other).id,
        historical_scenarios(joined, horizon_days=2).id,
        filtered_scenarios(joined).id,
        filtered_scenarios(joined, decay=0.97).id,
        age_weighted_scenarios(joined).id,
    }
    assert len(ids) == 6
    assert historical_scenarios(joined).id == historical_scenarios(joined).id
    assert historical_scenarios(joined).first == "2024-01-02"


def test_missing_assets_have_a_mask_and_no_nan() -> None:
    histories = random_histories(0, 2, 61)
    scenarios = historical_scenarios(join_histories(histories, 3, 60))
    assert scenarios.missing == (2,)
    assert scenarios.is_missing.tolist() == [False, False, True]
    assert not scenarios.returns[:, 2].any()


def test_shocks_cannot_go_below_zero() -> None:
    assert shock_scenarios([[-1.0, 0.5]], "x").n_scenarios == 1
    with pytest.raises(ValueError, match="shocks"):
        shock_scenarios([[-1.1, 0.5]], "x")


def test_each_return_is_scaled_by_the_volatility_known_before_it() -> None:
    joined = join_histories(random_histories(4, 2, 61), 2, 60)
    volatility = ewma_volatility(joined.returns, 0.94)
    scenarios = filtered_scenarios(joined, horizon_days=10)
    for t in (0, 17, 59):
        expected = joined.returns[t] * volatility[60] / volatility[t] * np.sqrt(10)
        np.testing.assert_allclose(scenarios.returns[t], np.maximum(-1.0, expected), rtol=1e-12)


def test_the_latest_returns_are_taken() -> None:
    joined = join_histories({0: history([1.0, 2.0, 3.0, 4.5, 9.0])}, 1, 2)
    np.testing.assert_allclose(joined.returns[:, 0], [0.5, 1.0])
    assert joined.dates[-1] == START + 4


def test_a_set_cannot_be_changed_behind_its_id() -> None:
    returns = np.zeros((5, 1))
    scenarios = shock_scenarios(returns, "x")
    before = scenarios.id
    returns[0] = 0.5
    assert not scenarios.returns.any()
    with pytest.raises(ValueError, match="read-only"):
        scenarios.returns[0] = 0.5
    assert scenarios.id == before
