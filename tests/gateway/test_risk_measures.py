"""``account { risk }`` and ``backtest``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from shared.risk.backtest import backtest_var
from shared.risk.measurement_policy import RiskMethod, measurement_policy
from shared.risk.models import RiskModels
from shared.risk.positions import Float64Array
from shared.risk.scenarios import PriceHistory, filtered_scenarios, join_histories
from shared.risk.tail import var_es
from shared.warehouse import client as warehouse_client
from tests.closes import day_before, write_closes
from tests.gateway.conftest import Server, runs_an_event_loop
from tests.gateway.test_risk_preview import wait_for_tick
from tests.gateway.world import World, address
from tests.walks import made_up_closes

POLICY = measurement_policy()
CLOSES = POLICY.n_returns + 1
NUMBERS = """varUsd esUsd unmeasuredReason netUsd grossUsd level horizonDays method positionVersion
  components { asset exposureUsd componentVarUsd componentEsUsd }
  history { asset closes needed missingDays sufficient }
  basis { scenarioSetId definition horizonDays historyFirst historyLast observations missingAssets }"""
RISK = f"""query(
    $id: ID!, $level: Decimal! = "0.99", $horizonDays: Int! = 1, $method: RiskMethod! = FILTERED) {{
  account(id: $id) {{ risk(level: $level, horizonDays: $horizonDays, method: $method) {{ {NUMBERS} }} }} }}"""
BACKTEST = """query(
    $id: ID!, $days: Int! = 100, $level: Decimal! = "0.95", $method: RiskMethod! = HISTORICAL) {
  backtest(accountId: $id, level: $level, method: $method, days: $days) {
    unmeasuredReason windowDays
    history { asset closes needed sufficient }
    result { days first last exceedanceCount expectedCount exceedances { date pnlUsd varUsd } trafficLight
      kupiec { statistic pValue } christoffersen { pValue } conditionalCoverage { pValue }
      worst250Days acerbiSzekelyZ2 esPValue } } }"""


@pytest.fixture
def key(world: World, server: Server) -> str:
    """A key over account 1 (10 ETH, 10,000 USDC of debt) at a tick, without closes."""
    world.project.provision_warehouse("price_bars")
    world.put_accounts(world.account(1))
    world.announce_tick(world.tick(1))
    key = world.key()
    wait_for_tick(server, key, 1)
    return key


def put_closes(world: World, **n_days: int) -> None:
    """Write made-up closes up to yesterday."""
    write_closes(
        warehouse_client.connect(world.settings), n_days, last=day_before(world.now), as_of=world.now
    )


def joined(n_returns: int) -> Any:
    """The returns of ETH and USDC that `put_closes` writes where both have ``n_returns`` + 1 days."""
    days = np.datetime64(day_before(datetime.now(UTC))) - np.arange(n_returns + 1)[::-1]
    histories = {
        number: PriceHistory(days, np.array(made_up_closes(asset, n_returns + 1)))
        for number, asset in enumerate(("ETH", "USDC"))
    }
    return join_histories(histories, 2, n_returns)


def test_risk_is_that_of_the_positions_at_the_latest_tick(server: Server, world: World, key: str) -> None:
    put_closes(world, ETH=CLOSES, USDC=CLOSES)
    marks = server.query("{ marks { marks { asset price } } }", key=key)["marks"]["marks"]
    price = {mark["asset"]: float(mark["price"]) for mark in marks}
    exposures = np.array([10.0 * price["ETH"], -10_000.0 * price["USDC"]])
    scenarios = filtered_scenarios(joined(POLICY.n_returns), decay=POLICY.ewma_decay)
    var, es = (float(value[0]) for value in var_es(scenarios.returns @ exposures, 0.99))

    risk = server.query(RISK, {"id": address(1)}, key=key)["account"]["risk"]

    shown = [float(risk[name]) for name in ("varUsd", "esUsd", "netUsd", "grossUsd")]
    assert shown == pytest.approx([var, es, exposures.sum(), abs(exposures).sum()])
    assert (risk["level"], risk["horizonDays"], risk["method"]) == ("0.99", 1, "FILTERED")
    assert [part["asset"] for part in risk["components"]] == ["ETH", "USDC"]
    assert sum(float(part["componentVarUsd"]) for part in risk["components"]) == pytest.approx(var)
    assert sum(float(part["componentEsUsd"]) for part in risk["components"]) == pytest.approx(es)
    assert risk["history"][0] == {
        "asset": "ETH",
        "closes": CLOSES,
        "needed": CLOSES,
        "missingDays": 0,
        "sufficient": True,
    }
    assert risk["basis"]["observations"] == POLICY.n_returns
    assert risk["basis"]["historyLast"] == scenarios.last
    assert risk["unmeasuredReason"] is None


def test_every_method_answers_over_one_day_and_ten(server: Server, world: World, key: str) -> None:
    put_closes(world, ETH=CLOSES, USDC=CLOSES)
    fields = " ".join(
        f"m{number}_{days}: risk(method: {method.name}, horizonDays: {days}) "
        "{ method varUsd esUsd unmeasuredReason basis { horizonDays } }"
        for number, method in enumerate(RiskMethod)
        for days in (1, 10)
    )
    found = server.query(f'{{ account(id: "{address(1)}") {{ {fields} }} }}', key=key)["account"]
    for number, method in enumerate(RiskMethod):
        one, ten = found[f"m{number}_1"], found[f"m{number}_10"]
        assert one["method"] == method.name
        assert (one["basis"]["horizonDays"], ten["basis"]["horizonDays"]) == (1, 10)
        if method is RiskMethod.CORNISH_FISHER:
            assert one["varUsd"] is not None or "domain" in one["unmeasuredReason"]
            continue
        assert 0 < float(one["varUsd"]) < float(ten["varUsd"])
        assert float(one["varUsd"]) < float(one["esUsd"])


def test_the_accounts_of_a_page_are_measured_together_and_as_each_alone(
    server: Server, world: World, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_closes(world, ETH=CLOSES, USDC=CLOSES)
    count = 40
    world.put_accounts(
        *(world.account(n, eth=str(n), usdc_debt=str(700 * n % 9000)) for n in range(2, count)),
        world.account(count, extra_asset="DOGE"),
    )
    calls: list[tuple[str, int, bool]] = []
    for name in ("measure", "components"):
        monkeypatch.setattr(RiskModels, name, counted(name, getattr(RiskModels, name), calls))
    fields = f'a: risk(level: "0.975") {{ {NUMBERS} }} b: risk(horizonDays: 10) {{ {NUMBERS} }}'
    page = server.query(f"{{ accounts(first: 100) {{ edges {{ node {{ id {fields} }} }} }} }}", key=key)
    of_page = {edge["node"].pop("id"): edge["node"] for edge in page["accounts"]["edges"]}
    assert len(of_page) == count
    assert sorted(calls) == sorted([("measure", count, False), ("components", count, False)] * 2)
    assert of_page[address(count)]["a"]["unmeasuredReason"] == "no usable mark of DOGE"
    assert of_page[address(2)]["a"]["varUsd"] is not None
    for account_id, together in of_page.items():
        alone = server.query(f'{{ account(id: "{account_id}") {{ {fields} }} }}', key=key)["account"]
        assert alone == together


def counted(
    name: str, function: Callable[..., Any], calls: list[tuple[str, int, bool]]
) -> Callable[..., Any]:
    """The function, noting of how many accounts, and whether an event loop waited for it."""

    def call(
        models: RiskModels, method: RiskMethod, exposures: Float64Array, *args: Any, **named: Any
    ) -> Any:
        calls.append((name, len(exposures), runs_an_event_loop()))
        return function(models, method, exposures, *args, **named)

    return call


def test_a_level_without_a_tail_fails_alone(server: Server, world: World, key: str) -> None:
    put_closes(world, ETH=CLOSES, USDC=CLOSES)
    fields = 'good: risk { varUsd } bad: risk(level: "0.9999") { varUsd }'
    body = server.post(f'{{ account(id: "{address(1)}") {{ {fields} }} }}', key=key).json()
    (error,) = body["errors"]
    assert (error["path"], error["extensions"]["argument"]) == (["account", "bad"], "level")


def test_too_little_history_says_how_much_is_missing_and_of_which_asset(
    server: Server, world: World, key: str
) -> None:
    nothing = server.query(RISK, {"id": address(1)}, key=key)["account"]["risk"]
    assert (nothing["varUsd"], nothing["components"], nothing["basis"]) == (None, None, None)
    assert nothing["unmeasuredReason"] == (
        f"ETH: no daily close, {CLOSES} are needed; USDC: no daily close, {CLOSES} are needed"
    )
    put_closes(world, ETH=40, USDC=CLOSES)
    short = server.query(RISK, {"id": address(1)}, key=key)["account"]["risk"]
    assert (short["varUsd"], short["esUsd"]) == (None, None)
    assert short["unmeasuredReason"] == f"ETH: 40 daily closes of {CLOSES} needed, {CLOSES - 40} missing"
    assert [(h["asset"], h["closes"], h["sufficient"]) for h in short["history"]] == [
        ("ETH", 40, False),
        ("USDC", CLOSES, True),
    ]
    assert short["basis"]["missingAssets"] == ["ETH"]
    tested = server.query(BACKTEST, {"id": address(1)}, key=key)["backtest"]
    assert tested["result"] is None
    needed = CLOSES + 100
    assert tested["unmeasuredReason"].startswith(f"ETH: 40 daily closes of {needed} needed")


def test_an_unvalued_account_has_no_risk(server: Server, world: World, key: str) -> None:
    put_closes(world, ETH=CLOSES, USDC=CLOSES)
    world.put_accounts(world.account(2, extra_asset="DOGE"))
    risk = server.query(RISK, {"id": address(2)}, key=key)["account"]["risk"]
    assert (risk["varUsd"], risk["netUsd"], risk["components"]) == (None, None, None)
    assert risk["unmeasuredReason"] == "no usable mark of DOGE"


BAD_INPUT: list[tuple[str, dict[str, Any], str]] = [
    (RISK, {"level": "0.49"}, "level"),
    (RISK, {"level": "1"}, "level"),
    (RISK, {"level": "0.9999"}, "level"),
    (RISK, {"horizonDays": 0}, "horizonDays"),
    (RISK, {"horizonDays": 31}, "horizonDays"),
    (BACKTEST, {"days": 49}, "days"),
    (BACKTEST, {"days": 501}, "days"),
    (BACKTEST, {"level": "2"}, "level"),
    (BACKTEST, {"id": "0x1"}, "accountId"),
]


def test_bad_input_names_the_argument(server: Server, world: World, key: str) -> None:
    put_closes(world, ETH=CLOSES, USDC=CLOSES)
    for query, variables, argument in BAD_INPUT:
        body = server.post(query, {"id": address(1), **variables}, key=key).json()
        (error,) = body["errors"]
        found = (error["extensions"]["code"], error["extensions"].get("argument"))
        assert found == ("BAD_USER_INPUT", argument), (variables, error)
        assert error["message"].startswith(argument), error


def test_backtest_counts_what_the_core_counts(server: Server, world: World, key: str) -> None:
    n_returns = POLICY.n_returns + 100
    put_closes(world, ETH=n_returns + 1, USDC=n_returns + 1)
    marks = server.query("{ marks { marks { asset price } } }", key=key)["marks"]["marks"]
    price = {mark["asset"]: float(mark["price"]) for mark in marks}
    exposures = np.array([10.0 * price["ETH"], -10_000.0 * price["USDC"]])
    pnl = joined(n_returns).returns @ exposures
    window = POLICY.n_returns
    var = np.array([var_es(pnl[day : day + window], 0.95)[0][0] for day in range(100)])
    expected = backtest_var(pnl[window:], var, 0.95)

    found = server.query(BACKTEST, {"id": address(1)}, key=key)["backtest"]

    result = found["result"]
    assert (result["days"], found["windowDays"]) == (100, window)
    assert result["exceedanceCount"] == len(result["exceedances"]) == expected.exceedances
    assert result["expectedCount"] == pytest.approx(5.0)
    assert result["kupiec"]["pValue"] == pytest.approx(expected.kupiec.p_value)
    assert result["christoffersen"]["pValue"] == pytest.approx(expected.independence.p_value)
    assert result["conditionalCoverage"]["pValue"] == pytest.approx(expected.conditional_coverage.p_value)
    assert result["trafficLight"] == expected.zone.name
    assert all(float(e["pnlUsd"]) < -float(e["varUsd"]) for e in result["exceedances"])
    assert 0.0 <= result["esPValue"] <= 1.0
