"""``make chaos-chain``: breaks whatever lies between the chain and the consumers of its events.

Prints what was injected, what was announced, and how much was lost, doubled or invented (nothing may be);
JSON as the last line; ends with 0 where everything held. ``--full`` has long outages, every depth of
reorganisation, every crash point and 10,000 escrows, and takes the better part of an hour; without it, it
takes a minute or two.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from local.deployment import CHAIN_ID
from local.emulators import EmulatorHosts, anvil_part, running_emulators
from local.ports import free_ports
from local.supervisor import Supervisor
from shared.chain.rpc import RpcClient
from shared.events.settlement import EscrowCreated
from shared.runtime.relay.verification import ANNOUNCED
from tests.chaos.chain import phases, projection
from tests.chaos.chain.judgement import events_on, judge
from tests.chaos.chain.phases import FULL, SHORT, Plan, head_of
from tests.chaos.chain.relays import sweep
from tests.chaos.chain.stage import Stage, proxy_part

_FORKED_AFTER = 5
"""Blocks behind the first of the run that the two forks share."""


class Run:
    """The emulators of one run, and the stages that come and go on them."""

    def __init__(self, hosts: EmulatorHosts, folder: Path, supervisor: Supervisor, seed: int) -> None:
        self.console = Console(stderr=True, width=110, log_path=False)
        self.results: dict[str, Any] = {}
        self.violations: list[str] = []
        self._hosts, self._folder, self._supervisor, self._seed = hosts, folder, supervisor, seed

    def outages(self, plan: Plan) -> None:
        """Long outages, on a node that knows only its newest state: it mines 100,000 blocks in seconds."""
        (port,) = free_ports(1)
        self._supervisor.start([anvil_part(port, name="anvil-outages", states_kept=None)])
        stage = self._stage("outages", f"http://127.0.0.1:{port}", self._proxies(f"http://127.0.0.1:{port}"))
        phases.outages(stage, plan, self.console.log)
        self._judge(stage)

    def reorganisations(self, plan: Plan) -> None:
        """Everything else, on a node that can go back."""
        rpc, (port,) = self._hosts.rpc, free_ports(1)
        node = RpcClient(CHAIN_ID, [rpc])
        fork = f"http://127.0.0.1:{port}"
        stage = self._stage("reorganisations", rpc, self._proxies(rpc, fork))
        for _ in range(_FORKED_AFTER):
            stage.act(3)
        self._supervisor.start([anvil_part(port, name="anvil-fork", fork=(rpc, head_of(node)))])
        phases.another_fork(stage, RpcClient(CHAIN_ID, [fork]), self.console.log)
        self._supervisor.stop_part("anvil-fork")
        phases.failing(stage, plan, self.console.log)
        phases.crashes(stage, plan, self.console.log)
        self.console.log(f"{plan.escrows} escrows")
        stage.escrows(plan.escrows)
        stage.catch_up(relays=2)
        phases.reorganisations(stage, plan, self.console.log)
        self._judge(stage)
        self.violations += phases.beyond_finality(stage, self.console.log)

    def _stage(self, name: str, rpc: str, proxies: Sequence[str]) -> Stage:
        return Stage(name, self._hosts, rpc, proxies, self._folder, self._seed)

    def _proxies(self, upstream: str, fork: str | None = None) -> list[str]:
        ports = free_ports(2)
        self._supervisor.start([proxy_part(port, upstream, self._seed + port, fork) for port in ports])
        return [f"http://127.0.0.1:{port}" for port in ports]

    def _judge(self, stage: Stage) -> None:
        self.console.log("judging")
        last = head_of(stage.chain.client)
        stage.verify()
        swept = sweep(stage.context)
        description = stage.context.network.chains[CHAIN_ID]
        on_chain = events_on(stage.chain, description, stage.start_block, last)
        messages, final = stage.announced.pull(), stage.final.pull()
        verdict = judge(stage.chain, stage.deployment, on_chain, messages, final, self._seed)
        projection.apply_all(stage, messages)
        created = [event.escrow for event in on_chain if isinstance(event, EscrowCreated)]
        differing = projection.differences(stage, created)
        if not verdict.holds:
            self.violations.append(f"{stage.project}: {verdict}")
        self.violations += differing
        alerts = stage.alerts.pull()
        wrong = [each.message for each in alerts if each.details.get("provider") == ANNOUNCED]
        self.violations += [f"the second reading found the first one wrong: {message}" for message in wrong]
        progress = stage.progress()
        self.results[stage.project] = {
            **asdict(verdict),
            "projected_otherwise": len(differing),
            "swept_after_crashes": swept,
            "revision": progress.revision if progress else 0,
            "differences_repaired": progress.differences if progress else 0,
            "alerts": dict(Counter(each.kind for each in alerts)),
            "injected": stage.disturbances(),
        }
        self.console.log(
            f"{verdict.on_chain} events: lost {verdict.lost}, doubled {verdict.doubled}, phantom "
            f"{verdict.phantom}; final: lost {verdict.final_lost}, phantom {verdict.final_phantom}; "
            f"projected otherwise {len(differing)}"
        )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    plan = FULL if options.full else SHORT
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fusion-prime-")))
        hosts = stack.enter_context(running_emulators(folder, names=("firestore", "pubsub", "anvil")))
        supervisor = Supervisor(folder)
        stack.callback(supervisor.stop)
        run = Run(hosts, folder, supervisor, options.seed)
        run.outages(plan)
        run.reorganisations(plan)
    print(json.dumps({"holds": not run.violations, "violations": run.violations, **run.results}))
    return 1 if run.violations else 0


if __name__ == "__main__":
    sys.exit(main())
