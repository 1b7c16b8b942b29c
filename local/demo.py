"""A market crash on a page of the terminal: progress while the platform starts, then everything live.

Stays up until Ctrl-C, which stops every process it started.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local.environment import Intervals
from local.gateway_client import GatewayError
from local.latency import Distribution
from local.platform import PlatformOptions, state_folder
from local.prerequisites import PrerequisiteError
from local.scenario import Scenario, ScenarioError, load_scenario
from local.session import Session, running_session
from local.smoke import latency_table, story_parser, subscribe
from local.supervisor import PartDiedError
from shared.domain.margin import State
from shared.errors import FusionError

_REFRESH_S = 0.5
_BREATHE_EVERY_S = 2.0
_PAGE = """{
  marks { sequence asOf current marks { asset status price observedAt reason } }
  systemStatus { accountsByState { state accounts } deadLetters evaluatedTickSequence }
  alerts(first: 8) { edges { node { accountId previousState state severity healthPct asOf } } }
  deliveries(first: 8) { edges { node { recipientId channel status attempt updatedAt } } }
}"""
_COLOURS = {
    State.NO_DEBT: "dim",
    State.HEALTHY: "green",
    State.WARNING: "yellow",
    State.MARGIN_CALL: "dark_orange",
    State.LIQUIDATION: "red",
    State.INSOLVENT: "bold red",
    State.UNVALUED: "magenta",
}


class Page:
    """What the terminal shows."""

    def __init__(self, scenario: Scenario, n_accounts: int) -> None:
        self._scenario = scenario
        self._n_accounts = n_accounts
        self._started = time.monotonic()
        self._progress: deque[str] = deque(maxlen=12)
        self.session: Session | None = None
        self.story_line = "starting"
        self.data: Mapping[str, Any] | None = None
        self.trouble: str | None = None
        self.latencies: list[Distribution] = []

    def report(self, line: str) -> None:
        """Add a line of progress."""
        self._progress.append(f"{time.monotonic() - self._started:6.1f} s  {line}")

    def __rich__(self) -> RenderableType:
        title = f"Fusion Prime: {self._scenario.name}, {self._n_accounts} accounts"
        if self.session is None or self.data is None:
            return Panel(Text("\n".join(self._progress)), title=title, subtitle="Ctrl-C stops everything")
        grid = Table.grid(expand=True, padding=(0, 1))
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(self._marks(), self._states())
        grid.add_row(self._alerts(), self._deliveries())
        parts: list[RenderableType] = [self._doors(), grid, latency_table(self.latencies)]
        if self.trouble is not None:
            parts.append(Text(self.trouble, style="red"))
        return Panel(Group(*parts), title=title, subtitle=f"{self.story_line}; Ctrl-C stops everything")

    def _doors(self) -> RenderableType:
        assert self.session is not None
        urls = self.session.platform.urls
        table = Table.grid(padding=(0, 2))
        table.add_row("GraphQL IDE", f"{urls.gateway}/graphql")
        table.add_row("API key", self.session.api_key)
        table.add_row("Mailbox", urls.mailbox)
        table.add_row("Webhooks", urls.webhooks)
        table.add_row("Logs", os.path.relpath(self.session.platform.options.state_folder))
        return table

    def _marks(self) -> Table:
        marks = self.data["marks"] if self.data else None
        table = _table("Marks" if marks is None else f"Marks, tick {marks['sequence']}", "asset", "USD", "")
        for mark in marks["marks"] if marks else ():
            price = "" if mark["price"] is None else f"{float(mark['price']):,.4f}"
            table.add_row(mark["asset"], price, mark["reason"] or mark["status"].lower())
        return table

    def _states(self) -> Table:
        table = _table("Accounts by margin state", "state", "accounts", "")
        assert self.data is not None
        counts = {
            State(row["state"]): row["accounts"] for row in self.data["systemStatus"]["accountsByState"]
        }
        for state in State:
            count = counts.get(state, 0)
            bar = "█" * round(30 * count / max(1, self._n_accounts))
            table.add_row(Text(state, style=_COLOURS[state]), str(count), Text(bar, style=_COLOURS[state]))
        return table

    def _alerts(self) -> Table:
        table = _table("Last alerts", "at", "account", "", "health")
        for node in _nodes(self.data, "alerts"):
            health = "" if node["healthPct"] is None else f"{node['healthPct']:.1f} %"
            change = Text(f"{node['previousState'] or 'new'} → ")
            change.append(node["state"], style=_COLOURS[State(node["state"])])
            table.add_row(_clock(node["asOf"]), _short(node["accountId"]), change, health)
        return table

    def _deliveries(self) -> Table:
        table = _table("Last deliveries", "at", "recipient", "channel", "status")
        for node in _nodes(self.data, "deliveries"):
            attempt = "" if node["attempt"] == 1 else f" (attempt {node['attempt']})"
            table.add_row(
                _clock(node["updatedAt"]),
                _short(node["recipientId"]),
                node["channel"].lower(),
                node["status"].lower() + attempt,
            )
        return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", expand=True, box=None)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _nodes(data: Mapping[str, Any] | None, field: str) -> list[dict[str, Any]]:
    return [edge["node"] for edge in data[field]["edges"]] if data else []


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S.%f")[:-4]


def _short(identifier: str) -> str:
    return identifier if len(identifier) < 16 else f"{identifier[:8]}…{identifier[-4:]}"


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Start, play, and stay until interrupted."""
    scenario = load_scenario(arguments.scenario)
    page = Page(scenario, arguments.accounts)
    options = PlatformOptions(
        state_folder=state_folder("demo"),
        intervals=Intervals(price_s=0.5, relay_s=0.5),
        report=page.report,
    )
    with (
        Live(page, console=console, refresh_per_second=4, screen=console.is_terminal),
        running_session(
            options, n_accounts=arguments.accounts, seed=arguments.seed, progress=page.report
        ) as session,
    ):
        page.session = session
        subscriber = subscribe(session)
        try:
            _play(session, scenario, page)
            if arguments.picture is not None:
                _take_picture(page, arguments.picture)
                return
            _stay(session, page)
        finally:
            subscriber.stop()


