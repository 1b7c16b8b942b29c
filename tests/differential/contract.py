"""Runs the contract's side of the comparison, in forge's EVM."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tests.differential.cases import Account, write_cases

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
_WITHIN_S = 1_800.0
# The EVM's memory holds the whole file, and costs the square of its size in gas.
_ROOM = {"FOUNDRY_GAS_LIMIT": str(2**63), "FOUNDRY_MEMORY_LIMIT": str(2**31)}


class DisagreementError(AssertionError):
    """The contract computes something else for an account; the message is forge's."""


def compare(count: int, seed: int) -> list[Account]:
    """Let the contract value ``count`` random accounts and compare every number; the accounts.

    Raises:
        DisagreementError: a number differs, or the contract's test did not run.
    """
    folder = CONTRACTS / "cache" / "differential"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "cases.hex"
        accounts = write_cases(path, count, seed)
        run = subprocess.run(
            ["node", "forge.mjs", "test", "--match-contract", "MarginDifferentialTest"],
            cwd=CONTRACTS,
            env={**os.environ, "DIFFERENTIAL_CASES": str(path.relative_to(CONTRACTS)), **_ROOM},
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
    if run.returncode != 0 or "1 passed" not in run.stdout:
        raise DisagreementError(f"seed {seed}, {count} accounts:\n{run.stdout}{run.stderr}")
    return accounts
