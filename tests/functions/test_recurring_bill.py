"""What Firestore charges for what runs beside evaluate_margin: once a day, once an hour, once a webhook.

``docs/cost.md`` is written from these figures, so they are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from google.cloud import firestore

from docs import cost
from shared.domain.positions import Account
from shared.domain.reconciliation import BETWEEN_PASSES
from shared.events import topics
from shared.stores import database
from tests.conftest import Project, network_document
from tests.contract_messages import position_changed
from tests.firestore_bill import Bill, metered
from tests.functions.book import account, store_accounts, store_tick
from tests.functions.conftest import Caller, Market, Tap
from tests.functions.relaying import describe_chain, make_deposits, relay
from tests.functions.webhook_clients import put_endpoint
from tests.messages import new_address, price_tick
from tests.servers import Endpoint, endpoint


def charged(bill: Bill) -> tuple[int, int, int]:
    """Reads, writes and deletes."""
    return bill.reads, bill.writes, bill.deletes


def borrowers(count: int) -> list[Account]:
    """Accounts that owe."""
    return [account(new_address(), ETH=("1", "0"), USDC=("0", "1000")) for _ in range(count)]


@pytest.mark.parametrize(("count", "blocks"), [(3, 1), (4, 2)])
def test_a_run_of_measure_risk_reads_each_account_once(
    call: Caller, project: Project, store: firestore.Client, count: int, blocks: int
) -> None:
    project.setenv(RISK_BLOCK_ACCOUNTS="3", WINDOW_S="60")
    project.write_network(network_document())
    project.provision_warehouse(
        "price_bars",
        "portfolio_risks",
        "margin_requirements",
        "stress_test_results",
        "house_shortfalls",
        "house_risks",
    )
    moment = datetime.now(UTC)
    store_tick(store, price_tick(1, as_of=moment, ETH="1600", USDC="1"))
    store_accounts(store, borrowers(count))
    settings = project.settings(
        "NETWORK_FILE", "BIGQUERY_DATASET", "RISK_BLOCK_ACCOUNTS", "WINDOW_S", uses=("firestore", "bigquery")
    )
    with metered(database.connect(settings)) as bill:
        answer = call.request("measure_risk", schedule_time=moment).body
    assert (answer["state"], answer["blocks"]) == ("done", blocks)
    assert charged(bill) == (
        cost.RISK_RUN.reads + cost.RISK_BLOCK.reads * (blocks - 1) + count,
        cost.RISK_RUN.writes + cost.RISK_BLOCK.writes * (blocks - 1),
        0,
    )
    with metered(database.connect(settings)) as bill:
        assert call.request("measure_risk", schedule_time=moment).body == answer
    assert charged(bill) == cost.RISK_LOOK


def test_a_pass_of_reconcile_positions_reads_each_account_once(
    call: Caller, market: Market, project: Project, tap: Callable[[str], Tap]
) -> None:
    describe_chain(market, project, 2_000, finality=0)
    announced = tap(topics.SETTLEMENT_EVENTS)
    make_deposits(market, 3)
    assert relay(call) == 200
    events = announced.events()
    for event in events:
        assert call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, event).acknowledged
    holders = {event.account_id for event in events if event.kind == "position_changed"}
    start = datetime(2026, 1, 1, tzinfo=UTC)
    client = database.connect(project.settings("NETWORK_FILE", "RPC_URLS", "WINDOW_S"))

    def reconcile(as_of: datetime) -> tuple[int, int, int]:
        with metered(client) as bill:
            assert call.request("reconcile_positions", schedule_time=as_of).status == 200
        return charged(bill)

    one_page = (
        cost.RECONCILIATION_LOOK.reads + len(holders) + len(market.deployment.tokens),
        cost.RECONCILED_PAGE.writes,
        0,
    )
    assert reconcile(start) == one_page
    assert reconcile(start + timedelta(minutes=5)) == cost.RECONCILIATION_LOOK
    assert reconcile(start + BETWEEN_PASSES) == one_page


@pytest.fixture
def hook() -> Iterator[Endpoint]:
    """A client's endpoint."""
    with endpoint() as running:
        yield running


def test_an_event_costs_a_look_for_endpoints_and_each_webhook_its_delivery(
    call: Caller, project: Project, store: firestore.Client, hook: Endpoint
) -> None:
    holder = new_address()
    creates = database.connect(project.settings(uses=("firestore",)))
    sends = database.connect(project.settings("WEBHOOK_INTERVAL_S", "WEBHOOK_LOCAL_NETWORKS", "WINDOW_S"))

    def create(sequence: int) -> tuple[int, int, int]:
        with metered(creates) as bill:
            event = position_changed(holder, sequence)
            assert call.push("create_webhook_deliveries", topics.SETTLEMENT_EVENTS, event).acknowledged
        return charged(bill)

    def send() -> tuple[int, int, int]:
        with metered(sends) as bill:
            assert call.request("send_webhooks").status == 200
        return charged(bill)

    assert create(1) == cost.WEBHOOK_LOOK
    quiet = send()
    put_endpoint(store, hook.url, accounts=[holder])
    looked, sent = create(2), send()
    assert len(hook.received) == 1
    added = tuple(map(sum, zip(looked, sent, strict=True)))
    for place, without in enumerate(map(sum, zip(cost.WEBHOOK_LOOK, quiet, strict=True))):
        assert added[place] - without == cost.WEBHOOK[place]
