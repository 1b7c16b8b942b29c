"""health: what works, what does not, and why, by real calls."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud import firestore

from shared.domain.marks import MarkStatus
from shared.domain.reconciliation import PositionDifference, Reconciliation, VaultBalance
from shared.events import topics
from shared.stores import chain_cursors, database, position_differences, reconciliations
from tests.conftest import Project
from tests.contract_messages import position_changed
from tests.functions.book import store_tick
from tests.functions.conftest import Caller, Market, Outage, Outbox
from tests.functions.test_record_dead_letter import _push
from tests.messages import CHAIN_ID, new_address, now, price_tick

FUNCTION = "health"


@pytest.fixture
def healthy(call: Caller, project: Project, market: Market) -> Market:
    """A platform whose every flow has run once."""
    project.provision_warehouse("events")
    market.mine_empty()
    for function in ("fetch_prices", "relay_chain_events"):
        assert call.request(function).status == 200
    return market


def _checks(call: Caller) -> dict[str, Any]:
    outcome = call.request(FUNCTION)
    failing = {name for name, check in outcome.body["checks"].items() if not check["ok"]}
    assert outcome.status == (503 if failing else 200)
    assert outcome.body["healthy"] is (not failing)
    return {name: outcome.body["checks"][name]["detail"] for name in failing}


def test_a_platform_that_works_is_healthy_again_and_again(call: Caller, healthy: Market) -> None:
    assert healthy.head() > 0
    for _ in range(2):
        outcome = call.request(FUNCTION)
        assert outcome.status == 200, outcome.body
        assert outcome.body["healthy"] is True
        assert set(outcome.body["checks"]) == {
            "firestore",
            "pubsub",
            "bigquery",
            "prices",
            "dead_letters",
            "chain:anvil",
            "positions:anvil",
        }


def test_a_platform_that_never_ran_says_so(call: Caller, market: Market) -> None:
    failing = _checks(call)
    assert failing["prices"] == "no price tick has been published"
    assert failing["chain:anvil"] == f"nothing has been relayed; the head is block {market.head()}"
    assert "BigQuery did not list the tables" in failing["bigquery"]


@pytest.mark.parametrize(
    ("service", "checks"),
    [
        ("firestore", {"firestore", "prices", "dead_letters", "chain:anvil", "positions:anvil"}),
        ("pubsub", {"pubsub"}),
        ("bigquery", {"bigquery"}),
        ("chain", {"chain:anvil"}),
    ],
)
@pytest.mark.usefixtures("healthy")
def test_a_service_that_is_away_is_named_and_the_others_are_still_told(
    call: Caller, without: Outage, service: str, checks: set[str]
) -> None:
    with without(service):
        assert set(_checks(call)) == checks
    assert _checks(call) == {}


@pytest.mark.usefixtures("healthy")
def test_a_mark_that_is_missing_is_named(call: Caller, store: firestore.Client) -> None:
    store_tick(store, price_tick(100, ETH=MarkStatus.STALE, USDC="1"))
    assert _checks(call) == {"prices": "no usable mark of ETH: it is stale"}


@pytest.mark.usefixtures("healthy")
def test_a_tick_that_is_old_is_named(call: Caller, store: firestore.Client) -> None:
    store_tick(store, price_tick(100, as_of=now() - timedelta(seconds=300), ETH="1"))
    assert _checks(call)["prices"].startswith("the last price tick is 30")


@pytest.mark.usefixtures("healthy")
def test_dead_letters_that_wait_are_counted(call: Caller) -> None:
    for message_id in ("1", "2"):
        call.request("record_dead_letter", _push(message_id=message_id))
    assert _checks(call) == {"dead_letters": "2 dead letters wait for replay_dead_letters"}


@pytest.mark.usefixtures("healthy")
def test_an_announcement_that_nobody_publishes_is_told(
    call: Caller, without: Outage, outbox_left: Outbox
) -> None:
    with without("pubsub"):
        call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, position_changed(new_address(), 1))
    outbox_left.age()
    outbox_left.age()
    assert _checks(call)["firestore"].startswith("an announcement has waited in the outbox for 12")


def test_a_halted_chain_is_told_with_the_reason(
    call: Caller, store: firestore.Client, healthy: Market
) -> None:
    known = chain_cursors.find(store, CHAIN_ID)
    assert known is not None
    commit = database.Commit(store)
    halted = replace(known[0], halted="block 7 has gone")
    commit.put(chain_cursors.path(CHAIN_ID), chain_cursors.encode(halted))
    commit.apply()
    assert _checks(call) == {"chain:anvil": "relay is halted: block 7 has gone"}
    assert healthy.head() > 0


def test_a_relay_that_falls_behind_is_told(call: Caller, healthy: Market) -> None:
    healthy.mine_empty(301)
    assert _checks(call)["chain:anvil"].startswith("relay is 301 blocks behind the head")


@pytest.mark.usefixtures("healthy")
def test_positions_that_differ_from_the_vault_and_ones_that_nobody_compares_are_told(
    call: Caller, store: firestore.Client
) -> None:
    balance = VaultBalance(1, 0)
    found = PositionDifference(CHAIN_ID, "0xa", "ETH", 7, balance, 1, balance, 1, now(), is_announced=True)
    commit = database.Commit(store)
    commit.put(position_differences.path(found.difference_id), position_differences.encode(found))
    commit.apply()
    assert _checks(call) == {"positions:anvil": "1 positions are not what the vault has"}

    commit = database.Commit(store)
    commit.delete(position_differences.path(found.difference_id))
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    done = Reconciliation(CHAIN_ID, 7, "0x" + "cd" * 32, long_ago).completed(long_ago)
    commit.put(reconciliations.path(CHAIN_ID), reconciliations.encode(done))
    commit.apply()
    assert _checks(call) == {
        "positions:anvil": "all positions were last at 2026-01-01 00:00 UTC compared with the vault: "
        "see reconcile_positions"
    }
    commit = database.Commit(store)
    commit.put(reconciliations.path(CHAIN_ID), reconciliations.encode(done.completed(now())))
    commit.apply()
    assert _checks(call) == {}


def test_a_body_is_of_no_interest(call: Caller, market: Market) -> None:
    assert call.request(FUNCTION, {"any": "thing"}).status == 503
    assert call.request(FUNCTION, b"{").status == 400
    assert market.head() > 0
