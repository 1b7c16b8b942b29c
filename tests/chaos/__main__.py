"""Plays one story twice, undisturbed and disturbed, and compares per account what came of it.

Prints what was injected and what was lost, doubled or invented (nothing may be), the seed, and JSON as the
last line. Ends with 0 where everything held.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from tests.chaos.run import Outcome, run

Positions = Mapping[str, tuple[int, int]]
"""Collateral in base units and shares of debt, by asset."""

_MOST_INTEREST = 1e-4
"""Of a debt in an hour, at more than the highest rate of contracts/networks/local.json: 81 % a year."""


def differences(clean: Outcome, disturbed: Outcome) -> list[str]:
    """What is not the same per account and per escrow."""
    found = [
        f"positions of {key}: {disturbed.positions.get(key)}, undisturbed {clean.positions.get(key)}"
        for key in sorted(set(clean.positions) | set(disturbed.positions))
        if not _same_positions(clean.positions.get(key), disturbed.positions.get(key))
    ]
    for name in ("states", "escrows"):
        expected, actual = getattr(clean, name), getattr(disturbed, name)
        found += [
            f"{name} of {key}: {actual.get(key)}, undisturbed {expected.get(key)}"
            for key in sorted(set(expected) | set(actual))
            if expected.get(key) != actual.get(key)
        ]
    return found


def _same_positions(expected: Positions | None, actual: Positions | None) -> bool:
    """Whether collateral is equal, and debts but for the interest between the two runs' moments.

    A loan or a payment is as many shares as the index of its moment makes of it; indexes of two moments less
    than an hour apart differ by less than :data:`_MOST_INTEREST`. Each run is held to its own chain exactly.
    """
    if expected is None or actual is None or expected.keys() != actual.keys():
        return False
    return all(
        collateral == actual[asset][0] and abs(shares - actual[asset][1]) <= shares * _MOST_INTEREST
        for asset, (collateral, shares) in expected.items()
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=True)
    started = time.monotonic()
    outcomes: dict[str, Outcome] = {}
    for name, disturbed in (("undisturbed", False), ("disturbed", True)):
        console.log(f"[bold]{name} run[/bold], {options.accounts} accounts, seed {options.seed}")
        outcomes[name] = run(
            n_accounts=options.accounts, seed=options.seed, disturbed=disturbed, report=console.log
        )
    found = differences(outcomes["undisturbed"], outcomes["disturbed"])
    for name, outcome in outcomes.items():
        found += [f"{name}: {violation}" for violation in outcome.violations]
    table = Table(title=f"chaos, seed {options.seed}, {time.monotonic() - started:.0f} s")
    for heading in ("", "undisturbed", "disturbed"):
        table.add_column(heading, justify="left" if not heading else "right")
    for figure in outcomes["disturbed"].figures:
        table.add_row(figure, *(str(outcomes[name].figures[figure]) for name in ("undisturbed", "disturbed")))
    table.add_row("violations", "", str(len(found)))
    console.print(table)
    for violation in found[:40]:
        console.print(f"[red]does not hold:[/red] {violation}")
    summary = {
        "seed": options.seed,
        "accounts": options.accounts,
        "holds": not found,
        "violations": found,
        "figures": {name: outcome.figures for name, outcome in outcomes.items()},
    }
    print(json.dumps(summary))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
