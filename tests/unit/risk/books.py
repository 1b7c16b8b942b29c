"""Random books for the tests of the risk core: exact positions, and an oracle in rational arithmetic."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from shared.risk.policy import MarginPolicy
from shared.risk.positions import AssetFactors, FactorTable, Position
from shared.risk.states import MarginState

POLICY = MarginPolicy()


def amounts(decimals: int) -> st.SearchStrategy[int]:
    """Nothing, dust, ordinary sizes and the largest integer a contract can hold."""
    unit = 10**decimals
    return st.one_of(
        st.just(0),
        st.integers(1, 10),
        st.integers(unit // 1000 + 1, 1000 * unit),
        st.integers(1, 10**6 * unit),
        st.just(2**256 - 1),
    )


@st.composite
def positions(draw: st.DrawFn, n_assets: int) -> list[Position]:
    """Up to eight positions; the same asset may appear on both sides and on several chains with other
    decimals."""
    return [
        Position(
            asset=draw(st.integers(0, n_assets - 1)),
            decimals=(decimals := draw(st.sampled_from([0, 6, 8, 18]))),
            collateral_base=draw(amounts(decimals)),
            debt_base=draw(st.one_of(st.just(0), amounts(decimals))),
        )
        for _ in range(draw(st.integers(0, 8)))
    ]


@st.composite
def factor_tables(draw: st.DrawFn, n_assets: int) -> FactorTable:
    """Haircuts with up to four decimals."""
    return FactorTable(
        [
            AssetFactors(
                Decimal(draw(st.integers(0, 10_000))) / 10_000, Decimal(draw(st.integers(1, 10_000))) / 10_000
            )
            for _ in range(n_assets)
        ]
    )


def marks_usd() -> st.SearchStrategy[Decimal]:
    """Marks with eight decimals, as an oracle publishes them."""
    return st.integers(1, 10**14).map(lambda answer: Decimal(answer).scaleb(-8))


def oracle_state(
    account: Sequence[Position],
    marks: Sequence[Decimal],
    factors: Sequence[AssetFactors],
    policy: MarginPolicy,
    previous: int,
    *,
    debt_marks: Sequence[Decimal] | None = None,
) -> MarginState:
    """The state by cross-multiplied rational arithmetic, one position and one threshold at a time."""
    collateral = debt = Fraction(0)
    for position in account:
        mark, factor = Fraction(marks[position.asset]), factors[position.asset]
        owed_at = mark if debt_marks is None else Fraction(debt_marks[position.asset])
        collateral += (
            Fraction(position.collateral_base, 10**position.decimals)
            * mark
            * Fraction(factor.collateral_factor)
        )
        debt += Fraction(position.debt_base, 10**position.decimals) * owed_at / Fraction(factor.borrow_factor)
    if debt == 0:
        return MarginState.NO_DEBT
    ladder = [
        (MarginState.HEALTHY, policy.warning_pct),
        (MarginState.WARNING, policy.margin_call_pct),
        (MarginState.MARGIN_CALL, policy.liquidation_pct),
        (MarginState.LIQUIDATION, Decimal(0)),
    ]
    for state, threshold in ladder:
        needed = threshold
        if previous in set(MarginState) - {MarginState.NO_DEBT, MarginState.UNVALUED} and state < previous:
            needed += policy.hysteresis_pct
        if (collateral - debt) * 100 >= Fraction(needed) * debt:
            return state
    return MarginState.INSOLVENT


def random_account(rng: np.random.Generator, n_assets: int) -> list[Position]:
    """An account near the thresholds: a few collateral assets, and usually a debt of comparable size."""
    held = rng.choice(n_assets, size=min(n_assets, int(rng.integers(1, 6))), replace=False)
    account = [Position(int(a), 18, collateral_base=int(rng.integers(1, 10**18))) for a in held]
    if rng.random() < 0.9:
        for asset in rng.choice(n_assets, size=min(n_assets, int(rng.integers(1, 3))), replace=False):
            account.append(Position(int(asset), 6, debt_base=int(rng.integers(1, 10**6))))
    return account
