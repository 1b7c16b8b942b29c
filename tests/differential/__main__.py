"""``make differential``: the vault against the risk core over many random accounts."""

from __future__ import annotations

import argparse
import time
from collections import Counter

from tests.differential.contract import compare


def main() -> None:
    """Compare and print what was compared; raises where a number differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    started = time.monotonic()
    accounts = compare(options.accounts, options.seed)
    states = Counter(account.state.name for account in accounts)
    liquidatable = sum(account.is_liquidatable for account in accounts)
    print(f"{len(accounts)} accounts agree, {liquidatable} of them liquidatable: {dict(states)}")  # noqa: T201
    print(f"seed {options.seed}, {time.monotonic() - started:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
