"""The vault and the back office have one margin model."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from shared.risk.states import MarginState
from tests.differential.cases import (
    COMMITTED_COUNT,
    COMMITTED_FILE,
    COMMITTED_SEED,
    Simulation,
    exact_values,
    write_cases,
)
from tests.differential.contract import compare


def test_the_contract_values_random_accounts_as_the_risk_core_does() -> None:
    accounts = compare(count=300, seed=20_261_122)
    assert {account.state for account in accounts} >= {
        *(MarginState.NO_DEBT, MarginState.HEALTHY, MarginState.WARNING, MarginState.MARGIN_CALL),
        *(MarginState.LIQUIDATION, MarginState.INSOLVENT),
    }


def test_the_committed_accounts_are_the_generators(tmp_path: Path) -> None:
    written = tmp_path / "cases.hex"
    write_cases(written, COMMITTED_COUNT, COMMITTED_SEED)
    remedy = "run `python -m tests.differential.commit`"
    assert written.read_bytes() == COMMITTED_FILE.read_bytes(), remedy


def test_the_vaults_rounding_decides_nothing() -> None:
    """What the vault rounds, at 36 decimals of a dollar, lies beside no account's decision, and its health
    factor is the score's: (1 + health) / 1.15."""
    for account in Simulation(seed=3).accounts(2_000):
        collateral, debt = exact_values(account)
        assert 0 <= collateral * 10**36 - account.collateral_usd < 4
        assert 0 <= account.debt_usd - debt * 10**36 < 4
        assert account.is_liquidatable == (account.collateral_usd * 10_000 < account.debt_usd * 11_500)
        if debt == 0:
            continue
        health = (collateral - debt) / debt
        mapped = (1 + health) / Fraction(115, 100)
        assert abs(mapped - Fraction(account.health_factor, 10**18)) < Fraction(2, 10**18) * (1 + mapped)
