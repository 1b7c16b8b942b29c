"""apply_settlement_event: what cannot be is told, and changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import pytest
from google.cloud import firestore

from shared.domain.margin import Severity
from shared.events import topics
from shared.events.base import Event
from shared.events.operations import OperationsAlertKind
from shared.events.settlement import AnyContractEvent
from shared.stores import accounts, database, escrows, markets
from shared.stores.escrow_collection import escrow_id
from tests.contract_messages import (
    escrow_approved,
    escrow_created,
    escrow_refunded,
    escrow_released,
    escrow_withdrawn,
    market_changed,
    position_changed,
    retraction,
)
from tests.functions.conftest import Caller, Outage, Outbox, Tap
from tests.messages import new_address

FUNCTION = "apply_settlement_event"


def _escrow(store: firestore.Client, address: str) -> escrows.StoredEscrow:
    identifier = escrow_id(31337, address)
    return escrows.find_many(store, [identifier])[identifier]


CONTRADICTIONS: Mapping[str, Callable[[str], Event]] = {
    "another step of the same number": lambda address: escrow_created(address, amount_base=1),
    "a step that cannot follow": lambda address: escrow_refunded(address, step=4),
    "another amount": lambda address: escrow_withdrawn(address).model_copy(update={"amount_base": 1}),
}


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_a_contradicting_step_raises_an_alert_and_changes_nothing(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox, contradiction: str
) -> None:
    address = new_address()
    for step in (escrow_created(address), escrow_approved(address), escrow_released(address)):
        call.push(FUNCTION, topics.SETTLEMENT_EVENTS, step)
    before = database.find(store, escrows.path(escrow_id(31337, address)))
    wrong = CONTRADICTIONS[contradiction](address)
    alerts, dead = tap(topics.OPERATIONS_ALERTS), tap(topics.dead_letter_topic(topics.SETTLEMENT_EVENTS))

    for _ in range(2):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, wrong).acknowledged

    after = database.find(store, escrows.path(escrow_id(31337, address)))
    assert before is not None
    assert after is not None
    assert {**after.fields, "updated_at": None} == {**before.fields, "updated_at": None}
    said = alerts.events()
    # Said again under the same id, which tells nobody twice.
    assert {alert.event_id for alert in said} == {f"event_contradicted:{wrong.event_id}"}
    assert said[0].kind is OperationsAlertKind.EVENT_CONTRADICTED
    assert said[0].subject == escrow_id(31337, address)
    assert said[0].severity is Severity.CRITICAL
    assert dead.pull() == []
    assert outbox_left.ids() == []
    behind = escrow_withdrawn(address)
    assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, behind).acknowledged
    assert _escrow(store, address).escrow.withdrawn


def test_a_contradicting_step_that_came_early_is_found_when_its_turn_comes(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    alerts = tap(topics.OPERATIONS_ALERTS)
    documents = []
    for order in itertools.permutations(range(4)):
        address = new_address()
        steps = (
            escrow_created(address),
            escrow_approved(address),
            escrow_released(address),
            escrow_refunded(address, step=4),
        )
        for index in order:
            assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, steps[index]).acknowledged
        document = database.find(store, escrows.path(escrow_id(31337, address)))
        assert document is not None
        documents.append({**document.fields, "updated_at": None, "escrow_id": None, "address": None})
    assert documents == [documents[0]] * 24
    assert (documents[0]["status"], documents[0]["step"], sorted(documents[0]["steps"])) == (
        "released",
        3,
        ["1", "2", "3"],
    )
    assert len(alerts.events()) == 24


def test_a_contradiction_after_a_reorganisation_was_kept_quiet_and_is_told_here(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    address = new_address()
    alerts = tap(topics.OPERATIONS_ALERTS)

    def at(revision: int, event: AnyContractEvent) -> AnyContractEvent:
        return event.model_copy(update={"revision": revision})

    wrong = at(3, escrow_refunded(address, step=2).model_copy(update={"amount_base": 1}))
    behind = at(3, escrow_withdrawn(address))
    assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, escrow_created(address)).acknowledged
    for event in (wrong, wrong, behind):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event).acknowledged

    (alert,) = alerts.events()
    assert alert.event_id == f"event_contradicted:{wrong.event_id}"
    assert alert.severity is Severity.HIGH
    assert _escrow(store, address).escrow.status == "created"

    # The chain takes it back: what it has in its place is applied.
    for replaced in (retraction(wrong, 4), at(4, escrow_refunded(address, step=2))):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, replaced).acknowledged
    assert _escrow(store, address).escrow.status == "refunded"
    assert alerts.pull() == []


def test_an_alert_that_a_crash_left_behind_is_swept(
    call: Caller,
    store: firestore.Client,
    without: Outage,
    tap: Callable[[str], Tap],
    outbox_left: Outbox,
) -> None:
    address = new_address()
    call.push(FUNCTION, topics.SETTLEMENT_EVENTS, escrow_created(address))
    alerts = tap(topics.OPERATIONS_ALERTS)
    wrong = escrow_created(address, amount_base=1)
    with without("pubsub"):
        call.push(FUNCTION, topics.SETTLEMENT_EVENTS, wrong)
    assert alerts.pull() == []

    outbox_left.age()
    assert call.request("relay_outbox").status == 200

    assert [alert.event_id for alert in alerts.events()] == [f"event_contradicted:{wrong.event_id}"]
    assert outbox_left.ids() == []


def test_two_reports_of_one_number_are_refused(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    dead = tap(topics.dead_letter_topic(topics.SETTLEMENT_EVENTS))
    account_id = new_address()
    for report in (
        market_changed(4),
        market_changed(4, cash_base=5),
        position_changed(account_id, 2, collateral_base=7),
        position_changed(account_id, 2, collateral_base=8),
    ):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, report).acknowledged
    assert len(dead.pull()) == 2
    assert [market.books.cash_base for market in markets.list_all(store)] == [10**12]
    account = accounts.find_many(store, [account_id])[account_id]
    assert account.positions["31337:ETH"].collateral_base == 7
