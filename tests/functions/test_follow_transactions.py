"""follow_transactions: every transaction ends, none is sent twice in vain, no nonce stays stuck."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud import firestore

from shared.domain.settlement_commands import CommandStatus
from shared.domain.transactions import TransactionStatus
from shared.events import topics
from shared.stores import database, settlement_commands, transactions
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Outage, Outbox, Tap
from tests.functions.custodian import ETHER, Custodian
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


def _refusing(message: str) -> Callable[[Sequence[Mapping[str, Any]]], Answer | None]:
    """Answer every sending with an error."""

    def look(batch: Sequence[Mapping[str, Any]]) -> Answer | None:
        if batch[0]["method"] != "eth_sendRawTransaction":
            return None
        body = f'[{{"jsonrpc":"2.0","id":0,"error":{{"code":-32000,"message":"{message}"}}}}]'
        return Answer(200, body.encode(), {"Content-Type": "application/json"})

    return look


def test_a_mined_transaction_is_concluded_once_it_is_final(
    custodian: Custodian, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    custodian.finality(3)
    command_id = custodian.submit("order-1")
    progress = tap(topics.SETTLEMENT_PROGRESS)

    assert custodian.follow().status == 200
    assert custodian.transaction(command_id).status is TransactionStatus.MINED
    assert custodian.command(command_id).status is CommandStatus.SUBMITTED
    assert progress.pull() == []

    custodian.mine(3)
    for _ in range(2):
        assert custodian.follow().status == 200
    transaction = custodian.transaction(command_id)
    assert transaction.status is TransactionStatus.FINAL
    assert transaction.mined is not None
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED
    (event,) = progress.events()
    assert (event.status, event.transaction.block_number) == ("SUCCEEDED", transaction.mined.block_number)
    assert outbox_left.ids() == []


def test_a_call_that_reverts_when_it_is_mined_is_said_to_have_reverted(custodian: Custodian) -> None:
    with custodian.nothing_is_mined():
        command_id = custodian.submit("order-1")
        # The vault's code goes away before it is mined; a plain revert takes its place.
        code = custodian.node.call("eth_getCode", custodian.market.deployment.vault, "latest")
        custodian.node.call("anvil_setCode", custodian.market.deployment.vault, "0x60006000fd")
        custodian.mine()
        custodian.node.call("anvil_setCode", custodian.market.deployment.vault, code)
    assert custodian.follow().status == 200
    assert custodian.command(command_id).status is CommandStatus.REVERTED
    assert custodian.mined_count() == 1


def test_the_identical_bytes_are_sent_again_before_a_higher_bid(
    custodian: Custodian, project: Project
) -> None:
    seen: list[str] = []
    with custodian.nothing_is_mined(), rpc_proxy(project.hosts.rpc, _raw_sent(seen)) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        command_id = custodian.submit("order-1")
        project.setenv(RESEND_AFTER_S=SOON)
        for _ in range(3):
            assert custodian.follow().status == 200
        first = custodian.transaction(command_id).attempts[0]
        assert seen[:2] == [first.raw, first.raw]
        attempts = custodian.transaction(command_id).attempts
        assert len(attempts) >= 2
        assert seen[2] == attempts[1].raw
        custodian.mine()
        assert custodian.follow().status == 200
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED
    mined = custodian.transaction(command_id).mined
    assert mined is not None
    assert mined.hash == attempts[-1].hash
    assert eventually(lambda: custodian.deposited() == 1)


def test_bids_rise_by_more_than_a_tenth_until_the_cap_and_then_operators_are_told_once(
    custodian: Custodian, project: Project, tap: Callable[[str], Tap]
) -> None:
    alerts = tap(topics.OPERATIONS_ALERTS)
    project.setenv(FEE_CAPS=f"{CHAIN_ID}=2:2")
    custodian.node.call("anvil_setNextBlockBaseFeePerGas", hex(10**8))
    custodian.mine()
    with custodian.nothing_is_mined():
        command_id = custodian.submit("order-1")
        project.setenv(RESEND_AFTER_S=SOON)
        told = eventually(lambda: alerts.events() if custodian.follow().status == 200 else None)
        attempts = custodian.transaction(command_id).attempts
        bids = [attempt.fees.max_fee_wei for attempt in attempts]
        assert len(bids) > 2
        assert all(10 * later >= 11 * earlier for earlier, later in itertools.pairwise(bids))
        assert bids[-1] <= 2 * 10**9
        for _ in range(2):
            assert custodian.follow().status == 200
        (alert,) = told + alerts.events()
        assert (alert.kind, alert.details["command_id"]) == ("transaction_stuck", command_id)

        # The cap rises, and so does the bid: a spike does not hold a transaction for ever.
        project.setenv(FEE_CAPS=f"{CHAIN_ID}=50:50")
        for _ in range(2):
            assert custodian.follow().status == 200
        assert custodian.transaction(command_id).newest.fees.max_fee_wei > bids[-1]
        custodian.mine()
    assert custodian.follow().status == 200
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED


def test_what_the_node_forgot_is_sent_again(custodian: Custodian, project: Project) -> None:
    with custodian.nothing_is_mined():
        command_id = custodian.submit("order-1")
        custodian.node.call("anvil_dropAllTransactions")
        assert custodian.pool_count() == 0
        project.setenv(RESEND_AFTER_S="0.2")
        eventually(lambda: custodian.follow().status == 200 and custodian.pool_count() == 1)
        assert len(custodian.transaction(command_id).attempts) == 1


def test_a_receipt_that_a_reorganisation_takes_back_is_sent_again(
    custodian: Custodian, project: Project, tap: Callable[[str], Tap]
) -> None:
    custodian.finality(5)
    command_id = custodian.submit("order-1")
    custodian.mine(1)
    progress = tap(topics.SETTLEMENT_PROGRESS)
    assert custodian.follow().status == 200
    before = custodian.transaction(command_id)
    assert before.status is TransactionStatus.MINED

    custodian.node.call("anvil_reorg", 2, [])
    custodian.node.call("anvil_dropAllTransactions")
    assert custodian.mined_count() == 0
    assert custodian.follow().status == 200
    assert custodian.transaction(command_id).status is TransactionStatus.PENDING
    project.setenv(RESEND_AFTER_S=SOON)
    assert custodian.follow().status == 200

    assert custodian.mined_count() == 1
    assert custodian.follow().status == 200
    again = custodian.transaction(command_id)
    assert again.attempts[0].raw == before.attempts[0].raw
    assert len(again.attempts) == 1
    custodian.mine(5)
    assert custodian.follow().status == 200
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED
    assert [event.status for event in progress.events()] == ["SUCCEEDED"]
    assert eventually(lambda: custodian.deposited() == 1)


@pytest.mark.parametrize("message", ["already known", "replacement transaction underpriced"])
def test_a_refusal_that_means_sent_troubles_nobody(
    custodian: Custodian, project: Project, tap: Callable[[str], Tap], message: str
) -> None:
    alerts = tap(topics.OPERATIONS_ALERTS)
    whole = project.environment()["RPC_URLS"]
    with custodian.nothing_is_mined(), rpc_proxy(project.hosts.rpc, _refusing(message)) as proxy:
        command_id = custodian.submit("order-1")
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}", RESEND_AFTER_S=SOON)
        assert custodian.follow().status == 200
        assert custodian.transaction(command_id).trouble is None
        custodian.mine()
    project.setenv(RPC_URLS=whole)
    assert custodian.follow().status == 200
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED
    assert alerts.pull() == []


def test_one_node_that_takes_it_is_enough_whatever_the_others_say(
    custodian: Custodian, project: Project, tap: Callable[[str], Tap]
) -> None:
    alerts = tap(topics.OPERATIONS_ALERTS)
    sent: list[str] = []
    with (
        rpc_proxy(project.hosts.rpc, _refusing("exceeds block gas limit")) as refusing,
        rpc_proxy(project.hosts.rpc, _raw_sent(sent)) as taking,
    ):
        nowhere = f"http://127.0.0.1:{closed_port()}"
        project.setenv(RPC_URLS=f"{CHAIN_ID}={refusing.url},{nowhere},{taking.url}", RESEND_AFTER_S=SOON)
        command_id = custodian.submit("order-1")
        assert sent == [custodian.transaction(command_id).newest.raw]
        assert custodian.follow().status == 200
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED
    assert alerts.pull() == []


def test_what_one_node_refuses_for_good_is_not_given_up_while_another_gives_no_answer(
    custodian: Custodian, project: Project
) -> None:
    whole = project.environment()["RPC_URLS"]
    with rpc_proxy(project.hosts.rpc, _refusing("exceeds block gas limit")) as refusing:
        nowhere = f"http://127.0.0.1:{closed_port()}"
        project.setenv(RPC_URLS=f"{CHAIN_ID}={refusing.url},{nowhere}", RESEND_AFTER_S=SOON)
        command_id = custodian.submit("order-1")
        assert custodian.follow().status == 200
    transaction = custodian.transaction(command_id)
    assert transaction.abandoned is None
    assert "node 0: fatal: exceeds block gas limit; node 1: " in str(transaction.trouble)
    project.setenv(RPC_URLS=whole)
    assert custodian.follow().status == 200
    eventually(lambda: custodian.follow().status == 200 and custodian.deposited() == 1)


def test_none_of_many_open_transactions_starves(
    custodian: Custodian, project: Project, store: firestore.Client
) -> None:
    """More than one look reads stand in front, of a signer that is nobody's: they never get on."""
    command_id = custodian.submit("order-1")
    waiting = custodian.transaction(command_id)
    commit = database.Commit(store)
    for nonce in range(310):
        stuck = replace(waiting, signer="0x" + "00" * 20, nonce=nonce, command_id=None)
        commit.put(transactions.path(stuck.transaction_id), transactions.encode(stuck))
    commit.apply()
    eventually(lambda: custodian.follow() and custodian.command(command_id).status.final, within_s=30)
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED


def test_what_no_node_takes_is_given_up_and_its_nonce_used_by_a_no_op(
    custodian: Custodian, project: Project, tap: Callable[[str], Tap]
) -> None:
    alerts = tap(topics.OPERATIONS_ALERTS)
    whole = project.environment()["RPC_URLS"]
    with rpc_proxy(project.hosts.rpc, _refusing("exceeds block gas limit")) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}", RESEND_AFTER_S=SOON)
        command_id = custodian.submit("order-1")
        assert custodian.follow().status == 200
    assert custodian.transaction(command_id).abandoned == "exceeds block gas limit"
    assert [alert.kind for alert in alerts.events()] == ["transaction_stuck"]
    project.setenv(RPC_URLS=whole)
    for _ in range(2):
        assert custodian.follow().status == 200
    command = custodian.command(command_id)
    assert command.status is CommandStatus.FAILED
    assert "exceeds block gas limit" in str(command.reason)
    assert (custodian.mined_count(), custodian.deposited()) == (1, 0)


def test_a_signer_without_money_is_an_alert_and_goes_on_once_it_has_some(
    custodian: Custodian, project: Project, tap: Callable[[str], Tap]
) -> None:
    alerts = tap(topics.OPERATIONS_ALERTS)
    project.setenv(RESEND_AFTER_S=SOON)
    with custodian.nothing_is_mined():
        command_id = custodian.submit("order-1", amount=str(ETHER))
        custodian.node.call("anvil_dropAllTransactions")
        custodian.market.chain.set_balances({custodian.account_id: 1})
        assert custodian.follow().status == 200
        assert "unfunded" in str(custodian.transaction(command_id).trouble)
        assert [alert.kind for alert in alerts.events()] == ["transaction_stuck"]
        custodian.market.chain.set_balances({custodian.account_id: 10 * ETHER})
        assert custodian.follow().status == 200
        custodian.mine()
    assert custodian.follow().status == 200
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED


def test_a_command_whose_message_never_came_expires_at_its_deadline(
    custodian: Custodian, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    progress = tap(topics.SETTLEMENT_PROGRESS)
    command = custodian.send_in("order-1").command
    overdue = datetime.now(UTC) - timedelta(seconds=1)
    late = replace(command, body=replace(command.body, deadline=overdue))
    store.document(settlement_commands.path(command.command_id)).set(settlement_commands.encode(late))
    for _ in range(2):
        assert custodian.follow().status == 200
    assert custodian.command(command.command_id).status is CommandStatus.EXPIRED
    assert [event.status for event in progress.events()] == ["EXPIRED"]


@pytest.mark.parametrize("service", ["firestore", "chain"])
def test_it_is_called_again_while_a_dependency_fails(
    custodian: Custodian, without: Outage, service: str
) -> None:
    command_id = custodian.submit("order-1")
    with without(service):
        assert custodian.follow().status == 503
    assert custodian.command(command_id).status is CommandStatus.SUBMITTED
    assert custodian.follow().status == 200
    assert custodian.command(command_id).status is CommandStatus.SUCCEEDED


def test_a_crash_between_commit_and_publish_is_made_good_by_the_sweep(
    custodian: Custodian, call: Caller, without: Outage, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    custodian.submit("order-1")
    progress = tap(topics.SETTLEMENT_PROGRESS)
    with without("pubsub"):
        assert custodian.follow().status == 200
    assert len(outbox_left.ids()) == 1
    assert custodian.follow().status == 200
    assert progress.pull() == []

    outbox_left.age()
    assert call.request("relay_outbox").status == 200

    assert [event.status for event in progress.events()] == ["SUCCEEDED"]
