"""Margin figures that others published, with their sources in data/margin.json."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.risk.margin import decide_state_exact, decide_states, health_pct
from shared.risk.policy import MarginPolicy
from shared.risk.positions import AssetFactors, BookRow, FactorTable, Position
from shared.risk.prices import call_prices, liquidation_prices, trigger_prices
from shared.risk.states import NEVER_EVALUATED, MarginState

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "margin.json").read_text())
POLICY = MarginPolicy()


def row(collateral: dict[int, float], debt: dict[int, float]) -> BookRow:
    return BookRow(
        np.array(list(collateral), np.int32),
        np.array(list(collateral.values()), np.float64),
        np.array(list(debt), np.int32),
        np.array(list(debt.values()), np.float64),
    )


@pytest.mark.parametrize("case", GOLDEN["aave_v3"][:3], ids=lambda case: case["source"])
def test_aave_health_factor(case: dict[str, Any]) -> None:
    """Aave's health factor is collateral · threshold / debt; ours is the same number less one, in per
    cent."""
    health = health_pct(case["collateral_usd"] * case["liquidation_threshold"], case["debt_usd"])
    assert float(health) / 100 + 1 == pytest.approx(case["health_factor"], abs=5e-5)


@pytest.mark.parametrize(
    ("debt", "collateral", "price", "factor", "liquidatable"),
    GOLDEN["compound_v3"]["cases_debt_collateral_price_liqCF_liquidatable"],
)
def test_compound_is_liquidatable(
    debt: int, collateral: int, price: float, factor: float, liquidatable: bool
) -> None:
    """Compound: liquidatable iff collateral · factor · price − debt < 0, strictly; that is our INSOLVENT."""
    positions = [Position(0, 6, collateral_base=collateral), Position(1, 6, debt_base=debt)]
    factors = FactorTable([AssetFactors(collateral_factor=Decimal(str(factor))), AssetFactors()])
    state = decide_state_exact(positions, [Decimal(str(price)), Decimal(1)], factors, POLICY, NEVER_EVALUATED)
    assert (state == MarginState.INSOLVENT) == liquidatable


def test_compound_without_debt_is_never_liquidatable() -> None:
    assert decide_states([0.0], [0.0], POLICY, NEVER_EVALUATED)[0] == MarginState.NO_DEBT


@pytest.mark.parametrize(
    ("net_collateral", "maintenance", "liquidatable"),
    GOLDEN["dydx_v4_risk_truth_table"]["liquidatable_NC_MMR"],
)
def test_dydx_truth_table(net_collateral: int, maintenance: int, liquidatable: bool) -> None:
    """dYdX: liquidatable iff MMR > 0 and MMR > NC. With MMR = 15 % of debt, NC = collateral − debt."""
    debt = maintenance / 0.15
    state = decide_states([net_collateral + debt], [debt], POLICY, NEVER_EVALUATED)[0]
    assert (state >= MarginState.LIQUIDATION) == liquidatable


@pytest.mark.parametrize(
    ("net_collateral", "maintenance", "is_met"), GOLDEN["dydx_v4_risk_truth_table"]["maint_ok_NC_MMR"]
)
def test_dydx_maintenance_truth_table(net_collateral: int, maintenance: int, is_met: bool) -> None:
    if maintenance == 0 and net_collateral < 0:
        with pytest.raises(ValueError, match="negative"):
            decide_states([net_collateral], [0.0], POLICY, NEVER_EVALUATED)
        return
    # Integers throughout, so that NC = MMR is exactly the boundary: debt = 20/3 of MMR is 15 % of it.
    positions = [
        Position(0, 0, collateral_base=3 * net_collateral + 20 * maintenance),
        Position(0, 0, debt_base=20 * maintenance),
    ]
    state = decide_state_exact(
        positions, [Decimal(1)], FactorTable.without_haircuts(1), POLICY, NEVER_EVALUATED
    )
    assert (state < MarginState.LIQUIDATION) == is_met


@pytest.mark.parametrize("case", GOLDEN["dydx_v4"][:2], ids=lambda case: case["source"])
def test_dydx_liquidation_price(case: dict[str, Any]) -> None:
    """A short of `size` with equity E: cash E + |size|·price less the other positions' maintenance, debt
    of |size|."""
    size = -case["size"]
    cash = case["equity"] + size * case["price"] - case.get("other_mmr", 0)
    triggers = trigger_prices(row({1: cash}, {0: size}), np.array([float(case["price"]), 1.0]), case["mmf"])
    assert triggers.price[0] == pytest.approx(
        case["liq_price"], abs=5e-2 if "other_mmr" not in case else 5e-3
    )
    assert triggers.triggers_on_rise[0]


def test_dydx_loss_example() -> None:
    case = GOLDEN["dydx_v4"][2]
    debt = case["size"] * case["entry"] - case["deposit"]
    collateral = case["size"] * case["price"]
    assert collateral - debt == pytest.approx(case["equity"])
    assert (
        decide_states([collateral], [debt], POLICY, NEVER_EVALUATED)[0] >= MarginState.LIQUIDATION
    ) == case["liquidatable"]


def test_cross_liquidation_price_counts_the_other_positions() -> None:
    """A long of 1 at 100 with equity 5: E + (p − 100) = 0.004·p + 4 at the price. As collateral and debt:
    collateral weight 1 − 0.004 (the maintenance haircut) against a debt of 95 + 4."""
    case = GOLDEN["cross_liq_price"]
    collateral = {0: case["size"] * (1 - case["mmr_rate"])}
    debt = {1: case["size"] * case["mark"] - case["equity"] + case["other_maintenance"]}
    marks = np.array([float(case["mark"]), 1.0])
    price = trigger_prices(row(collateral, debt), marks, 0.0).price[0]
    assert price == pytest.approx(case["liq_price"], abs=5e-5)
    isolated = {1: case["size"] * case["mark"] - case["equity"]}
    assert trigger_prices(row(collateral, isolated), marks, 0.0).price[0] == pytest.approx(
        case["isolated_estimate_wrong"], abs=5e-2
    )


def test_closed_form_example() -> None:
    case = GOLDEN["ours_closed_form"]["example"]
    assets = list(case["price"])
    marks = np.array([float(case["price"][asset]) for asset in assets])
    account = row(
        {assets.index(asset): quantity for asset, quantity in case["collateral"].items()},
        {assets.index(asset): quantity for asset, quantity in case["borrow"].items()},
    )
    collateral = account.collateral_weights @ marks[account.collateral_assets]
    debt = account.debt_weights @ marks[account.debt_assets]
    assert health_pct(collateral, debt) == case["score"]
    call, liquidation = (
        call_prices([account], marks, POLICY)[0].price,
        liquidation_prices([account], marks, POLICY)[0].price,
    )
    for name, expected in case.items():
        kind, _, asset = name.partition("_")
        if kind in {"call", "liq"} and asset:
            found = (call if kind == "call" else liquidation)[assets.index(asset)]
            assert found == pytest.approx(expected, rel=1e-13)
