"""Every method by one call equals the method itself; what assets lack never spoils the others."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from shared.risk.book_risk import measure_book
from shared.risk.house import HouseTally, measure_house, measure_tally, tally_house
from shared.risk.measurement_policy import RiskMethod, measurement_policy, parse_measurement_policy
from shared.risk.models import RiskModels, common_history
from shared.risk.packing import pack_history, pack_tally, unpack_history, unpack_tally
from shared.risk.scenarios import JoinedHistory, PriceHistory, Proxy, filtered_scenarios
from shared.risk.tail import TAIL_METHODS, InsufficientHistoryError, TailSelector

POLICY = replace(measurement_policy(), monte_carlo_scenarios=2000)
DAYS = np.datetime64("2024-01-01") + np.arange(700)
N_ASSETS = 4


def history_of(asset: int, days: np.ndarray = DAYS) -> PriceHistory:
    """A fat-tailed walk over the given days."""
    steps = np.random.default_rng([3, asset]).standard_t(5, DAYS.size) * 0.02
    closes = 100.0 * np.exp(np.cumsum(steps))
    return PriceHistory(days, closes[np.searchsorted(DAYS, days)])


@pytest.fixture(scope="module")
def models() -> RiskModels:
    """Three assets with a history, and one without."""
    history = common_history({a: history_of(a) for a in range(3)}, N_ASSETS, POLICY.n_returns)
    assert history is not None
    return RiskModels(history, POLICY)


@pytest.mark.parametrize("method", RiskMethod)
@pytest.mark.parametrize("horizon_days", [1, 10])
def test_every_method_measures_a_book_and_names_who_it_cannot(
    models: RiskModels, method: RiskMethod, horizon_days: int
) -> None:
    exposures = np.array([[1000.0, -400.0, 0.0, 0.0], [0.0, 0.0, 50.0, 0.0], [1.0, 0.0, 0.0, 5.0]])
    risk = models.measure(method, exposures, (0.95, 0.99), horizon_days=horizon_days, as_of="now")
    assert risk.unmeasured[2]
    assert np.isnan(risk.var_usd[:, 2]).all()
    assert risk.basis.missing_assets == (3,)
    assert (risk.basis.as_of, risk.basis.horizon_days) == ("now", horizon_days)
    assert risk.basis.n_observations == POLICY.n_returns
    measured = ~risk.unmeasured
    if method is not RiskMethod.CORNISH_FISHER:
        assert measured.tolist() == [True, True, False]
    assert (risk.var_usd[1, measured] > risk.var_usd[0, measured]).all()
    assert (risk.es_usd[:, measured] > risk.var_usd[:, measured]).all()
    assert (risk.var_usd[:, measured] > 0.0).all()


def test_the_tail_is_found_in_the_fastest_way_and_is_the_same_in_every_way(models: RiskModels) -> None:
    exposures = np.random.default_rng(4).normal(0.0, 1e4, (50, N_ASSETS)) * [1.0, 1.0, 1.0, 0.0]
    levels = (0.95, 0.975, 0.99)
    fastest = models.fastest_tail(levels, time.perf_counter_ns)
    assert set(fastest.nanoseconds_per_row) == set(TAIL_METHODS)
    assert fastest.nanoseconds_per_row[fastest.name] == min(fastest.nanoseconds_per_row.values())
    expected = models.measure(RiskMethod.FILTERED, exposures, levels, horizon_days=1, as_of="now")
    for name in TAIL_METHODS:
        found = models.measure(
            RiskMethod.FILTERED,
            exposures,
            levels,
            horizon_days=1,
            as_of="now",
            selector=TailSelector(name, {}),
        )
        np.testing.assert_array_equal(found.var_usd, expected.var_usd)
        np.testing.assert_allclose(found.es_usd, expected.es_usd, rtol=1e-12)


@pytest.mark.parametrize("method", [method for method in RiskMethod if method != "cornish_fisher"])
def test_components_add_up_to_the_measure(models: RiskModels, method: RiskMethod) -> None:
    exposures = np.array([[1000.0, -400.0, 30.0, 0.0], [0.0, 0.0, 0.0, 1.0], [-5.0, 80.0, 0.0, 0.0]])
    risk = models.measure(method, exposures, (0.975,), horizon_days=1, as_of="now")
    parts = models.components(method, exposures, 0.975, horizon_days=1, as_of="now")
    assert parts is not None
    np.testing.assert_allclose(parts.component_var_usd.sum(axis=1), risk.var_usd[0], rtol=1e-9)
    np.testing.assert_allclose(parts.component_es_usd.sum(axis=1), risk.es_usd[0], rtol=1e-9)
    assert np.isnan(parts.component_var_usd).all(axis=1).tolist() == [False, True, False]
    assert np.isnan(parts.component_es_usd).all(axis=1).tolist() == [False, True, False]


def test_the_filtered_method_is_the_house_default(models: RiskModels) -> None:
    exposures = np.array([[1000.0, -400.0, 30.0, 0.0]])
    expected = measure_book(exposures, filtered_scenarios(models.history), (0.99,), as_of="now")
    risk = models.measure(RiskMethod.FILTERED, exposures, (0.99,), horizon_days=1, as_of="now")
    np.testing.assert_array_equal(risk.var_usd, expected.var_usd)
    assert risk.basis == expected.basis


def test_a_tail_without_a_scenario_is_refused(models: RiskModels) -> None:
    with pytest.raises(InsufficientHistoryError, match="9500 missing"):
        models.measure(RiskMethod.FILTERED, np.ones((1, N_ASSETS)), (0.9999,), horizon_days=1, as_of="now")


def test_assets_that_lack_history_do_not_take_it_from_others() -> None:
    whole = history_of(0)
    young = history_of(1, DAYS[-100:])
    ended = history_of(2, DAYS[:-3])
    # Every second day: joined, it would leave 350 common days.
    holed = history_of(3, DAYS[::-2][::-1])
    joined = common_history({0: whole, 1: young, 2: ended, 3: holed}, 5, POLICY.n_returns)
    assert joined is not None
    assert joined.missing == (1, 2, 3, 4)
    assert joined.returns.shape == (POLICY.n_returns, 5)
    assert str(joined.dates[-1]) == str(DAYS[-1])
    alone = common_history({0: whole}, 5, POLICY.n_returns)
    assert alone is not None
    np.testing.assert_array_equal(joined.returns[:, 0], alone.returns[:, 0])


def test_a_close_of_one_asset_alone_does_not_move_the_end() -> None:
    """One asset's bar of the day is there before the others'."""
    early = {0: history_of(0), 1: history_of(1, DAYS[:-1]), 2: history_of(2, DAYS[:-1])}
    joined = common_history(early, 3, POLICY.n_returns)
    assert joined is not None
    assert (joined.missing, str(joined.dates[-1])) == ((), str(DAYS[-2]))


def test_a_declared_proxy_stands_in_for_a_young_asset() -> None:
    proxies = {1: Proxy(0, 1.5)}
    joined = common_history(
        {0: history_of(0), 1: history_of(1, DAYS[-100:])}, 2, POLICY.n_returns, proxies=proxies
    )
    assert joined is not None
    assert joined.missing == ()
    assert joined.proxied == {1: POLICY.n_returns - 99}


def test_no_asset_with_enough_history_is_no_history() -> None:
    assert common_history({}, 2, POLICY.n_returns) is None
    assert common_history({0: history_of(0, DAYS[:400])}, 2, POLICY.n_returns) is None


def test_tallies_of_blocks_add_up_to_the_whole_house(models: RiskModels) -> None:
    draw = np.random.default_rng(5)
    held = draw.uniform(0.0, 100.0, (60, 5)) * (draw.random((60, 5)) < 0.5)
    owed = held[:, ::-1] * draw.uniform(0.7, 1.05, (60, 5))
    assets, chains = np.array([0, 1, 2, 0, 1]), np.array([0, 0, 0, 1, 1])
    scenarios = models.scenarios(RiskMethod.FILTERED)
    whole = measure_house(
        csr_array(held),
        csr_array(owed),
        scenarios,
        0.975,
        as_of="now",
        chain_of_column=chains,
        asset_of_column=assets,
    )
    tally = HouseTally.nothing(scenarios.n_scenarios, N_ASSETS, 2)
    by_account = []
    for block in (slice(0, 25), slice(25, 60)):
        part, shortfalls = tally_house(
            csr_array(held[block]),
            csr_array(owed[block]),
            scenarios,
            asset_of_column=assets,
            chain_of_column=chains,
            n_chains=2,
        )
        tally += part
        by_account.append(shortfalls.toarray())
    risk = measure_tally(tally, scenarios, 0.975, as_of="now")
    np.testing.assert_allclose(tally.loss_usd, whole.loss_usd, rtol=1e-12)
    np.testing.assert_array_equal(tally.n_insolvent, whole.n_insolvent)
    assert risk.var_usd == pytest.approx(whole.var_usd)
    assert risk.es_usd == pytest.approx(whole.es_usd)
    np.testing.assert_allclose(risk.es_by_asset_usd, whole.es_by_asset_usd, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(risk.es_by_chain_usd, whole.es_by_chain_usd, rtol=1e-9)
    np.testing.assert_allclose(
        np.concatenate(by_account) @ risk.tail_shares, whole.es_by_account_usd, rtol=1e-9, atol=1e-12
    )
    assert whole.es_by_account_usd.sum() == pytest.approx(risk.es_usd)
    assert risk.basis == whole.basis
    assert risk.es_usd > 0.0


def test_what_is_kept_comes_back_bit_for_bit(models: RiskModels) -> None:
    tally = HouseTally(
        np.array([0.0, 1e-300, 2.5]), np.array([0, 1, 7]), np.ones((3, N_ASSETS)) / 3.0, np.zeros((3, 2))
    )
    again = unpack_tally(pack_tally(tally))
    for name in ("loss_usd", "n_insolvent", "loss_by_asset_usd", "loss_by_chain_usd"):
        np.testing.assert_array_equal(getattr(again, name), getattr(tally, name), strict=True)
    history = unpack_history(pack_history(models.history))
    np.testing.assert_array_equal(history.dates, models.history.dates, strict=True)
    np.testing.assert_array_equal(history.returns, models.history.returns, strict=True)
    assert (history.missing, history.proxied) == (models.history.missing, models.history.proxied)


def test_the_models_are_those_of_the_history_alone(models: RiskModels) -> None:
    again = RiskModels(
        JoinedHistory(models.history.dates.copy(), models.history.returns.copy(), models.history.missing, {}),
        POLICY,
    )
    for method in RiskMethod:
        first, second = (
            made.measure(method, np.ones((1, N_ASSETS)), (0.95,), horizon_days=1, as_of="now").basis
            for made in (models, again)
        )
        assert first == second


def test_declared_stress_returns_come_from_a_proxy_or_are_none() -> None:
    declared = measurement_policy().stress_declared({"BTC": -0.4})
    assert (declared["WBTC"], declared["USDC"]) == (-0.4, 0.0)
    assert "WBTC" not in measurement_policy().stress_declared({"ETH": -0.4})
    assert "LINK" not in declared


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"levels": [0.999]}, "1000"),
        ({"levels": [1.0]}, "level"),
        ({"run_every_s": 0}, "run_every_s"),
        ({"horizons_days": [0, 1]}, "horizons_days"),
        ({"recorded_methods": ["guess"]}, "guess"),
        ({"surprise": 1}, "surprise"),
        ({"monte_carlo": {}}, "n_scenarios"),
    ],
)
def test_a_wrong_policy_is_refused_naming_the_field(changes: dict[str, object], problem: str) -> None:
    document = {
        "run_every_s": 86400,
        "n_returns": 500,
        "levels": [0.95],
        "horizons_days": [1],
        "recorded_methods": ["filtered"],
        "age_weight_decay": 0.995,
        "ewma_decay": 0.94,
        "monte_carlo": {"n_scenarios": 1, "seed": 1, "degrees_of_freedom": 4.0},
        "history_proxies": {},
        "stress_proxies": {},
        "stress_returns": {},
    }
    assert parse_measurement_policy(json.dumps(document)).levels == (0.95,)
    with pytest.raises(ValueError, match=problem):
        parse_measurement_policy(json.dumps({**document, **changes}))
