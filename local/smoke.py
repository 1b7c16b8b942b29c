"""Plays a story without a page, asserts what must have come of it, and prints the latencies.

Ends with 0 where everything held, 1 where something did not; the JSON is the last line of the output.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from local.environment import Intervals
from local.gateway_client import Subscriber
from local.latency import CALLED, DELIVERED, RECORDED, SUBSCRIBED, Distribution, receipt_ids
from local.platform import PlatformOptions, state_folder
from local.prerequisites import PrerequisiteError
from local.scenario import Expectation, Scenario, ScenarioError, SourceHealth, load_scenario
from local.session import NotSettledError, Session, read_sink, running_session
from local.supervisor import PartDiedError
from shared.domain.margin import State
from shared.domain.sharding import SHARD_COUNTS, Shard
from shared.errors import FusionError
from shared.events.prices import PriceTick
from shared.stores import margin_progress, ticks
from shared.stores.contacts import OPERATIONS

SUBSCRIBED_ACCOUNTS = 100
MARGIN_HEALTH = (
    "subscription($ids: [ID!]!) { marginHealth(accountIds: $ids) "
    "{ kind sequence accounts { accountId state healthPct collateralUsd debtUsd tickSequence } } }"
)
_CALLED_WITHIN_MS = 2_000.0
_ALERT_FIELDS = "id accountId previousState state notify tickSequence sequence"


def subscribe(session: Session) -> Subscriber:
    """A live subscriber of the first accounts, whose arrivals the session's probe counts."""

    def receive(data: dict[str, Any], arrived: float) -> None:
        message = data["marginHealth"]
        if message["kind"] == "UPDATE" and message["sequence"] is not None:
            session.probe.arrived(message["sequence"], arrived)

    ids = session.account_ids[:SUBSCRIBED_ACCOUNTS]
    return Subscriber(
        session.gateway.url, session.api_key, MARGIN_HEALTH, lambda: {"ids": ids}, receive
    ).start()


def play(session: Session, scenario: Scenario) -> None:
    """Play all steps, with their pauses."""
    for step in scenario.steps:
        session.story.play(step)
        deadline = time.monotonic() + step.pause_s
        while time.monotonic() < deadline:
            session.platform.check()
            time.sleep(0.05)


def undelivered(session: Session) -> str | None:
    """Which notice has not reached its recipient over both channels; None if all have."""
    alerts = session.gateway.pages("alerts", _ALERT_FIELDS)
    mail = {message["message_id"] for message in read_sink(session.platform.urls.mailbox)}
    hooks = {message["webhook_id"] for message in read_sink(session.platform.urls.webhooks)}
    mail_from = session.platform.environment()["MAIL_FROM"]
    for alert in alerts:
        if not alert["notify"]:
            continue
        by_mail, by_hook = receipt_ids(alert["id"], alert["accountId"], mail_from)
        if by_mail not in mail:
            return f"alert {alert['id']} has not arrived by e-mail"
        if by_hook not in hooks:
            return f"alert {alert['id']} has not arrived by webhook"
    return None


def violations(session: Session, scenario: Scenario) -> list[str]:
    """What does not hold at the end of the story."""
    found: list[str] = []
    latest = ticks.find_latest(session.database)
    last = 0 if latest is None else latest.sequence
    settling: tuple[Callable[[], None], ...] = (
        lambda: session.wait(session.unpriced, within_s=60.0),
        lambda: session.wait(lambda: _unevaluated_shard(session, last), within_s=60.0),
        lambda: session.wait_projected(within_s=60.0),
        lambda: session.wait(lambda: undelivered(session), within_s=60.0),
        lambda: session.wait(lambda: _untold_sources(session, scenario), within_s=60.0),
    )
    for settle in settling:
        try:
            settle()
        except NotSettledError as error:
            found.append(str(error))
    found += [
        *_unexpected(session, scenario.expect),
        *_misnumbered(session),
        *_unfollowed_sources(session, scenario),
        *_other_cuts(session),
    ]
    status = session.gateway.query("{ systemStatus { deadLetters liveConnected refusedMessages } }")[
        "systemStatus"
    ]
    if status["deadLetters"]:
        found.append(f"{status['deadLetters']} dead letters")
    if status["refusedMessages"]:
        found.append(f"the gateway refused {status['refusedMessages']} messages")
    return found


def _unexpected(session: Session, expect: Expectation) -> list[str]:
    alerts = session.gateway.pages("alerts", _ALERT_FIELDS)
    worst = max((State(alert["state"]).code for alert in alerts), default=State.NO_DEBT.code)
    found: list[str] = []
    if expect.worst_at_least is None and any(alert["notify"] for alert in alerts):
        found.append("somebody was called in a calm market")
    if expect.worst_at_least is not None and worst < expect.worst_at_least.code:
        found.append(f"no account became {expect.worst_at_least} or worse")
    recovered = any(
        alert["previousState"] is not None
        and State(alert["previousState"]).code > State(alert["state"]).code
        and alert["notify"]
        for alert in alerts
    )
    if expect.recoveries and not recovered:
        found.append("no account recovered")
    told = [
        message
        for message in read_sink(session.platform.urls.webhooks)
        if message["path"].endswith(OPERATIONS) and message["body"].get("kind") == "mark_unusable"
    ]
    if expect.unvalued and not told:
        found.append("operators were not told of the unusable mark")
    if not expect.unvalued and told:
        found.append("operators were told of an unusable mark")
    return found


def _unevaluated_shard(session: Session, tick: int) -> str | None:
    """Which shard of the book has not been evaluated at a tick; None if all have."""
    count = session.platform.options.margin_shards
    for number in range(count):
        reached = margin_progress.read(session.database, Shard(number, count)).tick_sequence
        if reached < tick:
            return f"shard {number} of {count} was evaluated up to tick {reached}, not {tick}"
    return None


def _other_cuts(session: Session) -> list[str]:
    """Numbers of shards, other than the one that is set, in which the book was evaluated."""
    count = session.platform.options.margin_shards
    return [
        f"the book was evaluated in {shards} shards as well, it is cut into {count}"
        for shards in SHARD_COUNTS
        if shards != count and margin_progress.read(session.database, Shard(0, shards)).tick_sequence
    ]


def _unfollowed_sources(session: Session, scenario: Scenario) -> list[str]:
    """What the story's ticks lack where a source fails in its middle: ticks of it and of the others, usable
    ones of the others alone, and it again at the end."""
    failed = _failed_sources(scenario)
    if not failed:
        return []
    all_ticks = session.read_ticks()
    found: list[str] = []
    for source in sorted(failed):
        heard = [_heard(tick) for tick in all_ticks]
        if not any(source in each and len(each) > 1 for each in heard):
            found.append(f"no tick has every mark of {source} and of another source")
        alone = [
            tick for tick, each in zip(all_ticks, heard, strict=True) if source not in each and len(each) == 1
        ]
        if not any(all(mark.is_usable for mark in tick.marks) for tick in alone):
            found.append(f"no tick has a usable mark of every asset while {source} fails")
        if not heard or source not in heard[-1]:
            found.append(f"the last tick has not every mark of {source}")
    return found


def _heard(tick: PriceTick) -> set[str]:
    """The sources that were heard, and count, in every mark of a tick."""
    counting = [
        {quote.source for quote in mark.quotes if quote.refusal is None and not quote.is_carried}
        for mark in tick.marks
    ]
    return set.intersection(*counting)


def _failed_sources(scenario: Scenario) -> set[str]:
    return {
        source
        for step in scenario.steps
        for source, health in step.sources.items()
        if health is SourceHealth.DOWN
    }


def _untold_sources(session: Session, scenario: Scenario) -> str | None:
    """Which failure of a price source, or which end of one, operators have not been told of."""
    failed = _failed_sources(scenario)
    told = {
        (message["body"].get("kind"), message["body"].get("subject"))
        for message in read_sink(session.platform.urls.webhooks)
        if message["path"].endswith(OPERATIONS)
    }
    for source in sorted(failed):
        for kind in ("price_source_failing", "price_source_recovered"):
            if (kind, source) not in told:
                return f"operators were not told: {kind} of {source}"
    return None


