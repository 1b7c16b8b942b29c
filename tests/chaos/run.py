"""One run of the chaos story, clean or disturbed, and everything that came of it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from local.chain import LocalChain, deposit, repay
from local.environment import Intervals
from local.gateway_client import Subscriber
from local.latency import receipt_ids
from local.platform import PlatformOptions, state_folder
from local.seed import Client
from local.session import Session, read_sink, running_session
from shared import config
from shared.stores import dead_letters, outbox, ticks
from shared.stores.contacts import OPERATIONS
from shared.warehouse import client as warehouse
from tests.chaos.disturbance import Disturbance

ROUNDS = 7
MOVES_PER_ROUND = 4
ACTING_PER_ROUND = 25
ALERT = "id accountId sequence previousState state notify tickSequence"
_ALERTS = (
    "subscription($ids: [ID!]!, $after: String) { alerts(accountIds: $ids, after: $after) "
    "{ kind cursor alerts { id accountId sequence state } } }"
)
_WITHIN_S = 300.0


@dataclass
class Outcome:
    """What a run left behind, by account where it is about accounts."""

    positions: dict[str, dict[str, tuple[int, int]]]
    states: dict[str, list[str]]
    escrows: dict[str, str]
    violations: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


class AlertListener:
    """A subscriber of all alerts that loses its connection and goes on behind its last cursor."""

    def __init__(self, session: Session) -> None:
        self._lock = threading.Lock()
        self._cursor: str | None = None
        self._begun = threading.Event()
        # The market stands still now: what is known already needs no subscriber.
        self.known_before = {alert["id"] for alert in session.gateway.pages("alerts", "id")}
        self.seen: dict[str, int] = {}
        self._subscriber = Subscriber(
            session.gateway.url,
            session.api_key,
            _ALERTS,
            lambda: {"ids": session.account_ids, "after": self._cursor},
            self._receive,
        ).start()

    def wait_begun(self) -> None:
        """Wait for the snapshot: what happens before it is not the subscription's to tell.

        Raises:
            TimeoutError: it did not come.
        """
        if not self._begun.wait(_WITHIN_S):
            raise TimeoutError(
                f"no snapshot of alerts within {_WITHIN_S:.0f} s: {self._subscriber.errors[-1:]}"
            )

    def _receive(self, data: dict[str, Any], _arrived: float) -> None:
        self._begun.set()
        with self._lock:
            self._cursor = data["alerts"]["cursor"]
            for alert in data["alerts"]["alerts"]:
                self.seen[alert["id"]] = self.seen.get(alert["id"], 0) + 1

    @property
    def connections(self) -> int:
        """How often it has connected."""
        return self._subscriber.connections

    def stop(self) -> None:
        """Stop listening."""
        self._subscriber.stop()


def run(*, n_accounts: int, seed: int, disturbed: bool, report: Callable[[str], None]) -> Outcome:
    """Play the story and judge what came of it."""
    options = PlatformOptions(
        state_folder=state_folder("chaos-disturbed" if disturbed else "chaos-clean"),
        intervals=Intervals(price_s=0.5, relay_s=0.5, sweep_s=1.0, archive_s=1.0),
        disturbed=True,
        seed=seed,
        log_level="WARNING",
    )
    with running_session(options, n_accounts=n_accounts, seed=seed, progress=report) as session:
        disturbance = Disturbance(session.platform, seed)
        listener = AlertListener(session)
        listener.wait_begun()
        if disturbed:
            disturbance.start()
        _play(session, seed, report)
        if disturbed:
            disturbance.stop()
        outcome = _judge(session, listener, report)
        outcome.figures["injected"] = disturbance.counts()
        outcome.violations += _survival(session, report)
        listener.stop()
    return outcome


def _play(session: Session, seed: int, report: Callable[[str], None]) -> None:
    draw = random.Random(seed)
    chain = LocalChain(session.platform.urls.rpc)
    chain.set_balances(dict.fromkeys(session.account_ids, 10**24))
    for number in range(ROUNDS):
        report(f"round {number + 1} of {ROUNDS}")
        drift = -0.05 if number < ROUNDS // 2 else 0.045
        for _ in range(MOVES_PER_ROUND):
            prices = {
                asset: session.story.prices[asset] * Decimal(str(round(1 + draw.gauss(drift, 0.03), 5)))
                for asset in ("ETH", "WBTC", "LINK")
            }
            # The sources never move in the same instant, and a tick in between has a mark in between. Each
            # of the two must have been seen in every run: what nobody ever read was never a mark.
            session.story.move_feeds(prices)
            session.wait(session.unticked, within_s=_WITHIN_S)
            session.story.move_hermes(prices)
            session.wait(session.unheard, within_s=_WITHIN_S)
        session.wait(session.unpriced, within_s=_WITHIN_S)
        acting = draw.sample(list(session.clients), min(ACTING_PER_ROUND, len(session.clients)))
        # One act each, so that the states in between do not depend on what is evaluated together.
        chain.mine_in_turn(_act(session, client, number) for client in acting)
        session.story.settle_escrows(4)
        session.wait_projected(within_s=_WITHIN_S)


def _act(session: Session, client: Client, number: int) -> list[Any]:
    owed = client.debt.get("USDC")
    if owed and number % 2:
        return repay(session.deployment, client.account_id, "USDC", owed // 20)
    asset, amount = next(iter(client.collateral.items()))
    return deposit(session.deployment, client.account_id, asset, amount // 20)


def _judge(session: Session, listener: AlertListener, report: Callable[[str], None]) -> Outcome:
    report("checking what came of it")
    session.wait(session.unpriced, within_s=_WITHIN_S)
    session.wait_projected(within_s=_WITHIN_S)
    # Nothing moves any more, so these are all the transitions that there are.
    alerts = session.gateway.pages("alerts", ALERT)
    known = {alert["id"] for alert in alerts}
    violations: list[str] = []
    for what, missing in (
        ("outbox", lambda: _unpublished(session)),
        ("receivers", lambda: _unreceived(session, alerts)),
        ("deliveries", lambda: _unconcluded(session)),
        ("subscriber", lambda: _unheard(known, listener)),
        ("archive", lambda: _unarchived(session, known)),
    ):
        try:
            session.wait(missing, within_s=_WITHIN_S)
        except Exception as error:  # noqa: BLE001 the other checks still tell something
            violations.append(f"{what}: {error}")
    letters = dead_letters.list_open(session.database, limit=20)
    violations += [
        f"dead letter of {letter.function} on {letter.topic}: {letter.field}: {letter.reason}"
        for letter, _ in letters
    ]
    violations += _misnumbered(alerts) + _phantoms(session, alerts)
    mail = read_sink(session.platform.urls.mailbox)
    hooks = read_sink(session.platform.urls.webhooks)
    notified = sum(1 for alert in alerts if alert["notify"])
    latest = ticks.find_latest(session.database)
    return Outcome(
        positions=session.chain.positions(session.deployment, session.account_ids),
        states=_sequences(alerts),
        escrows=_escrows(session),
        violations=violations,
        figures={
            "accounts": len(session.clients),
            "transitions": len(alerts),
            "notified": notified,
            "ticks": latest.sequence if latest else 0,
            "emails": len(mail),
            "emails_repeated": sum(1 for message in mail if message["repeats"]),
            "webhooks": len(hooks),
            "webhooks_repeated": sum(1 for message in hooks if message["repeats"]),
            "subscriber_connections": listener.connections,
            "subscriber_repeats": sum(count - 1 for count in listener.seen.values()),
        },
    )


def _sequences(alerts: list[dict[str, Any]]) -> dict[str, list[str]]:
    ordered = sorted(alerts, key=lambda alert: (alert["accountId"], alert["sequence"]))
    found: dict[str, list[str]] = {}
    for alert in ordered:
        found.setdefault(alert["accountId"], []).append(alert["state"])
    return found


def _misnumbered(alerts: list[dict[str, Any]]) -> list[str]:
    numbers: dict[str, list[int]] = {}
    for alert in alerts:
        numbers.setdefault(alert["accountId"], []).append(alert["sequence"])
    return [
        f"{account_id}: transitions are numbered {sorted(found)}"
        for account_id, found in numbers.items()
        if sorted(found) != list(range(1, len(found) + 1))
    ]


def _receipts(session: Session) -> tuple[set[str], set[str]]:
    mail = {message["message_id"] for message in read_sink(session.platform.urls.mailbox)}
    hooks = {message["webhook_id"] for message in read_sink(session.platform.urls.webhooks)}
    return mail, hooks


def _unreceived(session: Session, alerts: list[dict[str, Any]]) -> str | None:
    mail, hooks = _receipts(session)
    mail_from = session.platform.environment()["MAIL_FROM"]
    for alert in alerts:
        if alert["notify"]:
            by_mail, by_hook = receipt_ids(alert["id"], alert["accountId"], mail_from)
            if by_mail not in mail or by_hook not in hooks:
                return f"alert {alert['id']} has not reached both channels"
    return None


def _unconcluded(session: Session) -> str | None:
    waiting = [
        node["id"]
        for node in session.gateway.pages("deliveries", "id status")
        if node["status"] in ("SENDING", "FAILED")
    ]
    return f"delivery {waiting[0]} is not concluded" if waiting else None


def _phantoms(session: Session, alerts: list[dict[str, Any]]) -> list[str]:
    """Notices of alerts that do not exist."""
    mail_from = session.platform.environment()["MAIL_FROM"]
    known = {
        identifier
        for alert in alerts
        if alert["notify"]
        for identifier in receipt_ids(alert["id"], alert["accountId"], mail_from)
    }
    hooks = read_sink(session.platform.urls.webhooks)
    mail = read_sink(session.platform.urls.mailbox)
    received = {message["webhook_id"] for message in hooks if not message["path"].endswith(OPERATIONS)} | {
        message["message_id"] for message in mail if not message["to"][0].startswith(OPERATIONS)
    }
    return [f"notice {identifier} belongs to no alert" for identifier in sorted(received - known)]


def _unheard(known: set[str], listener: AlertListener) -> str | None:
    missing = known - set(listener.seen) - listener.known_before
    phantom = set(listener.seen) - known
    if phantom:
        return f"the subscriber heard of {sorted(phantom)[0]}, which does not exist"
    return f"the subscriber has not heard of {len(missing)}, {sorted(missing)[0]} first" if missing else None


def _unpublished(session: Session) -> str | None:
    oldest = outbox.find_oldest(session.database)
    return None if oldest is None else f"an announcement of {oldest} waits"


def _unarchived(session: Session, known: set[str]) -> str | None:
    settings = config.load(uses=("bigquery",), settings=("BIGQUERY_DATASET",))
    store = warehouse.connect(settings)
    rows = store.client.query(
        f"SELECT DISTINCT row_id FROM `{store.dataset}.margin_history` WHERE kind = 'transition'"
    ).result()
    archived = {row["row_id"] for row in rows}
    if known - archived:
        return f"{len(known - archived)} transitions are not archived, {sorted(known - archived)[0]} first"
    if archived - known:
        return f"{sorted(archived - known)[0]} is archived and does not exist"
    sequences = store.client.query(f"SELECT DISTINCT tick_sequence FROM `{store.dataset}.marks`").result()
    archived_ticks = {row["tick_sequence"] for row in sequences}
    gaps = set(range(1, max(archived_ticks) + 1)) - archived_ticks
    return f"ticks {sorted(gaps)[:5]} are not archived" if gaps else None


def _escrows(session: Session) -> dict[str, str]:
    nodes = session.gateway.pages(
        "escrows", "address status withdrawn step arbiter approvals resolution { payeeAmountBase }"
    )
    found = {
        node["address"]: (
            f"{node['status']} {node['withdrawn']} {node['step']} {node['arbiter']} "
            f"{sorted(node['approvals'])} {node['resolution']}"
        )
        for node in nodes
    }
    # A trade's address depends on its deadline, and that on when the run was; its parties and amounts do not.
    for node in session.gateway.pages(
        "dvpEscrows", "seller buyer payment { amountBase } status step withdrawals"
    ):
        trade = f"{node['seller']} {node['buyer']} {node['payment']['amountBase']}"
        found[trade] = f"{node['status']} {node['step']} {sorted(node['withdrawals'])}"
    return found


def _survival(session: Session, report: Callable[[str], None]) -> list[str]:
    """Kill every process of ours at once; the public API must then tell the same as before."""
    report("killing all our processes at once")
    before = _public_state(session)
    for name in ("clock", "functions", "gateway"):
        session.platform.kill(name)
    for name in ("functions", "gateway", "clock"):
        session.platform.wait_ready(name)
    after = _public_state(session)
    return [f"{name} is not what it was before the kill" for name in before if before[name] != after[name]]


def _public_state(session: Session) -> dict[str, Any]:
    gateway = session.gateway
    status = gateway.query("{ systemStatus { accountsByState { state accounts } deadLetters } }")
    return {
        "accounts": gateway.pages(
            "accounts", "id version positions { chainId asset collateralBase debtShares }"
        ),
        "alerts": gateway.pages("alerts", ALERT),
        "deliveries": gateway.pages("deliveries", "id status attempt"),
        "escrows": _escrows(session),
        "states": status["systemStatus"]["accountsByState"],
    }