def _play(session: Session, scenario: Scenario, page: Page) -> None:
    for number, step in enumerate(scenario.steps, start=1):
        page.story_line = f"step {number} of {len(scenario.steps)}"
        session.story.play(step)
        _show_for(step.pause_s, session, page)


def _stay(session: Session, page: Page) -> None:
    page.story_line = "the story is over, the market goes on"
    while True:
        session.story.breathe()
        _show_for(_BREATHE_EVERY_S, session, page)


def _take_picture(page: Page, path: Path) -> None:
    camera = Console(record=True, width=132, file=StringIO(), force_terminal=True)
    camera.print(page)
    # Without the fonts that Rich would load from the web.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", camera.export_svg(title="make demo"), flags=re.DOTALL)
    path.write_text(picture)


def _show_for(seconds: float, session: Session, page: Page) -> None:
    deadline = time.monotonic() + seconds
    while True:
        session.platform.check()
        try:
            page.data = session.gateway.query(_PAGE)
            page.trouble = None
        except GatewayError as error:
            page.trouble = str(error)
        session.read_receipts()
        session.probe.refresh()
        page.latencies = session.probe.distributions()
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(_REFRESH_S, left_s))


def main() -> int:
    """Run from the command line."""
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        parser = story_parser("Play a story on a page of the terminal.")
        parser.add_argument(
            "--picture", type=Path, help="save the page as SVG when the story is over, and end"
        )
        run(parser.parse_args(), console)
    except KeyboardInterrupt:
        console.print("Stopped; no process is left.")
        return 0
    except (FusionError, ScenarioError, PartDiedError, PrerequisiteError) as error:
        console.print(f"[red]{error}[/red]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
