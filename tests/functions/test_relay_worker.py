"""relay_chain_events as a worker, and woken by a node's socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from google.cloud import firestore
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

import worker
from local.emulators import base_environment
from shared.events import topics
from shared.manifest import load_manifest
from shared.stores import leases
from tests.conftest import ROOT, Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Outbox, Tap
from tests.functions.relaying import FUNCTION, cursor_of, make_deposits, relay, sequences_of
from tests.messages import CHAIN_ID

_LONG_S = 600


@contextlib.contextmanager
def working(project: Project, **changes: str) -> Iterator[subprocess.Popen[str]]:
    """A worker of the test's project, with other settings where they are named."""
    environment = {**os.environ, **base_environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'graphql'}", **changes}
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", FUNCTION],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def test_the_workers_are_those_of_the_manifest() -> None:
    manifest = load_manifest(ROOT / "functions.yaml")
    assert set(worker.WORKERS) == {each.name for each in manifest.functions.values() if each.worker}


def test_a_worker_goes_on_from_window_to_window_and_ends_when_it_is_told_to(
    market: Market,
    project: Project,
    store: firestore.Client,
    tap: Callable[[str], Tap],
    outbox_left: Outbox,
) -> None:
    announced = tap(topics.SETTLEMENT_EVENTS)
    with working(project, WINDOW_S="0.3", RELAY_INTERVAL_S="0.05") as process:
        accounts = []
        for _ in range(3):
            accounts.append(make_deposits(market, 2))
            eventually(lambda: cursor_of(store).block_number == market.head(), within_s=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    events = announced.events()
    assert [sequences_of(events, account) for account in accounts] == [[1, 2]] * 3
    # Everything that was committed is published, and the lease is there for the next one.
    assert outbox_left.ids() == []
    lease = store.collection(leases.COLLECTION).document(FUNCTION).get().to_dict()
    assert lease is not None
    assert lease["owner"] == ""


def test_a_worker_that_waits_ends_at_once(market: Market, project: Project, store: firestore.Client) -> None:
    market.mine_empty()
    with working(project, WINDOW_S=str(_LONG_S), RELAY_INTERVAL_S="1") as process:
        eventually(lambda: cursor_of(store).block_number == market.head(), within_s=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_function_finds_the_lease_taken_while_a_worker_works(
    call: Caller, market: Market, project: Project, store: firestore.Client
) -> None:
    market.mine_empty()
    with working(project, WINDOW_S=str(_LONG_S), RELAY_INTERVAL_S="0.05"):
        eventually(lambda: cursor_of(store).block_number == market.head(), within_s=30)
        outcome = call.request(FUNCTION)
        assert (outcome.status, outcome.body) == (200, {"looks": 0})


@pytest.mark.parametrize("missing", ["RPC_URLS", "NETWORK_FILE", "NEW_HEADS_URLS"])
def test_a_worker_refuses_to_start_without_what_it_needs(project: Project, missing: str) -> None:
    with working(project, **{missing: ""}) as process:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1
    assert "refusing to start" in said
    assert missing in said


def test_only_what_is_a_worker_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    assert worker.run(["notify"]) == 1
    assert worker.run([]) == 1
    assert "usage: python -m worker relay_chain_events" in capsys.readouterr().err


def test_a_new_head_wakes_the_relay_long_before_its_next_look(
    market: Market, project: Project, store: firestore.Client
) -> None:
    project.setenv(
        NEW_HEADS_URLS=f"{CHAIN_ID}={project.hosts.rpc.replace('http', 'ws', 1)}",
        RELAY_INTERVAL_S=str(_LONG_S),
    )
    market.mine_empty()
    with working(project, WINDOW_S=str(2 * _LONG_S)):
        eventually(lambda: cursor_of(store).block_number == market.head(), within_s=30)
        before = market.head()
        market.mine_empty()

        def follows() -> bool:
            # A head that came before the socket was open wakes nobody; the next one does.
            market.mine_empty()
            return cursor_of(store).block_number > before

        eventually(follows, within_s=30)


@pytest.mark.parametrize("manner", ["silent", "lying", "gone"])
def test_a_socket_that_is_of_no_use_costs_no_event(
    call: Caller,
    market: Market,
    project: Project,
    store: firestore.Client,
    tap: Callable[[str], Tap],
    manner: str,
) -> None:
    def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            connection.recv()
            connection.send(json.dumps({"jsonrpc": "2.0", "id": 1, "result": "0x1"}))
            number = 10**9
            while manner == "lying":
                # Heads of a chain that is not there, as fast as they go out.
                number += 1
                head = {"hash": f"0x{number:064x}", "number": hex(number)}
                connection.send(json.dumps({"params": {"result": head}}))
            if manner == "silent":
                connection.recv()

    announced = tap(topics.SETTLEMENT_EVENTS)
    with serve(talk, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        project.setenv(NEW_HEADS_URLS=f"{CHAIN_ID}=ws://127.0.0.1:{server.socket.getsockname()[1]}")
        account = make_deposits(market, 2)
        assert relay(call) == 200
        make_more = make_deposits(market, 1)
        eventually(lambda: relay(call) == 200 and cursor_of(store).block_number == market.head())
        server.shutdown()
        thread.join()
    events = announced.events()
    assert sequences_of(events, account) == [1, 2]
    assert sequences_of(events, make_more) == [1]
