"""relay_chain_events with several providers that lie, lag, prune and disagree; and its second reading."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud import firestore

from shared.events import topics
from shared.events.settlement import EventRetracted
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.relay.chain_relay import ChainRelay
from shared.runtime.relay.sighting import look
from shared.stores import announced_blocks, database
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Tap
from tests.functions.relaying import (
    FUNCTION,
    cursor_of,
    describe_chain,
    make_deposits,
    relay,
    sequences_of,
)
from tests.messages import CHAIN_ID
from tests.servers import Answer, closed_port, rpc_proxy

Calls = Sequence[Mapping[str, Any]]


def _changed(market: Market, calls: Calls, change: Callable[[str, Any], Any]) -> Answer:
    """The node's own answers, each result as ``change`` makes it of the method and the result."""
    results = market.chain.client.batch([(call["method"], call["params"]) for call in calls])
    body = [
        {"jsonrpc": "2.0", "id": call["id"], "result": change(call["method"], result)}
        for call, result in zip(calls, results, strict=True)
    ]
    return Answer(200, json.dumps(body).encode())


def _other_fork(method: str, result: Any) -> Any:
    if method != "eth_getBlockByNumber" or not result:
        return result
    return {**result, "hash": "0x" + "f0" * 32, "parentHash": "0x" + "f1" * 32}


def test_a_provider_on_another_fork_is_not_believed_while_another_one_shows_ours(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    announced = tap(topics.SETTLEMENT_EVENTS)
    account = make_deposits(market, 2)
    assert relay(call) == 200
    with rpc_proxy(project.hosts.rpc, lambda calls: _changed(market, calls, _other_fork)) as wrong:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={wrong.url},{project.hosts.rpc}")
        market.mine_empty(1)
        eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == market.head())
    assert sequences_of(announced.events(), account) == [1, 2]
    assert (cursor_of(store).revision, cursor_of(store).halted) == (0, None)


def test_one_false_header_is_not_believed_where_nothing_builds_on_it_yet(
    call: Caller, market: Market, project: Project, store: firestore.Client
) -> None:
    """Were it, the true block would then look like a violation of finality, and the chain be halted."""
    describe_chain(market, project, block_range=5)
    market.mine_empty(200)
    last_of_first_range = hex(market.start_block + 4)
    told: list[str] = []

    def decide(calls: Calls) -> Answer | None:
        asked = [call["params"][0] for call in calls if call["method"] == "eth_getBlockByNumber"]
        if told or len(asked) < 2 or last_of_first_range not in asked:
            return None
        told.append(last_of_first_range)
        return _changed(
            market,
            calls,
            lambda _, result: (
                {**result, "hash": "0x" + "f0" * 32}
                if isinstance(result, dict) and result["number"] == last_of_first_range
                else result
            ),
        )

    with rpc_proxy(project.hosts.rpc, decide) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == market.head())
    assert told == [last_of_first_range]
    assert (cursor_of(store).revision, cursor_of(store).halted) == (0, None)


