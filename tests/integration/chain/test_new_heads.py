"""New heads over WebSocket: each wakes, and a socket that is lost, silent or wrong is opened again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from local.chain import LocalChain
from local.emulators import EmulatorHosts
from shared.chain.new_heads import NewHeads
from tests.eventually import eventually
from tests.servers import closed_port

_SUBSCRIBED = json.dumps({"jsonrpc": "2.0", "id": 1, "result": "0x1"})


class Woken:
    """How often something was rung."""

    def __init__(self) -> None:
        self.count = 0

    def ring(self) -> None:
        """Once more."""
        self.count += 1


@pytest.fixture
def woken() -> Woken:
    """Counts."""
    return Woken()


def _head(number: int) -> str:
    head = {"hash": f"0x{number:064x}", "number": hex(number)}
    return json.dumps(
        {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0x1", "result": head}}
    )


@contextmanager
def _node(talk: Callable[[ServerConnection, int], None]) -> Iterator[tuple[str, list[Any]]]:
    """A node whose sockets say what ``talk`` says, by their number from 0; its URL and what it was asked."""
    asked: list[Any] = []

    def handle(connection: ServerConnection) -> None:
        number = len(asked)
        try:
            asked.append(json.loads(connection.recv()))
            talk(connection, number)
        except ConnectionClosed:
            return

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}", asked
        server.shutdown()
        thread.join()


def _until_closed(connection: ServerConnection) -> None:
    with pytest.raises(ConnectionClosed):
        connection.recv()


def test_the_blocks_of_a_node_wake(emulators: EmulatorHosts, woken: Woken) -> None:
    node = LocalChain(emulators.rpc).client

    def woken_by_a_block() -> bool:
        node.call("anvil_mine", "0x1")
        return woken.count > 0

    with NewHeads([emulators.rpc.replace("http", "ws", 1)], woken.ring):
        # One that is mined before the socket is open wakes nobody.
        eventually(woken_by_a_block)
        heard = woken.count
        node.call("anvil_mine", "0x1")
        eventually(lambda: woken.count > heard)


def test_a_head_that_is_repeated_wakes_once(woken: Woken) -> None:
    def talk(connection: ServerConnection, _number: int) -> None:
        connection.send(_SUBSCRIBED)
        for number in (1, 1, 1, 2, 2):
            connection.send(_head(number))
        _until_closed(connection)

    with _node(talk) as (url, asked), NewHeads([url], woken.ring):
        eventually(lambda: woken.count == 2)
    assert asked == [{"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}]
    assert woken.count == 2


@pytest.mark.parametrize(
    "said",
    [
        [],
        ["not JSON"],
        ["[]"],
        [json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no such method"}})],
        [_SUBSCRIBED, "{}"],
        [_SUBSCRIBED, '{"params": {"result": "0x1"}}'],
        [_SUBSCRIBED, b"\xff\xfe"],
    ],
    ids=["nothing", "no JSON", "no object", "refused", "no head", "a head of another kind", "bytes"],
)
def test_a_socket_that_is_silent_or_talks_nonsense_is_opened_again(
    said: list[str | bytes], woken: Woken
) -> None:
    def talk(connection: ServerConnection, number: int) -> None:
        if number == 0:
            for message in said:
                connection.send(message)
        else:
            connection.send(_SUBSCRIBED)
            connection.send(_head(1))
        _until_closed(connection)

    with (
        _node(talk) as (url, asked),
        NewHeads([url], woken.ring, longest_silence_s=0.1, first_pause_s=0.01),
    ):
        eventually(lambda: woken.count > 0)
    assert len(asked) >= 2


def test_a_socket_that_breaks_is_opened_again(woken: Woken) -> None:
    def talk(connection: ServerConnection, number: int) -> None:
        connection.send(_SUBSCRIBED)
        connection.send(_head(number))

    with _node(talk) as (url, asked), NewHeads([url], woken.ring, first_pause_s=0.01):
        eventually(lambda: woken.count >= 3)
    assert len(asked) >= 3


def test_where_nothing_listens_nobody_is_held_up(woken: Woken) -> None:
    with NewHeads([f"ws://127.0.0.1:{closed_port()}"], woken.ring, first_pause_s=0.01):
        pass
    assert woken.count == 0


def test_it_ends_while_a_socket_is_open(woken: Woken) -> None:
    closed = threading.Event()

    def talk(connection: ServerConnection, _number: int) -> None:
        connection.send(_SUBSCRIBED)
        connection.send(_head(1))
        _until_closed(connection)
        closed.set()

    with _node(talk) as (url, _):
        with NewHeads([url], woken.ring):
            eventually(lambda: woken.count == 1)
        assert closed.wait(5)
