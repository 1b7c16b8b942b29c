"""Reading a real node: batches, and blocks with their logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from local.chain import LocalChain, deposit
from local.deployment import CHAIN_ID, Deployment
from local.emulators import EmulatorHosts
from shared.chain import blocks, contract_events
from shared.chain.blocks import LogFilter
from shared.chain.completeness import ProvenLogs
from shared.chain.ranges import RangeSize, read_range
from shared.chain.rpc import NodeError, RpcClient
from shared.domain.network import parse_network
from shared.errors import RetryableError
from tests.conftest import DeployedChain
from tests.messages import new_address
from tests.servers import Answer, closed_port, endpoint, rpc_proxy


@pytest.fixture
def chain(deployed_chain: DeployedChain) -> LocalChain:
    """The session's chain, as it was deployed."""
    deployed_chain.restore()
    return deployed_chain.chain


@pytest.fixture
def deployment(chain: LocalChain, deployed_chain: DeployedChain) -> Deployment:
    """Our contracts, as they were deployed."""
    return deployed_chain.deployment


def _account(chain: LocalChain) -> str:
    address = new_address()
    chain.set_balances({address: 10**18})
    return address


def _read(client: RpcClient, emitters: tuple[str, ...], first: int, last: int) -> ProvenLogs:
    wanted = LogFilter(emitters, tuple(contract_events.announced_topics()))
    (provider,) = client.providers
    head = blocks.read_block(client, blocks.head_number(client))
    return read_range(provider, [], wanted, RangeSize(2_000), first=first, last=last, head=head)


def test_results_come_in_the_order_of_the_calls_and_a_refused_call_spoils_no_other(chain: LocalChain) -> None:
    block, refused, chain_id, reverted = chain.client.batch(
        [
            ("eth_getBlockByNumber", ["0x0", False]),
            ("eth_neverHeardOf", []),
            ("eth_chainId", []),
            ("eth_call", [{"to": "0x" + "00" * 19 + "09", "data": "0x00"}, "latest"]),
        ]
    )
    assert (block["number"], int(chain_id, 16)) == ("0x0", CHAIN_ID)
    assert isinstance(refused, NodeError)
    assert (refused.method, refused.code) == ("eth_neverHeardOf", -32601)
    assert isinstance(reverted, NodeError)
    with pytest.raises(NodeError, match="eth_neverHeardOf"):
        chain.client.call("eth_neverHeardOf")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(429), "HTTP 429"),
        (Answer(500), "HTTP 500"),
        (Answer(302, headers={"Location": "http://127.0.0.1:1"}), "HTTP 302"),
        (Answer(None), "ProtocolError"),
        (Answer(200, b"<html>"), "an answer that is not JSON"),
        (Answer(200, b"\xff"), "an answer that is not JSON"),
        (Answer(200, b'{"error": {"code": -32600}}'), "refused the batch"),
        (Answer(200, b"[]"), "no answer to eth_chainId"),
        (Answer(200, b'[{"id": 0}]'), "an answer to eth_chainId without a result"),
        (Answer(200, b'[{"id": 0, "result": 31337}]'), "31337 where a quantity was due"),
        (Answer(200, b'[{"id": 0, "result": "0x1"}]'), "serves chain 1, not 31337"),
    ],
)
def test_a_node_that_does_not_answer_as_it_should_is_named_by_its_place_and_never_by_its_url(
    answer: Answer, said: str
) -> None:
    with endpoint(lambda _: answer) as node:
        client = RpcClient(CHAIN_ID, [f"{node.url}/secret-key"])
        with pytest.raises(RetryableError, match="node 0") as failure:
            client.call("eth_blockNumber")
    assert said in str(failure.value)
    assert "secret-key" not in str(failure.value)


def test_nodes_are_asked_in_order_of_preference_until_one_answers(
    chain: LocalChain, emulators: EmulatorHosts
) -> None:
    nowhere = f"http://127.0.0.1:{closed_port()}"
    assert RpcClient(CHAIN_ID, [nowhere, emulators.rpc]).call("eth_chainId") == hex(CHAIN_ID)
    with pytest.raises(RetryableError, match=r"node 0.*node 1"):
        RpcClient(CHAIN_ID, [nowhere, nowhere]).call("eth_chainId")


