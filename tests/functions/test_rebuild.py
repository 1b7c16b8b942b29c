"""Rebuilding: the log, replayed into a fresh project, makes what any order of deliveries made."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.cloud import firestore

from local import escrows as parties
from local.chain import Transaction, borrow, calldata, deposit
from local.provision import provision_topics
from local.rebuild import RebuildError, main, rebuild
from shared.config import Settings, load
from shared.events import topics
from shared.events.settlement import EventRetracted
from shared.stores import accounts, dvp_escrows, escrows, outbox, projection
from shared.warehouse import client as warehouse
from shared.warehouse.event_log import iter_payloads
from tests.conftest import Project, deployed_manifest
from tests.functions.conftest import Caller, Market, Tap
from tests.functions.relaying import describe_chain, make_deposits, relay, reorganise
from tests.messages import CHAIN_ID

APPLY = "apply_settlement_event"
ETHER = 10**18


@pytest.fixture
def fresh(project: Project) -> Iterator[Settings]:
    """Another project on the same emulators, with topics and nothing else."""
    name = f"rebuilt-{uuid.uuid4().hex[:12]}"
    provision_topics(deployed_manifest(), project=name, pubsub_host=project.hosts.pubsub)
    environ = {**project.environment(), "GOOGLE_CLOUD_PROJECT": name}
    yield load(uses=("firestore", "pubsub"), environ=environ)
    Project(name, project.hosts, project.monkeypatch, project.folder).forget()


@pytest.fixture
def live(
    call: Caller, market: Market, project: Project, tap: Callable[[str], Tap]
) -> tuple[Settings, list[Any]]:
    """A history with two reorganisations, archived, and projected in an order of accidents."""
    project.provision_pulls()
    project.provision_warehouse("events")
    describe_chain(market, project, 2_000)
    announced = tap(topics.SETTLEMENT_EVENTS)
    chain, deployment = market.chain, market.deployment
    payer, payee, arbiter, seller, buyer = (market.account() for _ in range(5))
    terms = parties.EscrowTerms(payer, payee, arbiter, ETHER, uuid.uuid4().bytes + bytes(16))
    escrow = parties.escrow_address(chain, deployment, terms)
    chain.mine(parties.create_escrow(deployment, terms))
    chain.mine(parties.approve_escrow(escrow, payer))
    trade = parties.DvpTerms(
        *(seller, buyer, deployment.tokens["USDC"], 5, ETHER),
        deadline=int(time.time()) + 86_400,
        salt=uuid.uuid4().bytes + bytes(16),
    )
    for transaction in parties.create_dvp(deployment, trade):
        chain.mine([transaction])
    dvp = parties.dvp_address(chain, deployment, trade)
    borrower = market.account()
    chain.mine(deposit(deployment, borrower, "ETH", ETHER))
    chain.mine(borrow(deployment, borrower, "USDC", 10**6))
    lender, supply = market.account(), calldata("supply(address,uint256)", deployment.tokens["ETH"], ETHER)
    chain.mine([Transaction(lender, deployment.vault, supply, value=ETHER)])
    make_deposits(market, 3)
    assert relay(call) == 200
    # The deposits and the supply go for good; the loan goes too, and comes again with another amount.
    reorganise(market, 5)
    assert relay(call) == 200
    chain.mine(borrow(deployment, borrower, "USDC", 2 * 10**6))
    chain.mine(parties.release_escrow(escrow, payer))
    chain.mine(parties.pay_dvp(dvp, trade))
    assert relay(call) == 200
    reorganise(market, 1)
    assert relay(call) == 200
    chain.mine(parties.withdraw_escrow(escrow, payee))
    assert relay(call) == 200
    while call.request("archive_events").body["archived"]:
        pass
    events = announced.events()
    order = random.Random(7)
    delivered = [*events, *order.sample(events, len(events) // 2)]
    order.shuffle(delivered)
    for event in delivered:
        assert call.push(APPLY, topics.SETTLEMENT_EVENTS, event).acknowledged
    return project.settings("BIGQUERY_DATASET", uses=("firestore", "pubsub", "bigquery")), events


def test_the_log_makes_the_documents_that_any_order_of_deliveries_made(
    live: tuple[Settings, list[Any]],
    fresh: Settings,
    store: firestore.Client,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings, events = live
    retracted = sum(isinstance(event, EventRetracted) for event in events)
    assert retracted >= 5
    assert main(["--into", fresh.project, "--wait-s", "0"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"replayed {len(events)} messages, 0 refused"
    assert said[2:] == [f"{fresh.project} and {settings.project}: equal byte for byte"]
    documents = int(said[1].partition(" ")[0])
    collections = (accounts.COLLECTION, escrows.COLLECTION, dvp_escrows.COLLECTION)
    kept = [len(list(store.collection(name).stream())) for name in collections]
    # The borrower, the account of the deposits, one escrow of each kind; then markets and lenders.
    assert kept[1:] == [1, 1]
    assert kept[0] >= 1
    assert documents > sum(kept)
    copy = firestore.Client(project=fresh.project)
    # Whatever the handler writes is compared.
    assert {each.id for each in copy.collections()} - {outbox.COLLECTION} == set(projection.COLLECTIONS)
    (escrow,) = copy.collection(escrows.COLLECTION).stream()
    assert escrow.get("status") == "released"


def test_what_differs_is_named(
    live: tuple[Settings, list[Any]], fresh: Settings, store: firestore.Client
) -> None:
    (escrow,) = store.collection(escrows.COLLECTION).stream()
    escrow.reference.update({"chain_id": CHAIN_ID + 1})
    outcome = rebuild(live[0], fresh, wait_s=0.0)
    assert outcome.differing == (f"{escrows.COLLECTION}/{escrow.id}",)
    with pytest.raises(RebuildError, match=r"has .*escrows.*: name a fresh project"):
        rebuild(live[0], fresh, wait_s=0.0)
    with pytest.raises(RebuildError, match="is the live project"):
        rebuild(live[0], live[0], wait_s=0.0)
    assert main(["--into", live[0].project]) == 2


def test_the_log_is_read_in_pages_each_message_once(live: tuple[Settings, list[Any]]) -> None:
    settings, events = live
    archive = warehouse.connect(settings)
    whole = list(iter_payloads(archive, topics.SETTLEMENT_EVENTS))
    assert sorted(whole) == sorted(event.encode() for event in events)
    rows = [{"event_id": "again", "topic": topics.SETTLEMENT_EVENTS, "payload": whole[0].decode()}] * 2
    for row in rows:
        stamped = {**row, "occurred_at": "2026-01-01T00:00:00+00:00"}
        assert archive.client.insert_rows_json(f"{archive.dataset}.events", [stamped]) == []
    assert len(list(iter_payloads(archive, topics.SETTLEMENT_EVENTS, page=3))) == len(events) + 1
