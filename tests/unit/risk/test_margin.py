"""Margin states: equal to integer arithmetic always, at the exact boundary too."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.risk.evaluator import BookEvaluator, Marks
from shared.risk.margin import (
    classify_states,
    decide_state_exact,
    decide_states,
    health_pct,
)
from shared.risk.policy import MarginPolicy
from shared.risk.positions import AssetFactors, FactorTable, Position
from shared.risk.states import NEVER_EVALUATED, MarginState
from tests.unit.risk.books import POLICY, factor_tables, marks_usd, oracle_state, positions

N_ASSETS = 3
previous_states = st.sampled_from([NEVER_EVALUATED, *MarginState])
valued_states = st.sampled_from([NEVER_EVALUATED, *list(MarginState)[:-1]])


@settings(deadline=None)
@given(
    account=positions(N_ASSETS),
    marks=st.lists(marks_usd(), min_size=N_ASSETS, max_size=N_ASSETS),
    factors=factor_tables(N_ASSETS),
    previous=previous_states,
)
def test_exact_decision_equals_the_oracle(
    account: list[Position], marks: list[Decimal], factors: FactorTable, previous: int
) -> None:
    expected = oracle_state(account, marks, factors.factors, POLICY, previous)
    assert decide_state_exact(account, marks, factors, POLICY, previous) == expected


@settings(deadline=None)
@given(
    account=positions(N_ASSETS),
    marks=st.lists(marks_usd(), min_size=N_ASSETS, max_size=N_ASSETS),
    factors=factor_tables(N_ASSETS),
    previous=valued_states,
)
def test_evaluator_equals_the_oracle(
    account: list[Position], marks: list[Decimal], factors: FactorTable, previous: int
) -> None:
    evaluator = BookEvaluator(factors, POLICY, [(0, account)])
    evaluator.set_state(0, previous)
    evaluator.tick(Marks.from_decimals(marks))
    assert evaluator.state(0) == oracle_state(account, marks, factors.factors, POLICY, previous)


@settings(deadline=None)
@given(
    debt_base=st.integers(1, 10**30),
    nudge=st.sampled_from([-1, 0, 1]),
    threshold=st.sampled_from(
        [Decimal(0), Decimal(15), Decimal(17), Decimal(30), Decimal(32), Decimal(50), Decimal(52)]
    ),
    answer=st.integers(1, 10**13),
    previous=valued_states,
)
def test_one_base_unit_decides_at_the_boundary(
    debt_base: int, nudge: int, threshold: Decimal, answer: int, previous: int
) -> None:
    debt = debt_base * 100
    collateral = debt + debt_base * int(threshold) + nudge
    account = [Position(0, 18, collateral_base=collateral), Position(0, 18, debt_base=debt)]
    marks = [Decimal(answer).scaleb(-8)]
    factors = FactorTable.without_haircuts(1)
    evaluator = BookEvaluator(factors, POLICY, [(0, account)])
    evaluator.set_state(0, previous)
    transitions = evaluator.tick(Marks.from_decimals(marks))
    expected = oracle_state(account, marks, factors.factors, POLICY, previous)
    assert evaluator.state(0) == expected
    assert transitions.current.tolist() == ([expected] if expected != previous else [])


def test_float64_alone_cannot_decide_the_boundary() -> None:
    """Why the exact path exists: C = 1.15·B in integers, read below 15 % by the ratio in float64."""
    debts = np.arange(1, 2001) / 100.0
    collaterals = np.arange(1, 2001) * 115 / 10_000.0
    assert np.count_nonzero((collaterals - debts) / debts * 100.0 < 15.0) > 500
    decided = classify_states(collaterals, debts, POLICY, NEVER_EVALUATED, terms=1)
    assert decided.uncertain.all()


@settings(deadline=None)
@given(
    collateral=st.floats(0, 1e12, allow_subnormal=False),
    debt=st.floats(0, 1e12, allow_subnormal=False),
    previous=previous_states,
)
def test_decide_states_takes_floats_as_exact(collateral: float, debt: float, previous: int) -> None:
    state = decide_states([collateral], [debt], POLICY, [previous])[0]
    c, b = Fraction(collateral), Fraction(debt)
    if b == 0:
        assert state == MarginState.NO_DEBT
        return
    severity = 1 + sum((c - b) * 100 < pct * b for pct in (50, 30, 15, 0))
    banded = 1 + sum((c - b) * 100 < pct * b for pct in (52, 32, 17, 2))
    assert state == (sorted((severity, previous, banded))[1] if 1 <= previous <= 5 else severity)


@pytest.mark.parametrize(
    ("health", "previous", "expected"),
    [
        (50.0, NEVER_EVALUATED, MarginState.HEALTHY),
        (49.9, MarginState.HEALTHY, MarginState.WARNING),
        (51.9, MarginState.WARNING, MarginState.WARNING),
        (52.0, MarginState.WARNING, MarginState.HEALTHY),
        (31.0, MarginState.LIQUIDATION, MarginState.MARGIN_CALL),
        (40.0, MarginState.LIQUIDATION, MarginState.WARNING),
        (1.0, MarginState.INSOLVENT, MarginState.INSOLVENT),
        (2.0, MarginState.INSOLVENT, MarginState.LIQUIDATION),
        (0.0, NEVER_EVALUATED, MarginState.LIQUIDATION),
        (-0.1, MarginState.HEALTHY, MarginState.INSOLVENT),
        (31.0, MarginState.NO_DEBT, MarginState.WARNING),
        (31.0, MarginState.UNVALUED, MarginState.WARNING),
    ],
)
def test_hysteresis(health: float, previous: int, expected: MarginState) -> None:
    assert decide_states([(1000.0 + 10 * health)], [1000.0], POLICY, [previous])[0] == expected


def test_health_is_never_nan_for_a_valued_account() -> None:
    collateral = np.array([0.0, 5.0, 0.0, 1e300, 1.0, np.nan])
    debt = np.array([0.0, 0.0, 3.0, 1e-300, 1e-18, 1.0])
    health = health_pct(collateral, debt)
    assert health[:3].tolist() == [np.inf, np.inf, -100.0]
    assert not np.isnan(health[:5]).any()
    assert np.isnan(health[5])


def test_states_without_debt_and_without_marks() -> None:
    states = decide_states([0.0, 7.0, np.nan, 7.0], [0.0, 0.0, 1.0, np.nan], POLICY, NEVER_EVALUATED)
    assert states.tolist() == [
        MarginState.NO_DEBT,
        MarginState.NO_DEBT,
        MarginState.UNVALUED,
        MarginState.UNVALUED,
    ]


def test_a_wei_of_debt_beside_a_million_tokens() -> None:
    account = [Position(0, 18, collateral_base=10**24), Position(1, 18, debt_base=1)]
    evaluator = BookEvaluator(FactorTable.without_haircuts(2), POLICY, [(0, account)])
    evaluator.tick(Marks.from_decimals([Decimal(3000), Decimal(1)]))
    assert evaluator.state(0) == MarginState.HEALTHY


def test_the_largest_integers_on_both_sides() -> None:
    limit = 2**256 - 1
    account = [Position(0, 6, collateral_base=limit), Position(1, 18, debt_base=limit)]
    factors = FactorTable.without_haircuts(2)
    evaluator = BookEvaluator(factors, POLICY, [(0, account)])
    # 10^12 tokens of collateral for each of debt: these marks put the account exactly at C = 1.5·B.
    evaluator.tick(Marks.from_decimals([Decimal("0.0000015"), Decimal(1_000_000)]))
    assert evaluator.state(0) == MarginState.HEALTHY
    evaluator.tick(Marks.from_decimals([Decimal("0.0000014999999999999999999"), Decimal(1_000_000)]))
    assert evaluator.state(0) == MarginState.WARNING


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"warning_pct": Decimal(30)}, "rising in this order"),
        ({"liquidation_pct": Decimal(0)}, "rising in this order"),
        ({"hysteresis_pct": Decimal(-1)}, "hysteresis_pct"),
        ({"margin_call_pct": Decimal("NaN")}, "margin_call_pct"),
    ],
)
def test_policy_refuses_contradictions(fields: dict[str, Decimal], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarginPolicy(**fields)


def test_policy_refuses_floats() -> None:
    with pytest.raises(TypeError, match="liquidation_pct"):
        MarginPolicy(liquidation_pct=0.15)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"asset": -1, "decimals": 18}, "asset"),
        ({"asset": 0, "decimals": 78}, "decimals"),
        ({"asset": 0, "decimals": 18, "collateral_base": 2**256}, "collateral_base"),
        ({"asset": 0, "decimals": 18, "debt_base": -1}, "debt_base"),
    ],
)
def test_position_names_the_bad_field(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Position(**fields)


def test_factors_out_of_range() -> None:
    with pytest.raises(ValueError, match="collateral_factor"):
        AssetFactors(collateral_factor=Decimal("1.01"))
    with pytest.raises(ValueError, match="borrow_factor"):
        AssetFactors(borrow_factor=Decimal(0))
