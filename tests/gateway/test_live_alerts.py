"""Live alerts: nothing is missed, and with named accounts nothing comes twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from gateway.alerts.cursors import encode_sequences
from gateway.alerts.streams import LATEST, AccountAlertsStream
from gateway.live.hub import LiveHub
from gateway.reading import StoreReader
from shared.events.margin import transition_id
from shared.runtime.context import load_network
from tests.gateway.conftest import Server, Socket
from tests.gateway.world import World, address

ALERTS = """
subscription($ids: [ID!], $after: String) { alerts(accountIds: $ids, after: $after) {
  kind cursor alerts { id sequence state } } }
"""
BOTH = [address(1), address(2)]


def ids(message: dict[str, Any]) -> list[str]:
    """The ids of a message's alerts."""
    return [alert["id"] for alert in message["alerts"]]


def of(number: int, *sequences: int) -> list[str]:
    """The ids of an account's alerts."""
    return [transition_id(address(number), sequence) for sequence in sequences]


def collect(socket: Socket, identifier: str, count: int) -> tuple[list[str], str]:
    """The ids of the next ``count`` alerts and the last message's cursor."""
    found: list[str] = []
    cursor = ""
    while len(found) < count:
        message = socket.next(identifier)
        found += ids(message)
        cursor = message["cursor"]
    return found, cursor


def test_the_latest_then_every_new_one(server: Server, world: World) -> None:
    world.put_alerts(*(world.transition(1, n) for n in range(1, 31)))
    world.put_alerts(world.transition(2, 1, as_of=world.now + timedelta(seconds=25.5)))
    with server.socket(world.key()) as socket:
        socket.subscribe("a", ALERTS, {"ids": BOTH})
        snapshot = socket.next("a")
        assert snapshot["kind"] == "SNAPSHOT"
        expected = of(1, *range(12, 26)) + of(2, 1) + of(1, *range(26, 31))
        assert ids(snapshot) == expected
        assert len(expected) == LATEST
        world.put_alerts(world.transition(2, 2), announce=True)
        update = socket.next("a")
        assert (update["kind"], ids(update)) == ("UPDATE", of(2, 2))


def test_an_empty_snapshot_says_that_nothing_was_missed(server: Server, world: World) -> None:
    with server.socket(world.key()) as socket:
        socket.subscribe("a", ALERTS, {"ids": BOTH})
        assert socket.next("a") == {"kind": "SNAPSHOT", "cursor": socket_cursor(0, 0), "alerts": []}


def socket_cursor(*sequences: int) -> str:
    """The cursor of these sequences of the two accounts."""
    return encode_sequences(BOTH, sequences)


def test_a_client_that_reconnects_gets_exactly_what_it_missed(server: Server, world: World) -> None:
    key = world.key()
    world.put_alerts(world.transition(1, 1), world.transition(1, 2))
    with server.socket(key) as socket:
        socket.subscribe("a", ALERTS, {"ids": BOTH})
        _, cursor = collect(socket, "a", 2)
    # More than a message holds, and one that is older than what the client has seen.
    world.put_alerts(*(world.transition(1, n) for n in range(3, 253)))
    world.put_alerts(world.transition(2, 1, as_of=world.now - timedelta(days=1)))
    with server.socket(key) as socket:
        socket.subscribe("a", ALERTS, {"ids": BOTH, "after": cursor})
        missed, cursor = collect(socket, "a", 251)
        assert sorted(missed) == sorted(of(1, *range(3, 253)) + of(2, 1))
        assert [i for i in missed if i.startswith(address(1))] == of(1, *range(3, 253))
        world.put_alerts(world.transition(2, 2), announce=True)
        assert ids(socket.next("a")) == of(2, 2)
    with server.events(ALERTS, {"ids": BOTH, "after": cursor}, key=key) as events:
        assert ids(next(events)["data"]["alerts"]) == of(2, 2)


def test_a_gap_is_filled_from_the_store_and_repeats_are_dropped(server: Server, world: World) -> None:
    with server.socket(world.key()) as socket:
        socket.subscribe("a", ALERTS, {"ids": BOTH})
        socket.next("a")
        transitions = [world.transition(1, n) for n in (1, 2, 3, 4)]
        world.put_alerts(*transitions)
        for index in (2, 2, 0, 3):
            world.announce_transition(transitions[index])
        found, _ = collect(socket, "a", 4)
        assert found == of(1, 1, 2, 3, 4)
        world.put_alerts(world.transition(2, 1), announce=True)
        assert ids(socket.next("a")) == of(2, 1)


def test_what_happens_while_a_subscription_opens_is_sent(world: World) -> None:
    """More of it than the latest few: nobody said that these came before the subscription."""
    world.put_alerts(*(world.transition(number, 1) for number in range(1, 41)))
    accounts = [address(number) for number in range(1, 41)]
    burst = [world.transition(number, 2) for number in range(1, 41)]

    class InterruptedReader(StoreReader):
        """Lets the burst happen behind the first read."""

        async def read(self, function: Any, *args: Any, **kwargs: Any) -> Any:
            result = await super().read(function, *args, **kwargs)
            if burst:
                world.put_alerts(*burst)
                for transition in burst:
                    stream.offer(transition)
                burst.clear()
            return result

    reader = InterruptedReader(world.settings)
    stream = AccountAlertsStream(LiveHub(load_network(world.settings), reader), reader, accounts)

    async def taken() -> list[str]:
        await stream.open(None)
        found: list[str] = []
        while (message := stream.take()) is not None:
            found += [str(alert.id) for alert in message.alerts]
        return found

    sent = asyncio.run(taken())
    reader.close()
    assert sorted(sent) == sorted(transition_id(account, 2) for account in accounts)


def test_every_account_at_once(server: Server, world: World) -> None:
    world.put_alerts(*(world.transition(n, 1) for n in range(1, 131)))
    key = world.key()
    with server.socket(key) as socket:
        socket.subscribe("a", ALERTS)
        snapshot = socket.next("a")
        assert (snapshot["kind"], len(snapshot["alerts"])) == ("SNAPSHOT", LATEST)
        world.put_alerts(world.transition(7, 2), announce=True)
        message = socket.next("a")
        assert ids(message) == of(7, 2)
    # All of one tick: the same moment, more of them than one read takes.
    crash = world.now + timedelta(minutes=10)
    for start in range(0, 250, 120):
        numbers = range(1000 + start, min(1000 + start + 120, 1250))
        world.put_alerts(*(world.transition(number, 1, as_of=crash) for number in numbers))
    with server.socket(key) as socket:
        socket.subscribe("a", ALERTS, {"after": message["cursor"]})
        expected = {transition_id(address(number), 1) for number in range(1000, 1250)}
        seen: set[str] = set()
        while not expected <= seen:
            message = socket.next("a")
            assert not seen & set(ids(message)), "sent twice on one subscription"
            seen |= set(ids(message))


def test_a_cursor_of_something_else_is_refused(server: Server, world: World) -> None:
    for variables in (
        {"ids": [address(1)], "after": socket_cursor(0, 0)},
        {"ids": BOTH, "after": "nonsense"},
        {"after": socket_cursor(0, 0)},
        {"after": "m1.-1"},
    ):
        with server.socket(world.key()) as socket:
            socket.subscribe("a", ALERTS, variables)
            message = socket.receive()
            assert message["type"] == "error", variables
            assert message["payload"][0]["extensions"] == {"code": "BAD_USER_INPUT", "argument": "after"}
