"""A real gateway server on real emulators, what it reads, and clients for each transport."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from gateway.app import create_app, load_settings
from gateway.limits import Limits
from gateway.server import server_config
from shared.domain.api_keys import ApiKey, Scope, format_key, hash_secret
from shared.domain.escrows import Created, ReleasePolicy
from shared.domain.margin import MarginRecord, RecordedValuation, Severity, State
from shared.domain.marks import MarkStatus
from shared.domain.notifications import Channel, DeliveryStatus
from shared.domain.positions import Account, Position, position_key
from shared.events import topics
from shared.events.margin import MarginTransition, Valuation, transition_id
from shared.events.positions import Position as PositionOfEvent
from shared.events.positions import PositionsChanged, positions_id
from shared.events.prices import Mark, PriceTick, tick_id
from shared.messaging import publisher
from shared.messaging.publisher import OutboundMessage
from shared.stores import accounts, alerts, api_keys, database, deliveries, escrows, margin_states, ticks
from shared.stores.deliveries import Delivery
from tests.conftest import Project

ALL_SCOPES = frozenset(Scope)
WAIT_S = 15.0


def address(number: int) -> str:
    """The account id of a number."""
    return f"0x{number:040x}"


def eventually(check: Callable[[], Any], *, within_s: float = WAIT_S) -> Any:
    """The first true value of ``check``; the last failure where none came in time."""
    deadline = time.monotonic() + within_s
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s; last: {value!r}")
        threading.Event().wait(0.02)


class World:
    """Writes into the stores and topics what the functions write there."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.settings = load_settings()
        self.client = database.connect(self.settings)
        self.publisher = publisher.connect(self.settings)
        self.now = datetime.now(UTC)

    def key(
        self,
        scopes: Iterable[Scope] = ALL_SCOPES,
        accounts: Iterable[str] | None = None,
        *,
        enabled: bool = True,
        expires_at: datetime | None = None,
    ) -> str:
        """A new key, as its owner presents it."""
        key_id = secrets.token_hex(6)
        secret = secrets.token_urlsafe(32)
        allowed = None if accounts is None else frozenset(accounts)
        api_keys.put(
            self.client,
            ApiKey(key_id, hash_secret(secret), "test", frozenset(scopes), allowed, expires_at, enabled),
        )
        return format_key(key_id, secret)

    def change_key(self, presented: str, **changes: Any) -> None:
        """Change a key that exists."""
        stored = api_keys.find(self.client, presented.split("_")[1])
        assert stored is not None
        api_keys.put(self.client, replace(stored, **changes))

    def account(
        self,
        number: int,
        *,
        eth: str = "10",
        usdc_debt: str = "10000",
        version: int = 1,
        extra_asset: str | None = None,
    ) -> Account:
        """An account that holds ETH and owes USDC."""
        held = [
            Position(31337, "ETH", 18, int(Decimal(eth).scaleb(18)), 0, version),
            Position(31337, "USDC", 6, 0, int(Decimal(usdc_debt).scaleb(6)), version),
        ]
        if extra_asset is not None:
            held.append(Position(31337, extra_asset, 18, 10**18, 0, version))
        return Account(
            address(number), version, self.now, {position_key(p.chain_id, p.asset): p for p in held}
        )

    def put_accounts(self, *written: Account) -> None:
        """Write accounts."""
        for start in range(0, len(written), 400):
            commit = database.Commit(self.client)
            for account in written[start : start + 400]:
                commit.put(accounts.path(account.account_id), accounts.encode(account))
            commit.apply()

    def put_record(
        self, number: int, state: State, *, transitions: int = 0, tick_sequence: int = 1, version: int = 1
    ) -> None:
        """Write a margin record."""
        valued = state is not State.UNVALUED
        record = MarginRecord(
            account_id=address(number),
            state=state,
            valued_state=state if valued else None,
            transitions=transitions,
            unvalued_assets=() if valued else ("ETH",),
            valuation=RecordedValuation(Decimal(20000), Decimal(10000), 100.0) if valued else None,
            tick_sequence=tick_sequence,
            position_version=version,
            as_of=self.now,
        )
        commit = database.Commit(self.client)
        commit.put(margin_states.path(address(number)), margin_states.encode(record))
        commit.apply()

    def tick(
        self,
        sequence: int,
        *,
        eth: str | None = "2000",
        usdc: str | None = "1",
        as_of: datetime | None = None,
        max_age_s: int = 3900,
        observed_at: datetime | None = None,
    ) -> PriceTick:
        """A tick of ETH and USDC; None is a mark that is missing."""
        moment = as_of or datetime.now(UTC)
        marks = tuple(
            Mark(
                asset=asset,
                status=MarkStatus.OK if price is not None else MarkStatus.MISSING,
                price=None if price is None else Decimal(price),
                source="chainlink:31337",
                observed_at=(observed_at or moment) if price is not None else None,
                max_age_s=max_age_s,
                reason=None if price is not None else "the feed did not answer",
            )
            for asset, price in (("ETH", eth), ("USDC", usdc))
        )
        return PriceTick(
            event_id=tick_id(sequence), sequence=sequence, as_of=moment, block_numbers={}, marks=marks
        )

    def put_tick(self, tick: PriceTick) -> None:
        """Record a tick, as fetch_prices does before it is announced."""
        commit = database.Commit(self.client)
        ticks.add(commit, tick)
        commit.apply()

    def transition(
        self,
        number: int,
        sequence: int,
        state: State = State.WARNING,
        *,
        previous: State | None = State.HEALTHY,
        tick_sequence: int = 1,
        as_of: datetime | None = None,
    ) -> MarginTransition:
        """A transition of an account."""
        return MarginTransition(
            event_id=transition_id(address(number), sequence),
            account_id=address(number),
            sequence=sequence,
            previous_state=previous,
            state=state,
            severity=Severity.MEDIUM,
            notify=True,
            valuation=Valuation(
                collateral_usd=Decimal("14000.5"), debt_usd=Decimal(10000), health_pct=40.005
            ),
            marks={"ETH": Decimal(1400), "USDC": Decimal(1)},
            tick_sequence=tick_sequence,
            position_version=1,
            as_of=as_of or self.now + timedelta(seconds=sequence),
        )

    def put_alerts(self, *transitions: MarginTransition, announce: bool = False) -> None:
        """Record transitions with the record's count, and announce them."""
        commit = database.Commit(self.client)
        latest: dict[str, MarginTransition] = {}
        for transition in transitions:
            alerts.add(commit, transition)
            latest[transition.account_id] = transition
        for transition in latest.values():
            number = int(transition.account_id, 16)
            record = MarginRecord(
                account_id=address(number),
                state=transition.state,
                valued_state=transition.state,
                transitions=transition.sequence,
                unvalued_assets=(),
                valuation=RecordedValuation(Decimal(14000), Decimal(10000), 40.0),
                tick_sequence=transition.tick_sequence,
                position_version=1,
                as_of=transition.as_of,
            )
            commit.put(margin_states.path(address(number)), margin_states.encode(record))
        commit.apply()
        if announce:
            for transition in transitions:
                self.announce_transition(transition)

    def put_escrow(self, number: int, *, payer: int, payee: int = 102, arbiter: int = 103) -> None:
        """Write an escrow that was created and nothing else."""
        created = Created(
            payer=address(payer),
            payee=address(payee),
            arbiter=address(arbiter),
            asset="USDC",
            decimals=6,
            amount_base=1_500_000,
            release_time=self.now,
            refund_time=self.now,
            policy=ReleasePolicy.TWO_OF_THREE,
        )
        identifier = escrows.escrow_id(31337, address(number))
        commit = database.Commit(self.client)
        commit.put(escrows.path(identifier), escrows.encode(identifier, 31337, address(number), {1: created}))
        commit.apply()

    def put_delivery(self, number: int) -> None:
        """Write the delivery ``d<number>`` of an account's first alert."""
        delivery = Delivery(
            delivery_id=f"d{number}",
            alert_id=transition_id(address(number), 1),
            recipient_id=address(number),
            channel=Channel.EMAIL,
            status=DeliveryStatus.DELIVERED,
            attempt=1,
            error=None,
            leased_until=None,
            created_at=self.now,
        )
        commit = database.Commit(self.client)
        commit.put(deliveries.path(delivery.delivery_id), deliveries.encode(delivery))
        commit.apply()

    def publish(self, topic: str, data: bytes, ordering_key: str = "") -> None:
        """Publish a message and wait until Pub/Sub has it."""
        (failure,) = self.publisher.publish([OutboundMessage(topic, data, ordering_key)])
        assert failure is None, failure

    def announce_tick(self, tick: PriceTick) -> None:
        """Publish a tick."""
        self.publish(topics.MARKET_PRICES, tick.encode())

    def announce_transition(self, transition: MarginTransition) -> None:
        """Publish a transition."""
        self.publish(topics.MARGIN_ALERTS, transition.encode(), transition.account_id)

    def announce_positions(self, account: Account) -> None:
        """Publish an account's positions."""
        event = PositionsChanged(
            event_id=positions_id(account.account_id, account.version),
            account_id=account.account_id,
            version=account.version,
            as_of=account.as_of,
            positions=tuple(
                PositionOfEvent(
                    chain_id=p.chain_id,
                    asset=p.asset,
                    decimals=p.decimals,
                    collateral_base=p.collateral_base,
                    debt_base=p.debt_base,
                )
                for p in account.positions.values()
            ),
        )
        self.publish(topics.POSITIONS_CHANGED, event.encode(), account.account_id)