def test_a_provider_that_is_behind_takes_nothing_back(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    make_deposits(market, 5)
    assert relay(call) == 200
    announced = tap(topics.SETTLEMENT_EVENTS)
    old = market.head() - 3

    def decide(calls: Calls) -> Answer | None:
        if calls[0]["params"] != ["latest", False]:
            return None
        lagging = [{**calls[0], "params": [hex(old), False]}, {**calls[1], "params": ["0xffffff", False]}]
        return _changed(market, lagging, lambda _, result: result)

    with rpc_proxy(project.hosts.rpc, decide) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        assert relay(call) == 200
    assert announced.pull() == []
    assert cursor_of(store).block_number == market.head()


def test_pruned_history_stops_the_chain_with_an_alert_and_never_skips(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    account = make_deposits(market, 3)
    announced, operations = tap(topics.SETTLEMENT_EVENTS), tap(topics.OPERATIONS_ALERTS)
    error = {"code": -32701, "message": "History has been pruned for this block"}

    def decide(calls: Calls) -> Answer | None:
        if calls[0]["method"] != "eth_getLogs":
            return None
        return Answer(200, json.dumps([{"jsonrpc": "2.0", "id": 0, "error": error}]).encode())

    with rpc_proxy(project.hosts.rpc, decide) as proxy:
        project.setenv(RPC_URLS=f"{CHAIN_ID}={proxy.url}")
        for _ in range(2):
            outcome = call.request(FUNCTION)
            assert outcome.status == 503
            assert "History has been pruned" in outcome.body["error"]
    alerts = {alert.event_id: alert for alert in operations.events()}
    (alert,) = alerts.values()
    assert (alert.kind, alert.details["block"]) == ("history_pruned", str(market.start_block))
    assert announced.pull() == []

    project.setenv(RPC_URLS=f"{CHAIN_ID}={project.hosts.rpc}")
    assert relay(call) == 200
    assert sequences_of(announced.events(), account) == [1, 2, 3]


def _wholly_other_fork(_method: str, result: Any) -> Any:
    """A chain whose blocks build on each other, none of which is ours, and without events."""
    if not isinstance(result, dict) or "parentHash" not in result:
        return [] if isinstance(result, list) else result
    number = int(result["number"], 16)
    hashes = {"hash": f"0xf0{number:062x}", "parentHash": f"0xf0{number - 1:062x}"}
    return {**result, **hashes, "logsBloom": "0x" + "00" * 256}


def test_what_a_provider_on_another_fork_has_is_not_taken_for_what_the_believed_one_refuses(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    describe_chain(market, project, block_range=20)
    make_deposits(market, 1)
    assert relay(call) == 200
    parted_at = market.head()
    announced = tap(topics.SETTLEMENT_EVENTS)
    account = make_deposits(market, 2)
    market.mine_empty(100)
    error = {"code": -32000, "message": "header not found"}

    def fork_behind(method: str, result: Any) -> Any:
        number = int(result["number"], 16) if isinstance(result, dict) else None
        if number is not None and number <= parted_at:
            return result
        other = _wholly_other_fork(method, result)
        return {**other, "parentHash": result["parentHash"]} if number == parted_at + 1 else other

    def refuse_logs(calls: Calls) -> Answer | None:
        if calls[0]["method"] not in ("eth_getLogs", "eth_getBlockReceipts"):
            return None
        return Answer(200, json.dumps([{"jsonrpc": "2.0", "id": 0, "error": error}]).encode())

    with (
        rpc_proxy(project.hosts.rpc, refuse_logs) as believed,
        rpc_proxy(project.hosts.rpc, lambda calls: _changed(market, calls, fork_behind)) as wrong,
    ):
        project.setenv(RPC_URLS=f"{CHAIN_ID}={believed.url},{wrong.url}")
        outcome = call.request(FUNCTION)
        assert outcome.status == 503
        assert "is not that of node 0" in outcome.body["error"]
    assert cursor_of(store).block_number == parted_at

    project.setenv(RPC_URLS=f"{CHAIN_ID}={project.hosts.rpc}")
    eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == market.head())
    assert sequences_of(announced.events(), account) == [1, 2]
    assert cursor_of(store).halted is None


@pytest.mark.parametrize("second", ["on another fork", "away"])
def test_the_second_reading_goes_on_without_a_provider_that_is(
    second: str,
    call: Caller,
    market: Market,
    project: Project,
    store: firestore.Client,
    tap: Callable[[str], Tap],
) -> None:
    describe_chain(market, project, 2_000, finality=1)
    final = tap(topics.FINALIZED_EVENTS)
    account = make_deposits(market, 3)
    last = market.head()
    market.mine_empty(40)
    with rpc_proxy(project.hosts.rpc, lambda calls: _changed(market, calls, _wholly_other_fork)) as wrong:
        other = wrong.url if second == "on another fork" else f"http://127.0.0.1:{closed_port()}"
        project.setenv(RPC_URLS=f"{CHAIN_ID}={project.hosts.rpc},{other}")
        eventually(lambda: relay(call) == 200 and cursor_of(store).verified_number >= last)
    assert sequences_of(final.events(), account) == [1, 2, 3]
    assert (cursor_of(store).revision, cursor_of(store).halted, cursor_of(store).differences) == (0, None, 0)


def test_a_second_reading_does_not_wait_for_a_provider_that_was_silent(
    market: Market, project: Project
) -> None:
    make_deposits(market, 1)
    last = market.head()
    market.mine_empty(3)
    project.setenv(RPC_URLS=f"{CHAIN_ID}={project.hosts.rpc},{project.hosts.rpc}/second")
    settings = project.settings("NETWORK_FILE", "RPC_URLS")
    trace = f"00-{clock.new_id()}-{'1' * 16}-01"
    context = Context(FUNCTION, settings, datetime.now(UTC), clock.new_id(), trace)
    chain_relay = ChainRelay(context, context.network.chains[CHAIN_ID])
    _, second = chain_relay.nodes.providers
    second.health.timed_out()
    view = look(chain_relay.nodes, chain_relay.chain, None)

    found = chain_relay.read(view, last, last, again=True)

    assert len(found.logs) > 0
    assert second.health.figures().requests == 0


@pytest.mark.parametrize("spoilt", ["an event was not announced", "one was invented"])
def test_the_second_reading_repairs_what_was_announced_wrongly(
    call: Caller,
    market: Market,
    project: Project,
    store: firestore.Client,
    tap: Callable[[str], Tap],
    spoilt: str,
) -> None:
    """As if the first reading had been wrong: its record is changed behind its back."""
    describe_chain(market, project, 2_000, finality=1)
    account = make_deposits(market, 3)
    announced, operations = tap(topics.SETTLEMENT_EVENTS), tap(topics.OPERATIONS_ALERTS)
    assert relay(call) == 200
    first = announced.events()
    record = announced_blocks.list_between(store, CHAIN_ID, market.start_block, None, limit=1)[0]
    fields = announced_blocks.encode(record)
    if spoilt == "one was invented":
        invented = first[0].model_copy(update={"event_id": first[0].event_id[:-1] + "7", "log_index": 7})
        extra = {"event_id": invented.event_id, "data": invented.encode(), "ordering_key": "k"}
        fields["announcements"].append(extra)
    else:
        fields["announcements"] = []
    commit = database.Commit(store)
    commit.put(record.path, fields)
    commit.apply()
    market.mine_empty(40)

    eventually(lambda: relay(call) == 200 and cursor_of(store).verified_number >= market.start_block + 2)

    (repair,) = announced.events()
    if spoilt == "one was invented":
        assert isinstance(repair, EventRetracted)
        assert repair.retracted.log_index == 7
    else:
        assert repair == first[0]
    (alert,) = operations.events()
    assert (alert.kind, alert.details["provider"]) == ("logs_incomplete", "announced")
    assert cursor_of(store).differences == 1
    assert announced_blocks.list_between(store, CHAIN_ID, 0, market.start_block + 2, limit=9) == []
    assert sequences_of(first, account) == [1, 2, 3]