def test_a_slice_has_the_logs_of_its_blocks_with_their_times(
    chain: LocalChain, deployment: Deployment
) -> None:
    first = blocks.head_number(chain.client) + 1
    account = _account(chain)
    for amount in (1, 2, 3):
        chain.mine(deposit(deployment, account, "LINK", amount))
    last = blocks.head_number(chain.client)
    network = parse_network(json.dumps(deployment.network()))

    found = _read(chain.client, (deployment.vault, deployment.escrow_factory), first, last)

    assert (found.headers[0].number, found.headers[-1].number) == (first, last)
    assert found.headers[0].parent_hash == blocks.read_block(chain.client, first - 1).hash
    times = {header.hash: header.time for header in found.headers}
    events = [
        contract_events.decode_log(network.chains[CHAIN_ID], log, times[log["blockHash"]])
        for log in found.logs
    ]
    # Of nine transactions, three are deposits; each reports what the vault itself says.
    assert [(e.sequence, e.amount_base, e.collateral_base) for e in events] == [  # type: ignore[union-attr]
        (1, 1, 1),
        (2, 2, 3),
        (3, 3, 6),
    ]
    assert chain.positions(deployment, [account]) == {account: {"LINK": (6, 0)}}
    assert len({event.event_id for event in events}) == 3
    # Every log of the vault in these blocks is one of ours: nothing was filtered away.
    every = chain.client.call(
        "eth_getLogs", {"address": deployment.vault, "fromBlock": hex(first), "toBlock": hex(last)}
    )
    assert len(every) == 3


def test_blocks_that_are_not_there_yet_are_asked_for_again(chain: LocalChain, deployment: Deployment) -> None:
    head = blocks.head_number(chain.client)
    with pytest.raises(RetryableError, match=f"a node does not have block {head + 9}"):
        blocks.read_block(chain.client, head + 9)
    with pytest.raises(RetryableError):
        _read(chain.client, (deployment.vault,), head, head + 9)


def _tampered(change: Any) -> Any:
    """A proxy's decision: the true answers of a log request with something changed."""

    def decide(client: RpcClient, calls: Sequence[Mapping[str, Any]]) -> Answer | None:
        if calls[0]["method"] != "eth_getLogs":
            return None
        results = client.batch([(call["method"], call["params"]) for call in calls])
        change(results)
        answers = [
            {"jsonrpc": "2.0", "id": call["id"], "result": result}
            for call, result in zip(calls, results, strict=True)
        ]
        return Answer(200, json.dumps(answers).encode())

    return decide


def _another_block(results: list[Any]) -> None:
    results[0][0]["blockHash"] = "0x" + "ee" * 32


def _removed(results: list[Any]) -> None:
    results[0][0]["removed"] = True


def _outside(results: list[Any]) -> None:
    results[0][0]["blockNumber"] = "0x1"


def _not_a_list(results: list[Any]) -> None:
    results[0] = {"logs": []}


def _another_topic(results: list[Any]) -> None:
    results[0][0]["topics"][0] = "0x" + "ee" * 32


def _twice(results: list[Any]) -> None:
    results[0] += results[0]


@pytest.mark.parametrize("change", [_another_block, _removed, _outside, _not_a_list, _another_topic, _twice])
def test_a_node_whose_answers_contradict_each_other_is_not_believed(
    chain: LocalChain, deployment: Deployment, emulators: EmulatorHosts, change: Any
) -> None:
    """As in a reorg between two answers, or of two nodes behind one URL."""
    account = _account(chain)
    first = blocks.head_number(chain.client) + 1
    chain.mine(deposit(deployment, account, "LINK", 1))
    last = blocks.head_number(chain.client)
    decide = _tampered(change)
    with (
        rpc_proxy(emulators.rpc, lambda calls: decide(chain.client, calls)) as proxy,
        pytest.raises(RetryableError),
    ):
        _read(RpcClient(CHAIN_ID, [proxy.url]), (deployment.vault,), first, last)