@pytest.fixture
def world(project: Project) -> World:
    """The stores and topics of a fresh project."""
    return World(project)


@dataclass
class Server:
    """A running gateway and clients for it."""

    url: str
    reads: Counter[str] = field(default_factory=Counter)

    def post(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        key: str | None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> httpx.Response:
        """Send a query."""
        sent = {"Authorization": f"Bearer {key}"} if key else {}
        body = {"query": query, "variables": variables, **fields}
        return httpx.post(f"{self.url}/graphql", json=body, headers={**sent, **(headers or {})}, timeout=30)

    def query(self, query: str, variables: Mapping[str, Any] | None = None, *, key: str) -> dict[str, Any]:
        """The data of a query that has no errors."""
        response = self.post(query, variables, key=key)
        body: dict[str, Any] = response.json()
        assert "errors" not in body, body
        data: dict[str, Any] = body["data"]
        return data

    @contextmanager
    def socket(self, key: str | None = None, *, init: bool = True, **options: Any) -> Iterator[Socket]:
        """A WebSocket, initialised with a key."""
        url = self.url.replace("http://", "ws://") + "/graphql"
        options.setdefault("subprotocols", ["graphql-transport-ws"])
        with connect(url, compression=None, max_size=None, **options) as connection:
            socket = Socket(connection)
            if init:
                socket.send({"type": "connection_init", "payload": {"apiKey": key}})
                assert socket.receive() == {"type": "connection_ack"}
            yield socket

    @contextmanager
    def events(
        self, query: str, variables: Mapping[str, Any] | None = None, *, key: str
    ) -> Iterator[Iterator[dict[str, Any]]]:
        """The messages of a subscription over server-sent events."""
        headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
        with (
            httpx.Client(timeout=WAIT_S) as client,
            client.stream(
                "POST",
                f"{self.url}/graphql",
                json={"query": query, "variables": variables},
                headers=headers,
            ) as response,
        ):
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield _events(response)


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    event = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: ") and event == "next":
            yield json.loads(line.removeprefix("data: "))
        elif line.startswith("data:") and event == "complete":
            return


class Socket:
    """A client of graphql-transport-ws."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, message: Any) -> None:
        """Send a message."""
        self.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def receive(self) -> dict[str, Any]:
        """The next message that is not a ping."""
        while True:
            message: dict[str, Any] = json.loads(self.connection.recv(timeout=WAIT_S))
            if message["type"] != "ping":
                return message

    def subscribe(self, identifier: str, query: str, variables: Mapping[str, Any] | None = None) -> None:
        """Subscribe."""
        self.send(
            {"id": identifier, "type": "subscribe", "payload": {"query": query, "variables": variables}}
        )

    def next(self, identifier: str) -> Any:
        """The data of the next message of a subscription."""
        message = self.receive()
        assert (message["type"], message["id"]) == ("next", identifier), message
        assert "errors" not in message["payload"], message
        (data,) = message["payload"]["data"].values()
        return data

    def closed(self) -> tuple[int, str]:
        """The code and reason with which the server closes; messages before it are passed over."""
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 messages may precede the close
            while True:
                self.connection.recv(timeout=WAIT_S)
        assert closed.value.rcvd is not None, "the connection was dropped without a close frame"
        return closed.value.rcvd.code, closed.value.rcvd.reason


@contextmanager
def running(limits: Limits | None = None) -> Iterator[Server]:
    """Serve the gateway of the environment in a thread."""
    server = uvicorn.Server(server_config(create_app(limits=limits), host="127.0.0.1", port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive())
        assert server.started, "the gateway did not start"
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Server(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive(), "the gateway did not stop"


@pytest.fixture
def server(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A gateway; ``reads`` counts its Firestore calls by kind and the documents that they returned."""
    reads: Counter[str] = Counter()
    for name in ("find", "find_all", "query", "count"):
        monkeypatch.setattr(database, name, _counted(name, getattr(database, name), reads))
    with running() as started:
        started.reads = reads
        yield started


def _counted(name: str, function: Callable[..., Any], reads: Counter[str]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        reads["calls"] += 1
        reads[name] += 1
        return result

    return call
