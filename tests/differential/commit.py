"""Writes the accounts that the contract test runs by itself: ``python -m tests.differential.commit``."""

from __future__ import annotations

from tests.differential.cases import COMMITTED_COUNT, COMMITTED_FILE, COMMITTED_SEED, write_cases

if __name__ == "__main__":
    write_cases(COMMITTED_FILE, COMMITTED_COUNT, COMMITTED_SEED)