def _misnumbered(session: Session) -> list[str]:
    found: list[str] = []
    alerts = session.gateway.pages("alerts", _ALERT_FIELDS)
    numbers: dict[str, list[int]] = {}
    for alert in alerts:
        numbers.setdefault(alert["accountId"], []).append(alert["sequence"])
    for account_id, sequence in numbers.items():
        if sorted(sequence) != list(range(1, len(sequence) + 1)):
            found.append(f"the transitions of {account_id} are numbered {sorted(sequence)}")
    return found


def latency_table(distributions: Sequence[Distribution]) -> Table:
    """The latencies as a table."""
    table = Table(title="Latency, milliseconds")
    for heading in ("", "n", "p50", "p99", "max"):
        table.add_column(heading, justify="left" if not heading else "right")
    for each in distributions:
        table.add_row(
            each.name, str(each.count), f"{each.p50_ms:,.0f}", f"{each.p99_ms:,.0f}", f"{each.max_ms:,.0f}"
        )
    return table


def _unmeasured(distributions: Sequence[Distribution], scenario: Scenario) -> list[str]:
    wanted = {SUBSCRIBED} | ({RECORDED, DELIVERED, CALLED} if scenario.expect.worst_at_least else set())
    measured = {each.name for each in distributions}
    return [f"{name}: nothing was measured" for name in sorted(wanted - measured)]


def _too_slow(distributions: Sequence[Distribution]) -> list[str]:
    return [
        f"{each.name}: p99 is {each.p99_ms:.0f} ms, the limit is {_CALLED_WITHIN_MS:.0f} ms"
        for each in distributions
        if each.name == CALLED and each.p99_ms > _CALLED_WITHIN_MS
    ]


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Play and judge; the exit code."""
    scenario = load_scenario(arguments.scenario)
    options = PlatformOptions(
        state_folder=state_folder("smoke"),
        intervals=Intervals(price_s=0.5, relay_s=0.5),
        margin_shards=arguments.shards,
        report=console.log,
    )
    with running_session(
        options, n_accounts=arguments.accounts, seed=arguments.seed, progress=console.log
    ) as session:
        subscriber = subscribe(session)
        console.log(f"playing {scenario.name}: {scenario.description}")
        play(session, scenario)
        console.log("the story is over; checking what came of it")
        found = violations(session, scenario)
        session.read_receipts()
        session.probe.refresh()
        subscriber.stop()
        distributions = session.probe.distributions()
        found += _unmeasured(distributions, scenario)
        if arguments.latency_limit:
            found += _too_slow(distributions)
    console.print(latency_table(distributions))
    for violation in found:
        console.print(f"[red]does not hold:[/red] {violation}")
    summary = {
        "scenario": scenario.name,
        "accounts": arguments.accounts,
        "seed": arguments.seed,
        "shards": arguments.shards,
        "holds": not found,
        "violations": found,
        "latency_ms": {
            each.name: {"n": each.count, "p50": each.p50_ms, "p99": each.p99_ms, "max": each.max_ms}
            for each in distributions
        },
    }
    print(json.dumps(summary))
    return 1 if found else 0


def story_parser(description: str) -> argparse.ArgumentParser:
    """The options that the demo and the smoke test share."""

    def at_least_two(text: str) -> int:
        count = int(text)
        if count < 2:
            raise argparse.ArgumentTypeError("ACCOUNTS must be at least 2")
        return count

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--accounts", type=at_least_two, default=100)
    parser.add_argument("--scenario", default="crash")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = story_parser("Play a story and assert it.")
    parser.add_argument(
        "--shards", type=int, choices=SHARD_COUNTS, default=1, help="into how many the margin book is cut"
    )
    parser.add_argument(
        "--latency-limit",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="fail where a margin call took longer than 2 s; a busy machine says nothing about that",
    )
    return parser


def main() -> int:
    """Run from the command line."""
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(_parser().parse_args(), console)
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except (FusionError, ScenarioError, PartDiedError, PrerequisiteError) as error:
        console.print(f"[red]{error}[/red]")
        return 1


if __name__ == "__main__":
    sys.exit(main())
