"""submitSettlementCommand and what asks for its commands: each client key names one command for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.cloud.pubsub_v1 import SubscriberClient

from shared.events import topics
from shared.stores import custody, settlement_commands
from tests.gateway.conftest import Server
from tests.gateway.escrow_records import put_dvp, put_escrow
from tests.gateway.world import World, address
from tests.repository.sources import ROOT

SUBMIT = (ROOT / "graphql/operations/submit_settlement_command.graphql").read_text()
NATIVE = {"name": "asset", "value": "0x" + "00" * 20}
LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()


def _input(**changes: Any) -> dict[str, Any]:
    return {
        "accountId": address(1),
        "clientKey": "order-1",
        "chainId": 31337,
        "kind": "VAULT_DEPOSIT",
        "arguments": [NATIVE, {"name": "amount", "value": "5"}],
        "deadline": LATER,
    } | changes


@pytest.fixture
def key(world: World) -> str:
    """A key that may do everything; the account is in custody."""
    custody.put(world.client, custody.Custody(address(1), None))
    return world.key()


def _submit(server: Server, key: str, **changes: Any) -> Mapping[str, Any]:
    result: Mapping[str, Any] = server.query(SUBMIT, {"input": _input(**changes)}, key=key)[
        "submitSettlementCommand"
    ]
    return result


def test_a_command_is_recorded_and_announced_once_whatever_is_repeated(
    server: Server, world: World, key: str
) -> None:
    subscriber = SubscriberClient()
    project = world.project.project_id
    subscription = subscriber.subscription_path(project, "tap-commands")
    topic = f"projects/{project}/topics/{topics.SETTLEMENT_COMMANDS}"
    subscriber.create_subscription(name=subscription, topic=topic)

    first = _submit(server, key)
    assert first["__typename"] == "SettlementCommandAccepted"
    assert first["command"]["status"] == "ACCEPTED"
    again = _submit(server, key)
    assert (again["__typename"], again["command"]) == ("SettlementCommandRepeated", first["command"])

    request = {"subscription": subscription, "max_messages": 10, "return_immediately": True}
    (received,) = subscriber.pull(request=request).received_messages
    subscriber.close()
    announced = json.loads(received.message.data)
    assert announced["event_id"] == first["command"]["id"]
    assert announced["arguments"] == {"asset": NATIVE["value"], "amount": "5"}
    assert received.message.attributes["event_ordering_key"] == address(1)
    assert list(world.client.collection("outbox").stream()) == []


def test_equal_commands_written_differently_are_the_same(server: Server, key: str) -> None:
    asset = "0x" + "00" * 19 + "02"
    arguments = [{"name": "asset", "value": asset}, {"name": "amount", "value": "5"}]
    zoned = datetime.fromisoformat(LATER).astimezone(timezone(timedelta(hours=9))).isoformat()
    first = _submit(server, key, kind="VAULT_BORROW", arguments=arguments)
    again = _submit(
        server,
        key,
        accountId="0x" + address(1)[2:].upper(),
        kind="VAULT_BORROW",
        arguments=arguments[::-1],
        deadline=zoned,
    )
    assert again["__typename"] == "SettlementCommandRepeated"
    assert again["command"]["id"] == first["command"]["id"]


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": [NATIVE, {"name": "amount", "value": "6"}]},
        {"deadline": (datetime.now(UTC) + timedelta(days=2)).isoformat()},
        {"kind": "VAULT_REPAY"},
    ],
)
def test_another_body_under_the_same_key_is_a_conflict(
    server: Server, key: str, change: dict[str, Any]
) -> None:
    first = _submit(server, key)
    conflict = _submit(server, key, **change)
    assert conflict["__typename"] == "SettlementCommandConflict"
    assert conflict["commandId"] == first["command"]["id"]
    assert _submit(server, key)["__typename"] == "SettlementCommandRepeated"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"accountId": address(2)}, "accountId"),
        ({"clientKey": ""}, "clientKey"),
        ({"chainId": 5}, "chainId"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "deadline"),
        ({"deadline": "2099-01-01T00:00:00Z"}, "deadline"),
        ({"arguments": [NATIVE]}, "arguments.amount"),
        ({"arguments": [NATIVE, {"name": "amount", "value": "1.5"}]}, "arguments.amount"),
        ({"arguments": [NATIVE, {"name": "amount", "value": str(2**256)}]}, "arguments.amount"),
        ({"arguments": [{"name": "amount", "value": "1"}] * 2}, "arguments.amount"),
        ({"arguments": [{"name": "colour", "value": "red"}]}, "arguments.colour"),
    ],
)
def test_a_command_that_cannot_be_accepted_is_refused_by_field(
    server: Server, world: World, key: str, change: dict[str, Any], field: str
) -> None:
    refused = _submit(server, key, **change)
    assert (refused["__typename"], refused["field"]) == ("SettlementCommandRefused", field)
    assert refused["reason"]
    assert list(world.client.collection(settlement_commands.COLLECTION).stream()) == []


def test_the_same_key_sent_many_times_at_once_is_accepted_once(server: Server, key: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _submit(server, key), range(8)))
    names = sorted(answer["__typename"] for answer in answers)
    assert names == ["SettlementCommandAccepted"] + ["SettlementCommandRepeated"] * 7
    assert len({answer["command"]["id"] for answer in answers}) == 1


def test_a_repeat_after_the_deadline_gets_the_same_answer(server: Server, world: World, key: str) -> None:
    command = world.put_command(1)
    past = datetime.now(UTC) - timedelta(hours=1)
    path = settlement_commands.path(command.command_id)
    world.client.document(path).update({"deadline": past})
    again = _submit(
        server,
        key,
        clientKey="order",
        arguments=[NATIVE, {"name": "amount", "value": str(2**256 - 1)}],
        deadline=past.isoformat(),
    )
    assert (again["__typename"], again["command"]["id"]) == ("SettlementCommandRepeated", command.command_id)


def test_commands_are_paged_the_last_accepted_first(server: Server, world: World, key: str) -> None:
    for number in range(3):
        _submit(server, key, clientKey=f"order-{number}")
    world.put_command(2)
    query = (ROOT / "graphql/operations/settlement_commands.graphql").read_text()
    found: list[str] = []
    after = None
    while True:
        variables = {"accountId": address(1), "first": 2, "after": after}
        page = server.query(query, variables, key=key)["settlementCommands"]
        found += [edge["node"]["clientKey"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert found == ["order-2", "order-1", "order-0"]


def test_an_id_that_no_document_can_have_is_not_found(server: Server, key: str) -> None:
    for command_id in ("", "a/b", "cmd_" + "g" * 40, "x" * 5_000):
        answer = server.query(
            "query Q($id: ID!) { settlementCommand(id: $id) { id } }", {"id": command_id}, key=key
        )
        assert answer == {"settlementCommand": None}


PREPARED = (ROOT / "graphql/operations/prepared_command.graphql").read_text()


def _prepare(
    server: Server, key: str, kind: str, arguments: Mapping[str, str], *, sender: int = 1
) -> Mapping[str, Any]:
    prepared = {
        "sender": address(sender),
        "chainId": 31337,
        "kind": kind,
        "arguments": [{"name": name, "value": value} for name, value in arguments.items()],
    }
    result: Mapping[str, Any] = server.query(PREPARED, {"prepared": prepared}, key=key)["preparedCommand"]
    return result


def test_a_command_is_prepared_for_a_wallet_and_nothing_is_recorded(server: Server, world: World) -> None:
    key = world.key(accounts=[address(1)])
    prepared = _prepare(server, key, "VAULT_DEPOSIT", {"asset": NATIVE["value"], "amount": "5"})
    assert prepared["arguments"] == [{"name": "amount", "value": "5"}, NATIVE]
    transaction = prepared["transaction"]
    assert (transaction["chainId"], transaction["sender"]) == (31337, address(1))
    assert (transaction["to"], transaction["valueBase"]) == ("0x" + "aa" * 20, "5")
    assert transaction["data"].startswith("0x47e7ef24")
    assert list(world.client.collection(settlement_commands.COLLECTION).stream()) == []


def test_a_party_of_a_trade_is_given_its_own_leg_to_send(server: Server, world: World) -> None:
    put_dvp(world, 21, seller=1, buyer=2)
    key = world.key()
    escrow = {"escrow": address(21)}
    seller = _prepare(server, key, "DVP_DEPOSIT", escrow)["transaction"]
    assert (seller["to"], seller["valueBase"]) == (address(21), str(2**256 - 1))
    buyer = _prepare(server, key, "DVP_DEPOSIT", escrow, sender=2)["transaction"]
    assert (buyer["to"], buyer["valueBase"]) == (address(21), "0")


def test_every_kind_can_be_prepared_or_says_what_is_wrong_with_it(server: Server, world: World) -> None:
    put_escrow(world, 22, payer=1)
    put_dvp(world, 21, seller=1, buyer=2)
    key = world.key(accounts=[address(1)])
    samples = {
        "address": address(2),
        "uint8": "1",
        "uint16": "1",
        "uint64": "1",
        "uint256": "1",
        "bytes32": "0x" + "00" * 32,
        "bytes": "0x00",
    }
    ours = {"spender": "0x" + "aa" * 20, "seller": address(1)}
    kinds = server.query("{ settlementCommandKinds { kind parameters { name type } } }", key=key)
    seen = {}
    for each in kinds["settlementCommandKinds"]:
        escrow = {"escrow": address(21 if each["kind"].startswith("DVP") else 22)}
        given = {
            parameter["name"]: (ours | escrow).get(parameter["name"], samples[parameter["type"]])
            for parameter in each["parameters"]
        }
        seen[each["kind"]] = _prepare(server, key, each["kind"], given)
    refused = {kind: answer["field"] for kind, answer in seen.items() if "field" in answer}
    # Nothing needs to be allowed of the native asset.
    assert refused == {"DVP_ALLOW_DEPOSIT": "arguments.escrow"}


@pytest.mark.parametrize(
    ("kind", "arguments", "field"),
    [
        ("VAULT_DEPOSIT", {"asset": NATIVE["value"], "amount": "0"}, "arguments.amount"),
        ("ESCROW_APPROVE", {"escrow": address(99)}, "arguments.escrow"),
        ("ESCROW_APPROVE", {"escrow": address(21)}, "arguments.escrow"),
        ("DVP_REFUND", {"escrow": address(22)}, "arguments.escrow"),
        ("DVP_DEPOSIT", {"escrow": address(23)}, "arguments.escrow"),
    ],
)
def test_what_cannot_be_prepared_is_refused_by_field(
    server: Server, world: World, kind: str, arguments: dict[str, str], field: str
) -> None:
    put_dvp(world, 21, seller=1)
    put_escrow(world, 22, payer=1)
    put_dvp(world, 23, seller=3, buyer=4)
    refused = _prepare(server, world.key(accounts=[address(1)]), kind, arguments)
    assert (refused["__typename"], refused["field"]) == ("SettlementCommandRefused", field)
