"""What subscribers are told, over both transports, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.cloud.pubsub_v1 import SubscriberClient

from shared.domain.margin import State
from shared.events import topics
from tests.conftest import network_document
from tests.eventually import eventually
from tests.gateway.conftest import Server, running
from tests.gateway.world import World, address

HEALTH = """
subscription($ids: [ID!]!) { marginHealth(accountIds: $ids) { kind sequence accounts {
  accountId state unvaluedAssets valuedState collateralUsd healthPct tickSequence positionVersion
  transitions } } }
"""
MARKS = "subscription { marks { kind sequence current marks { asset status price } } }"
ONE = {"ids": [address(1)]}


def test_a_snapshot_then_every_tick(server: Server, world: World) -> None:
    world.put_accounts(world.account(1), world.account(2, eth="20"))
    world.put_record(1, State.HEALTHY, transitions=2)
    with server.socket(world.key()) as socket:
        socket.subscribe("a", HEALTH, {"ids": [address(2), address(1)]})
        snapshot = socket.next("a")
        assert (snapshot["kind"], snapshot["sequence"]) == ("SNAPSHOT", None)
        assert [account["state"] for account in snapshot["accounts"]] == ["UNVALUED", "UNVALUED"]
        assert snapshot["accounts"][1]["unvaluedAssets"] == ["ETH", "USDC"]
        world.announce_tick(world.tick(7, eth="1400"))
        update = socket.next("a")
        assert (update["kind"], update["sequence"]) == ("UPDATE", 7)
        assert update["accounts"] == [
            {
                "accountId": address(number),
                "state": state,
                "unvaluedAssets": [],
                "valuedState": state,
                "collateralUsd": collateral,
                "healthPct": health,
                "tickSequence": 7,
                "positionVersion": 1,
                "transitions": transitions,
            }
            for number, state, collateral, health, transitions in (
                (2, "HEALTHY", "28000.000000", 180.0, 0),
                (1, "WARNING", "14000.000000", 40.0, 2),
            )
        ]


def test_server_sent_events_tell_the_same(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    world.announce_tick(world.tick(1))
    key = world.key()
    eventually(lambda: server.query("{ marks { sequence } }", key=key)["marks"])
    with server.events(HEALTH, ONE, key=key) as events, server.socket(key) as socket:
        socket.subscribe("a", HEALTH, ONE)
        for sequence, eth in ((2, "1600"), (3, "1200")):
            assert next(events)["data"]["marginHealth"] == socket.next("a")
            world.announce_tick(world.tick(sequence, eth=eth))
        last = next(events)["data"]["marginHealth"]
        assert last == socket.next("a")
        assert (last["sequence"], last["accounts"][0]["state"]) == (3, "MARGIN_CALL")


def test_a_query_over_server_sent_events_is_one_event(server: Server, world: World) -> None:
    with server.events("{ __typename }", key=world.key()) as events:
        assert list(events) == [{"data": {"__typename": "Query"}}]


def test_a_client_that_reconnects_sees_the_newest_sequence(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    key = world.key()
    with server.socket(key) as socket:
        socket.subscribe("a", HEALTH, ONE)
        socket.next("a")
        world.announce_tick(world.tick(1))
        assert socket.next("a")["sequence"] == 1
    with server.socket(key) as watcher:
        watcher.subscribe("m", MARKS)
        assert watcher.next("m")["sequence"] == 1
        for sequence in (2, 3):
            world.announce_tick(world.tick(sequence, eth="1100"))
            assert watcher.next("m")["sequence"] == sequence
    with server.socket(key) as socket:
        socket.subscribe("a", HEALTH, ONE)
        snapshot = socket.next("a")
        assert (snapshot["kind"], snapshot["sequence"]) == ("SNAPSHOT", 3)
        assert snapshot["accounts"][0]["state"] == "LIQUIDATION"


def test_older_and_repeated_messages_change_nothing(server: Server, world: World) -> None:
    world.put_accounts(world.account(1, version=3))
    fifth = world.tick(5)
    with server.socket(world.key()) as socket:
        socket.subscribe("a", HEALTH, ONE)
        socket.next("a")
        world.announce_tick(fifth)
        assert socket.next("a")["sequence"] == 5
        world.announce_tick(world.tick(4, eth="1"))
        world.announce_tick(fifth)
        world.announce_positions(world.account(1, eth="1", version=2))
        world.announce_positions(world.account(1, eth="1", version=3))
        world.announce_tick(world.tick(6, eth="1999"))
        update = socket.next("a")
        assert (update["sequence"], update["accounts"][0]["collateralUsd"]) == (6, "19990.000000")


def test_new_positions_are_valued_at_once(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    with server.socket(world.key()) as socket:
        socket.subscribe("a", HEALTH, ONE)
        socket.next("a")
        world.announce_tick(world.tick(1))
        assert socket.next("a")["accounts"][0]["healthPct"] == 100.0
        world.announce_positions(world.account(1, eth="6", version=2))
        account = socket.next("a")["accounts"][0]
        assert (account["positionVersion"], account["healthPct"], account["state"]) == (
            2,
            20.0,
            "MARGIN_CALL",
        )


def test_an_announced_transition_decides_the_hysteresis(server: Server, world: World) -> None:
    """The gateway did not see the tick at which the account fell below 50; 51 is within the band."""
    world.put_accounts(world.account(1))
    world.put_record(1, State.HEALTHY, transitions=1)
    with server.socket(world.key()) as socket:
        socket.subscribe("a", HEALTH, ONE)
        socket.next("a")
        world.announce_tick(world.tick(2, eth="1510"))
        account = socket.next("a")["accounts"][0]
        assert (account["state"], account["transitions"]) == ("HEALTHY", 1)
        world.announce_transition(world.transition(1, 2, State.WARNING, tick_sequence=2))
        account = socket.next("a")["accounts"][0]
        assert (account["state"], account["transitions"], account["healthPct"]) == ("WARNING", 2, 51.0)
        world.announce_transition(world.transition(1, 2, State.HEALTHY, tick_sequence=2))
        world.announce_tick(world.tick(3, eth="1520"))
        assert socket.next("a")["accounts"][0]["state"] == "HEALTHY"


def test_accounts_become_unvalued_when_ticks_stop(world: World) -> None:
    world.project.write_network({**network_document(), "tick_max_age_s": 1})
    world.put_accounts(world.account(1))
    with running() as server, server.socket(world.key()) as socket:
        socket.subscribe("a", HEALTH, ONE)
        socket.next("a")
        world.announce_tick(world.tick(1))
        assert socket.next("a")["accounts"][0]["state"] == "HEALTHY"
        account = socket.next("a")["accounts"][0]
        assert (account["state"], account["unvaluedAssets"]) == ("UNVALUED", ["ETH", "USDC"])
        assert (account["valuedState"], account["tickSequence"], account["healthPct"]) == ("HEALTHY", 1, None)
        socket.subscribe("m", MARKS)
        assert socket.next("m")["current"] is False


def test_one_stale_mark_names_its_asset(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    with server.socket(world.key()) as socket:
        socket.subscribe("a", HEALTH, ONE)
        socket.next("a")
        world.announce_tick(world.tick(1, usdc=None))
        account = socket.next("a")["accounts"][0]
        assert (account["state"], account["unvaluedAssets"]) == ("UNVALUED", ["USDC"])


def test_marks_are_shown_as_they_may_be_used(server: Server, world: World) -> None:
    with server.socket(world.key()) as socket:
        socket.subscribe("m", MARKS)
        world.announce_tick(world.tick(1, eth="1999.50", usdc=None))
        assert socket.next("m") == {
            "kind": "SNAPSHOT",
            "sequence": 1,
            "current": True,
            "marks": [
                {"asset": "ETH", "status": "OK", "price": "1999.50"},
                {"asset": "USDC", "status": "STALE", "price": None},
            ],
        }
        world.announce_tick(world.tick(2))
        assert socket.next("m")["kind"] == "UPDATE"


def test_a_tick_costs_no_firestore_operation(server: Server, world: World) -> None:
    ids = [address(number) for number in range(1, 51)]
    world.put_accounts(*(world.account(number) for number in range(1, 51)))
    with server.socket(world.key()) as one, server.socket(world.key()) as two:
        server.reads.clear()
        for socket in (one, two):
            socket.subscribe("a", HEALTH, {"ids": ids})
            socket.next("a")
            socket.subscribe("b", HEALTH, {"ids": ids[:1]})
            socket.next("b")
        # One read of the accounts and one of their records, whoever else follows them.
        assert server.reads["find_all"] == 2
        server.reads.clear()
        for sequence in range(1, 6):
            world.announce_tick(world.tick(sequence, eth=str(2000 + sequence)))
            for socket in (one, two):
                received = {socket.receive()["id"], socket.receive()["id"]}
                assert received == {"a", "b"}
        # Keys are checked every few seconds; nothing else is read.
        assert server.reads["calls"] == server.reads["find"]


def test_a_slow_reader_gets_the_newest_state(server: Server, world: World) -> None:
    ids = [address(number) for number in range(1, 201)]
    world.put_accounts(*(world.account(number) for number in range(1, 201)))
    key = world.key()
    ticks = 400
    with server.socket(key) as slow, server.socket(key) as quick:
        slow.subscribe("a", HEALTH, {"ids": ids})
        slow.next("a")
        quick.subscribe("m", MARKS)
        for sequence in range(1, ticks + 1):
            world.announce_tick(world.tick(sequence, eth=str(2000 + sequence)))
        while quick.next("m")["sequence"] < ticks:
            pass
        sequences: list[int] = []
        while not sequences or sequences[-1] < ticks:
            sequences.append(slow.next("a")["sequence"])
    assert sequences == sorted(set(sequences))
    assert len(sequences) < ticks / 2, "every state was queued for a client that did not read"


def test_completing_one_subscription_leaves_the_other(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    with server.socket(world.key()) as socket:
        for identifier in ("a", "b"):
            socket.subscribe(identifier, HEALTH, ONE)
            socket.next(identifier)
        socket.send({"id": "a", "type": "complete"})
        socket.send({"type": "ping"})
        assert socket.receive() == {"type": "pong"}
        world.announce_tick(world.tick(1))
        assert socket.next("b")["sequence"] == 1
        world.announce_tick(world.tick(2))
        assert socket.next("b")["sequence"] == 2
        socket.subscribe("a", HEALTH, ONE)
        assert socket.next("a")["kind"] == "SNAPSHOT"


@pytest.mark.parametrize(
    "data", [b"\xff", b"[]", b"{}", b'{"event_id": "x"}', json.dumps({"sequence": "1"}).encode()]
)
def test_malformed_messages_stop_nothing(server: Server, world: World, data: bytes) -> None:
    world.put_accounts(world.account(1))
    key = world.key()
    with server.socket(key) as socket:
        socket.subscribe("a", HEALTH, ONE)
        socket.next("a")
        for topic in (topics.MARKET_PRICES, topics.POSITIONS_CHANGED, topics.MARGIN_ALERTS):
            world.publish(topic, data)
        world.announce_tick(world.tick(1))
        assert socket.next("a")["sequence"] == 1
        refused = "{ systemStatus { refusedMessages } }"
        eventually(lambda: server.query(refused, key=key)["systemStatus"]["refusedMessages"] == 3)


def live_subscriptions(world: World) -> list[str]:
    """The ephemeral subscriptions of the project."""
    with SubscriberClient() as client:
        found = client.list_subscriptions(request={"project": f"projects/{world.settings.project}"})
        return [subscription.name for subscription in found if "gateway-" in subscription.name]


def test_ephemeral_subscriptions_go_with_the_process(world: World) -> None:
    with running():
        assert len(live_subscriptions(world)) == 3
    assert live_subscriptions(world) == []


def test_a_subscription_that_is_lost_comes_back_without_a_gap(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    with server.socket(world.key()) as socket:
        socket.subscribe("a", HEALTH, ONE)
        socket.next("a")
        before = live_subscriptions(world)
        with SubscriberClient() as client:
            for name in before:
                client.delete_subscription(request={"subscription": name})
        # Announced while nobody listens: read from the store once the gateway listens again.
        world.put_tick(world.tick(1))
        assert socket.next("a")["sequence"] == 1
        eventually(lambda: len(live_subscriptions(world)) == 3)
        world.announce_tick(world.tick(2))

        def latest() -> Any:
            return socket.next("a")["sequence"] == 2

        eventually(latest)
