"""Run every registered benchmark, each in a process of its own; print one table of all results, draw each.

    python -m benchmarks [NAME …]

A name is that of a result (``margin_evaluate``); without one all run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.plots import draw
from benchmarks.results import Row, read, table

BENCHMARKS = {
    "cold_start_imports": ("benchmarks.cold_start.imports",),
    "margin_evaluate": ("benchmarks.margin.evaluate",),
    "margin_cold_load": ("benchmarks.margin.cold_load",),
    "risk_measure_run": ("benchmarks.margin.measure_risk",),
    "chain_relay": ("benchmarks.chain.relay",),
    "publish_commit": ("benchmarks.messaging.publish",),
    "prices_tick": ("benchmarks.prices.tick",),
    "risk_tick": ("benchmarks.risk.tick", "--huge"),
    "risk_var_es": ("benchmarks.risk.var_es",),
    "risk_one_account": ("benchmarks.risk.one_account",),
    "risk_peers": ("benchmarks.risk.peer_ratios",),
    "gateway_fanout": ("benchmarks.gateway.fanout",),
}
"""The module that measures each result, and its options."""


def main() -> int:
    """Run and print; 1 where one failed or missed its target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*BENCHMARKS, []])
    names = parser.parse_args().names or list(BENCHMARKS)
    failed: list[str] = []
    for name in names:
        print(f"running {name} …", file=sys.stderr, flush=True)
        ended = subprocess.run(
            [sys.executable, "-m", *BENCHMARKS[name]], stdout=subprocess.DEVNULL, check=False
        )
        if ended.returncode:
            failed.append(name)
    results: dict[str, Sequence[Row]] = {name: read(name) for name in names if name not in failed}
    if results:
        print("\n".join(table(results)))
    for name, rows in results.items():
        draw(name, rows)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
