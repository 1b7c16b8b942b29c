"""follow_transactions: every nonce is used, by what was asked for, by a no-op, or by somebody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud import firestore

from shared.domain.settlement_commands import CommandStatus
from shared.domain.transactions import TransactionStatus
from shared.events import topics
from shared.stores import transactions
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Tap
from tests.functions.custodian import Custodian
from tests.messages import CHAIN_ID
from tests.servers import Answer, closed_port, rpc_proxy

SOON = "0.01"


@pytest.fixture
def custodian(project: Project, market: Market, call: Caller, store: firestore.Client) -> Custodian:
    """An account in custody."""
    return Custodian.of(project, market, call, store)


def _raw_sent(seen: list[str]) -> Callable[[Sequence[Mapping[str, Any]]], Answer | None]:
    """Keep the raw transactions that pass by."""

    def look(batch: Sequence[Mapping[str, Any]]) -> Answer | None:
        seen.extend(call["params"][0] for call in batch if call["method"] == "eth_sendRawTransaction")
        return None

    return look


def test_a_call_whose_deadline_passed_at_the_ceiling_is_not_sent_again(
    custodian: Custodian, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    """The ceiling was lowered meanwhile: no no-op is allowed to take its place."""
    alerts = tap(topics.OPERATIONS_ALERTS)
    seen: list[str] = []
    whole = project.environment()["FEE_CAPS"]
    with custodian.nothing_is_mined(), rpc_proxy(project.hosts.rpc, _raw_sent(seen)) as proxy:
        late = custodian.submit("late")
        transaction = replace(custodian.transaction(late), deadline=datetime.now(UTC))
        store.document(transactions.path(transaction.transaction_id)).set(transactions.encode(transaction))
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}", RESEND_AFTER_S=SOON, FEE_CAPS=f"{CHAIN_ID}=1:1")
        for _ in range(2):
            assert custodian.follow().status == 200
        assert seen == []
        assert "no-op" in str(custodian.transaction(late).trouble)
        assert [alert.kind for alert in alerts.events()] == ["transaction_stuck"]
        project.setenv(FEE_CAPS=whole)
        assert custodian.follow().status == 200
        assert custodian.transaction(late).newest.no_op
        custodian.mine()
        assert custodian.follow().status == 200
    assert custodian.command(late).status is CommandStatus.EXPIRED


def test_a_node_without_a_receipt_that_is_final_fails_the_command_and_another_is_asked_here(
    custodian: Custodian, project: Project, tap: Callable[[str], Tap]
) -> None:
    alerts = tap(topics.OPERATIONS_ALERTS)
    whole = custodian.node

    def forgetful(batch: Sequence[Mapping[str, Any]]) -> Answer | None:
        """Answer as the whole node does, but know of no receipt."""
        answers = whole.batch([(call["method"], call["params"]) for call in batch])
        rows = [
            {"jsonrpc": "2.0", "id": call["id"], "result": None if "Receipt" in call["method"] else answer}
            for call, answer in zip(batch, answers, strict=True)
        ]
        return Answer(200, json.dumps(rows).encode(), {"Content-Type": "application/json"})

    command_id = custodian.submit("order-1")
    with rpc_proxy(project.hosts.rpc, forgetful) as proxy:
        nowhere = f"http://127.0.0.1:{closed_port()}"
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url},{nowhere}")
        assert custodian.follow().status == 200
        assert custodian.command(command_id).status is CommandStatus.SUBMITTED
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url},{project.hosts.rpc}")
        assert custodian.follow().status == 200
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED
    assert alerts.pull() == []


def test_after_its_deadline_a_no_op_takes_the_nonce_and_the_next_command_goes_on(
    custodian: Custodian, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    with custodian.nothing_is_mined():
        late = custodian.submit("late", amount="7")
        following = custodian.submit("following", amount="2")
        transaction = replace(custodian.transaction(late), deadline=datetime.now(UTC))
        store.document(transactions.path(transaction.transaction_id)).set(transactions.encode(transaction))
        progress = tap(topics.SETTLEMENT_PROGRESS)
        assert custodian.follow().status == 200
        assert custodian.transaction(late).newest.no_op
        custodian.mine()
        assert custodian.follow().status == 200
    assert custodian.command(late).status is CommandStatus.EXPIRED
    assert custodian.command(following).status is CommandStatus.SUCCEEDED
    assert {event.command_id: event.status for event in progress.events()} == {
        late: "EXPIRED",
        following: "SUCCEEDED",
    }
    assert eventually(lambda: custodian.deposited() == 2)


def test_a_gap_below_a_waiting_nonce_is_filled(custodian: Custodian, project: Project) -> None:
    """Somebody else's transaction with our key was counted, and then dropped by the node."""
    node, account = custodian.node, custodian.account_id
    with custodian.nothing_is_mined():
        node.call("anvil_impersonateAccount", account)
        node.call("eth_sendTransaction", {"from": account, "to": account, "gas": hex(21_000)})
        node.call("anvil_stopImpersonatingAccount", account)
        command_id = custodian.submit("order-1")
        assert custodian.transaction(command_id).nonce == 1
        node.call("anvil_dropAllTransactions")
        project.setenv(RESEND_AFTER_S=SOON)
        for _ in range(2):
            assert custodian.follow().status == 200
        custodian.mine()
        assert custodian.follow().status == 200
    filler, wanted = custodian.all_transactions()
    assert (filler.nonce, filler.command_id, filler.status) == (0, None, TransactionStatus.FINAL)
    assert wanted.status is TransactionStatus.FINAL
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED


def test_a_nonce_that_somebody_else_mined_fails_the_command_and_alarms(
    custodian: Custodian, tap: Callable[[str], Tap]
) -> None:
    alerts, progress = tap(topics.OPERATIONS_ALERTS), tap(topics.SETTLEMENT_PROGRESS)
    node, account = custodian.node, custodian.account_id
    with custodian.nothing_is_mined():
        command_id = custodian.submit("order-1")
        node.call("anvil_dropAllTransactions")
        node.call("anvil_impersonateAccount", account)
        node.call("eth_sendTransaction", {"from": account, "to": account, "gas": hex(21_000), "nonce": "0x0"})
        node.call("anvil_stopImpersonatingAccount", account)
        custodian.mine()
    assert custodian.follow().status == 200
    command = custodian.command(command_id)
    assert command.status is CommandStatus.FAILED
    assert "not ours" in str(command.reason)
    assert custodian.transaction(command_id).status is TransactionStatus.LOST
    assert [alert.kind for alert in alerts.events()] == ["nonce_taken"]
    assert [event.status for event in progress.events()] == ["SUBMITTED", "FAILED"]
    assert custodian.deposited() == 0


def test_a_node_that_takes_no_long_batch_follows_nothing_and_is_asked_in_parts_here(
    custodian: Custodian, project: Project, store: firestore.Client
) -> None:
    """Many versions of a few transactions are signed in a spike of fees, just when they must be followed."""

    def limited(batch: Sequence[Mapping[str, Any]]) -> Answer | None:
        if len(batch) <= 100:
            return None
        refusal = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batch too large"}}
        return Answer(200, json.dumps(refusal).encode(), {"Content-Type": "application/json"})

    command_id = custodian.submit("order-1")
    transaction = custodian.transaction(command_id)
    signed = [replace(transaction.newest, hash=f"0x{number:064x}") for number in range(120)]
    spiked = replace(transaction, attempts=(*signed, *transaction.attempts))
    store.document(transactions.path(spiked.transaction_id)).set(transactions.encode(spiked))
    with rpc_proxy(project.hosts.rpc, limited) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        assert custodian.follow().status == 200
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED
