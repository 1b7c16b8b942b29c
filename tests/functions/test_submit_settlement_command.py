"""submit_settlement_command: each command once, with a nonce of its own, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from google.cloud import firestore

from shared.domain.network import NATIVE_ASSET
from shared.domain.settlement_commands import CommandKind, CommandStatus
from shared.domain.transactions import TransactionStatus
from shared.events import topics
from shared.stores import custody, settlement_commands, transactions
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Outage, Outbox, Tap
from tests.functions.custodian import ETHER, Custodian
from tests.functions.instances import Instances
from tests.messages import CHAIN_ID
from tests.servers import Answer, rpc_proxy


@pytest.fixture
def custodian(project: Project, market: Market, call: Caller, store: firestore.Client) -> Custodian:
    """An account in custody."""
    return Custodian.of(project, market, call, store)


def test_a_command_becomes_a_transaction_that_the_contract_carries_out(
    custodian: Custodian, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    accepted, progress = tap(topics.SETTLEMENT_COMMANDS), tap(topics.SETTLEMENT_PROGRESS)
    command_id = custodian.submit("order-1", amount=str(3 * ETHER))

    assert eventually(lambda: custodian.deposited() == 3 * ETHER)
    command = custodian.command(command_id)
    transaction = custodian.transaction(command_id)
    assert command.status is CommandStatus.SUBMITTED
    assert (transaction.nonce, transaction.status) == (0, TransactionStatus.PENDING)
    sent = custodian.node.call("eth_getTransactionByHash", transaction.newest.hash)
    assert sent["from"] == custodian.account_id
    assert int(sent["value"], 16) == 3 * ETHER
    assert int(sent["maxFeePerGas"], 16) == transaction.newest.fees.max_fee_wei
    (announced,) = accepted.events()
    assert announced.event_id == command_id
    (event,) = progress.events()
    assert (event.command_id, event.status) == (command_id, "SUBMITTED")
    assert (event.transaction.hash, event.transaction.nonce) == (transaction.newest.hash, 0)
    assert outbox_left.ids() == []


def test_a_token_approval_gives_the_vault_its_allowance(custodian: Custodian) -> None:
    deployment = custodian.market.deployment
    usdc = deployment.tokens["USDC"]
    arguments = {"asset": usdc, "spender": deployment.vault, "value": "500"}
    custodian.submit("approve", kind=CommandKind.TOKEN_APPROVE, **arguments)
    allowance = custodian.node.call(
        "eth_call",
        {
            "to": usdc,
            "data": "0xdd62ed3e"
            + "".join(each[2:].rjust(64, "0") for each in (custodian.account_id, deployment.vault)),
        },
        "latest",
    )
    assert int(allowance, 16) == 500
    assert [each.nonce for each in custodian.all_transactions()] == [0]


def test_a_duplicate_and_a_late_copy_send_nothing_again(custodian: Custodian) -> None:
    message = custodian.message("order-1")
    for _ in range(3):
        assert custodian.push(message).acknowledged
    assert eventually(lambda: custodian.deposited() == 1)
    assert custodian.mined_count() == 1
    assert len(custodian.all_transactions()) == 1


def test_commands_out_of_order_each_get_the_next_nonce(custodian: Custodian) -> None:
    messages = [custodian.message(f"order-{number}") for number in range(3)]
    for number in (2, 0, 1):
        assert custodian.push(messages[number]).acknowledged
    nonces = {number: custodian.transaction(messages[number].event_id).nonce for number in range(3)}
    assert nonces == {2: 0, 0: 1, 1: 2}
    assert eventually(lambda: custodian.deposited() == 3)


def test_commands_at_once_get_different_nonces_and_the_same_one_only_one(custodian: Custodian) -> None:
    messages = [custodian.message(f"order-{number}") for number in range(4)]
    start = threading.Barrier(8)

    def push(number: int) -> int:
        start.wait()
        return custodian.push(messages[number % 4]).status

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(push, range(8)))
    for message, status in zip(messages * 2, outcomes, strict=True):
        if status != 200 and status != 204:
            # Pub/Sub delivers what lost every race again.
            assert custodian.push(message).acknowledged
    assert [each.nonce for each in custodian.all_transactions()] == [0, 1, 2, 3]
    assert {each.command_id for each in custodian.all_transactions()} == {m.event_id for m in messages}
    assert eventually(lambda: custodian.deposited() == 4)


def test_a_call_that_the_contract_refuses_is_refused_without_using_a_nonce(
    custodian: Custodian, tap: Callable[[str], Tap]
) -> None:
    progress = tap(topics.SETTLEMENT_PROGRESS)
    asset = custodian.market.deployment.tokens["ETH"]
    command_id = custodian.submit(
        "too-much", kind=CommandKind.VAULT_WITHDRAW, asset=asset, amount=str(2**256 - 1)
    )
    command = custodian.command(command_id)
    assert (command.status, command.field) == (CommandStatus.REFUSED, "arguments")
    assert "revert" in str(command.reason)
    assert custodian.all_transactions() == []
    (event,) = progress.events()
    assert (event.status, event.field, event.transaction) == ("REFUSED", "arguments", None)


def test_a_call_that_the_account_cannot_pay_for_is_refused_and_says_so(custodian: Custodian) -> None:
    custodian.market.chain.set_balances({custodian.account_id: 10**15})
    command_id = custodian.submit("too-dear", asset=NATIVE_ASSET, amount=str(10**18))
    command = custodian.command(command_id)
    assert (command.status, command.field) == (CommandStatus.REFUSED, "accountId")
    assert "cannot pay for the call and its gas" in str(command.reason)
    assert custodian.all_transactions() == []


def test_an_escrow_that_the_chain_has_not_reported_is_refused(custodian: Custodian) -> None:
    command_id = custodian.submit("e", kind=CommandKind.ESCROW_APPROVE, escrow="0x" + "ee" * 20)
    command = custodian.command(command_id)
    assert (command.status, command.field) == (CommandStatus.REFUSED, "arguments.escrow")
    assert custodian.mined_count() == 0


def test_after_its_deadline_a_command_expires_and_nothing_is_sent(
    custodian: Custodian, store: firestore.Client
) -> None:
    message = custodian.message("order-1")
    overdue = datetime.now(UTC) - timedelta(seconds=1)
    command = custodian.command(message.event_id)
    late = replace(command, body=replace(command.body, deadline=overdue))
    store.document(settlement_commands.path(command.command_id)).set(settlement_commands.encode(late))
    assert custodian.push(message.model_copy(update={"body_hash": late.body.hash})).acknowledged
    assert custodian.command(message.event_id).status is CommandStatus.EXPIRED
    assert custodian.mined_count() == 0


@pytest.mark.parametrize("service", ["firestore", "chain"])
def test_it_is_delivered_again_while_a_dependency_fails(
    custodian: Custodian, without: Outage, service: str
) -> None:
    message = custodian.message("order-1")
    with without(service):
        assert custodian.push(message).status == 500
    assert custodian.all_transactions() == []
    assert custodian.push(message).acknowledged
    assert eventually(lambda: custodian.deposited() == 1)


def test_an_account_whose_key_is_missing_waits_for_it(custodian: Custodian, project: Project) -> None:
    message = custodian.message("order-1")
    key = project.environment()["SIGNER_KEYS"]
    project.setenv(SIGNER_KEYS="local:" + "11" * 32)
    assert custodian.push(message).status == 500
    project.setenv(SIGNER_KEYS=key)
    assert custodian.push(message).acknowledged
    assert eventually(lambda: custodian.deposited() == 1)


def test_an_account_that_left_custody_is_refused(custodian: Custodian, store: firestore.Client) -> None:
    message = custodian.message("order-1")
    store.document(custody.path(custodian.account_id)).delete()
    assert custodian.push(message).acknowledged
    command = custodian.command(message.event_id)
    assert (command.status, command.field) == (CommandStatus.REFUSED, "accountId")


def test_a_crash_between_commit_and_publish_is_made_good_by_the_sweep(
    custodian: Custodian, call: Caller, without: Outage, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    progress = tap(topics.SETTLEMENT_PROGRESS)
    message = custodian.message("order-1")
    with without("pubsub"):
        assert custodian.push(message).acknowledged
    assert len(outbox_left.ids()) == 1
    assert custodian.push(message).acknowledged
    assert progress.pull() == []

    outbox_left.age()
    assert call.request("relay_outbox").status == 200

    assert [event.status for event in progress.events()] == ["SUBMITTED"]
    assert custodian.mined_count() == 1


def test_a_process_killed_before_it_sends_leaves_bytes_that_the_follower_sends(
    custodian: Custodian, project: Project
) -> None:
    """SIGKILL while the node holds the request: whether it was taken, nobody knows."""
    message = custodian.message("order-1")
    held, release = threading.Event(), threading.Event()

    def hold(batch: list[dict[str, str]]) -> Answer | None:
        if batch[0]["method"] != "eth_sendRawTransaction":
            return None
        held.set()
        return Answer(None, wait=release)

    with (
        rpc_proxy(project.hosts.rpc, hold) as proxy,  # type: ignore[arg-type]
        Instances(project, "submit_settlement_command") as instances,
    ):
        whole = project.environment()["RPC_URLS"]
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        url = instances.start()
        project.setenv(RPC_URLS=whole)
        instances.push(url, topics.SETTLEMENT_COMMANDS, message)
        assert held.wait(20)
        instances.kill(url)
        release.set()
    (left,) = custodian.all_transactions()
    assert custodian.mined_count() == 0
    assert custodian.push(message).acknowledged
    assert custodian.mined_count() == 0

    project.setenv(RESEND_AFTER_S="0.01")
    assert custodian.follow().status == 200

    assert custodian.node.call("eth_getTransactionReceipt", left.newest.hash)["status"] == "0x1"
    assert eventually(lambda: custodian.deposited() == 1)


def test_a_nonce_that_somebody_else_used_with_the_key_is_passed_over(custodian: Custodian) -> None:
    custodian.node.call("anvil_impersonateAccount", custodian.account_id)
    custodian.node.call(
        "eth_sendTransaction", {"from": custodian.account_id, "to": custodian.account_id, "gas": hex(21_000)}
    )
    custodian.node.call("anvil_stopImpersonatingAccount", custodian.account_id)
    command_id = custodian.submit("order-1")
    assert custodian.transaction(command_id).nonce == 1
    assert eventually(lambda: custodian.deposited() == 1)
    next_nonce, _ = transactions.find_next_nonce(custodian.store, CHAIN_ID, custodian.account_id)
    assert next_nonce == 2


def test_what_waits_for_an_earlier_transaction_is_delivered_again(custodian: Custodian) -> None:
    """A withdrawal that only an unmined deposit makes possible, while the node has lost the deposit."""
    asset = custodian.market.deployment.tokens["ETH"]
    with custodian.nothing_is_mined():
        custodian.submit("deposit", amount="5")
        custodian.node.call("anvil_dropAllTransactions")
        withdrawal = custodian.message("withdraw", kind=CommandKind.VAULT_WITHDRAW, asset=asset, amount="5")
        assert custodian.push(withdrawal).status == 500
        assert custodian.command(withdrawal.event_id).status is CommandStatus.ACCEPTED
