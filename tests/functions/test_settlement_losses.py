"""What the platform before this one lost or counted twice in settlement: tried again, and right here.

The table of all of them is ``docs/regressions.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from google.cloud import firestore

from shared.domain.escrows import EscrowRole, ReleasePolicy
from shared.domain.settlement_commands import CommandKind, CommandStatus
from shared.events import topics
from shared.events.settlement import AnyContractEvent
from shared.stores import database, escrows
from shared.stores.escrow_collection import escrow_id
from tests.conftest import Project
from tests.contract_messages import (
    escrow_approved,
    escrow_created,
    escrow_refunded,
    escrow_released,
    escrow_withdrawn,
)
from tests.functions.conftest import Caller, Market, Tap
from tests.functions.custodian import Custodian
from tests.functions.webhook_clients import all_deliveries, put_endpoint
from tests.messages import ARBITER, CHAIN_ID, PAYEE, PAYER, new_address

FUNCTION = "apply_settlement_event"


def _apply(call: Caller, *events: AnyContractEvent) -> None:
    for event in events:
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event).acknowledged


def _stored(store: firestore.Client, address: str, chain_id: int = CHAIN_ID) -> escrows.StoredEscrow:
    identifier = escrow_id(chain_id, address)
    return escrows.find_many(store, [identifier])[identifier]


@pytest.mark.parametrize(
    "other",
    [
        {"event_type": "EscrowDeployed", "escrow": "0x" + "11" * 20, "transaction_hash": "0x00"},
        {"event_name": "EscrowDeployed", "chain_id": "31337", "args": {"escrow": "0x" + "11" * 20}},
    ],
)
def test_an_event_in_another_schema_is_stored_under_the_empty_key_and_is_a_dead_letter_here(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], other: dict[str, object]
) -> None:
    dead = tap(topics.dead_letter_topic(topics.SETTLEMENT_EVENTS))
    body = json.dumps(other).encode()
    assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, body).acknowledged
    assert dead.pull() == [body]
    assert list(store.collection(escrows.COLLECTION).stream()) == []


def test_a_redelivered_approval_counts_twice_and_counts_once_here(
    call: Caller, store: firestore.Client
) -> None:
    address = new_address()
    created = escrow_created(address).model_copy(update={"policy": ReleasePolicy.TWO_OF_THREE})
    _apply(call, created, *[escrow_approved(address)] * 3)
    escrow = _stored(store, address).escrow
    assert escrow.approvals == frozenset({EscrowRole.PAYER})
    assert not escrow.approved


def test_a_redelivered_creation_resets_a_released_escrow_and_changes_nothing_here(
    call: Caller, store: firestore.Client
) -> None:
    address = new_address()
    created = escrow_created(address)
    _apply(call, created, escrow_approved(address), escrow_released(address), created)
    escrow = _stored(store, address).escrow
    assert (escrow.status, escrow.step) == ("released", 3)


def test_a_refunded_escrow_becomes_released_and_stays_refunded_here(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    address = new_address()
    alerts = tap(topics.OPERATIONS_ALERTS)
    refunded = escrow_refunded(address, step=2)
    _apply(call, escrow_created(address), refunded, escrow_released(address, step=3))
    assert _stored(store, address).escrow.status == "refunded"
    assert [alert.kind for alert in alerts.events()] == ["event_contradicted"]


def test_payer_and_payee_are_never_stored_and_every_term_is_here(
    call: Caller, store: firestore.Client
) -> None:
    address = new_address()
    created = escrow_created(address, amount_base=2**256 - 1)
    _apply(call, created, escrow_approved(address), escrow_released(address))
    escrow = _stored(store, address).escrow
    terms = escrow.terms
    assert (terms.payer, terms.payee, terms.arbiter) == (PAYER, PAYEE, ARBITER)
    assert (terms.asset, terms.asset_address, terms.amount_base) == ("ETH", "0x" + "00" * 20, 2**256 - 1)
    assert (terms.release_time, terms.refund_time) == (created.release_time, created.refund_time)


def test_an_approval_before_its_escrow_is_lost_and_waits_for_it_here(
    call: Caller, store: firestore.Client
) -> None:
    address = new_address()
    _apply(call, escrow_approved(address))
    parked = database.find(store, escrows.path(escrow_id(CHAIN_ID, address)))
    assert parked is not None
    assert parked.fields["status"] is None
    _apply(call, escrow_created(address))
    assert _stored(store, address).escrow.approvals == frozenset({EscrowRole.PAYER})


def test_two_approvals_in_one_transaction_lose_one_and_both_count_here(
    call: Caller, store: firestore.Client
) -> None:
    address = new_address()
    created = escrow_created(address).model_copy(update={"policy": ReleasePolicy.TWO_OF_THREE})
    payers = escrow_approved(address)
    payees = escrow_approved(address, step=3).model_copy(
        update={"role": EscrowRole.PAYEE, "approver": PAYEE, "transaction_hash": payers.transaction_hash}
    )
    _apply(call, created, payers, payees)
    assert _stored(store, address).escrow.approvals == frozenset({EscrowRole.PAYER, EscrowRole.PAYEE})


def test_one_address_on_two_chains_is_one_escrow_and_is_two_here(
    call: Caller, store: firestore.Client
) -> None:
    address = new_address()
    elsewhere = {"chain_id": CHAIN_ID + 1}
    _apply(
        call,
        escrow_created(address),
        escrow_created(address, amount_base=7).model_copy(update=elsewhere),
        escrow_refunded(address, step=2),
    )
    assert _stored(store, address).escrow.status == "refunded"
    other = _stored(store, address, CHAIN_ID + 1).escrow
    assert (other.status, other.terms.amount_base) == ("created", 7)


def test_an_escrows_history_is_cut_and_every_step_is_kept_here(call: Caller, store: firestore.Client) -> None:
    address = new_address()
    _apply(
        call,
        escrow_created(address),
        escrow_approved(address),
        escrow_released(address),
        escrow_withdrawn(address),
    )
    document = database.find(store, escrows.path(escrow_id(CHAIN_ID, address)))
    assert document is not None
    assert sorted(document.fields["steps"]) == ["1", "2", "3", "4"]


def test_a_confirming_event_wipes_a_commands_body_and_leaves_it_here(
    project: Project, market: Market, call: Caller, store: firestore.Client
) -> None:
    custodian = Custodian.of(project, market, call, store)
    command_id = custodian.submit("order-1", amount="12345678901234567890")
    asked = custodian.command(command_id).body
    assert custodian.follow().status == 200
    command = custodian.command(command_id)
    assert command.status is CommandStatus.SUCCEEDED
    assert command.body == asked
    assert command.body.arguments["amount"] == "12345678901234567890"
    assert command.body.kind is CommandKind.VAULT_DEPOSIT


def test_a_command_sent_again_goes_back_to_received_and_stays_succeeded_here(
    project: Project, market: Market, call: Caller, store: firestore.Client
) -> None:
    custodian = Custodian.of(project, market, call, store)
    message = custodian.message("order-1")
    assert custodian.push(message).acknowledged
    assert custodian.follow().status == 200
    deadline = custodian.command(message.event_id).body.deadline

    again = custodian.send_in("order-1", until=deadline)
    assert custodian.push(message).acknowledged

    assert again.command.status is CommandStatus.SUCCEEDED
    assert custodian.command(message.event_id).status is CommandStatus.SUCCEEDED
    assert custodian.mined_count() == 1


def test_a_webhook_is_enqueued_nowhere_and_is_a_document_here(call: Caller, store: firestore.Client) -> None:
    address = new_address()
    endpoint = put_endpoint(store, "https://hooks.client.example/", accounts=[PAYEE])
    event = escrow_created(address)
    assert call.push("create_webhook_deliveries", topics.SETTLEMENT_EVENTS, event).acknowledged
    (delivery,) = all_deliveries(store)
    assert (delivery.endpoint_id, delivery.event_id) == (endpoint.endpoint_id, event.event_id)
