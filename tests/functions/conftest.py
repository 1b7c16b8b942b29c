"""Driving a function the way the platform does: through the Functions Framework's own application."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import functions_framework
import pytest
from google.cloud import firestore
from google.cloud.pubsub_v1 import SubscriberClient

from local.chain import LocalChain
from local.deployment import Deployment
from shared.chain import blocks
from shared.events.base import Event
from shared.events.registry import ADAPTERS
from shared.messaging.attributes import EVENT_ID
from shared.stores import announcements, outbox
from tests.conftest import ROOT, DeployedChain, Project
from tests.messages import CHAIN_ID, new_address
from tests.servers import closed_port


@dataclass
class Outcome:
    """What the platform sees of a delivery: 2xx acknowledges, anything else comes again."""

    status: int
    body: Any

    @property
    def acknowledged(self) -> bool:
        return 200 <= self.status < 300


class Caller:
    """Calls deployed functions by name."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._clients: dict[str, Any] = {}

    def _client(self, function: str) -> Any:
        if function not in self._clients:
            app = functions_framework.create_app(target=function, source=str(ROOT / "main.py"))  # type: ignore[no-untyped-call]
            # The framework hands the first function's kind to the next one through the environment.
            os.environ.pop("FUNCTION_SIGNATURE_TYPE", None)
            os.environ.pop("FUNCTION_TARGET", None)
            self._clients[function] = app.test_client()
        return self._clients[function]

    def push(
        self,
        function: str,
        topic: str,
        message: Event | bytes,
        *,
        message_id: str | None = None,
        published_at: datetime | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Deliver a message as a push subscription does."""
        data = message if isinstance(message, bytes) else message.encode()
        moment = published_at or datetime.now(UTC)
        body = {
            "subscription": f"projects/{self._project.project_id}/subscriptions/{function}--{topic}",
            "message": {
                "data": base64.b64encode(data).decode(),
                "messageId": message_id or uuid.uuid4().hex,
                "publishTime": moment.isoformat(),
                "attributes": dict(attributes or {}),
            },
        }
        return Outcome(self.push_body(function, topic, body), None)

    def push_body(self, function: str, topic: str, body: Mapping[str, Any]) -> int:
        """Post the body of a push as it is; the status."""
        path = f"/projects/{self._project.project_id}/topics/{topic}"
        return int(self._client(function).post(path, json=body).status_code)

    def request(
        self,
        function: str,
        body: Any = None,
        *,
        schedule_time: datetime | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Call an HTTP function, as Cloud Scheduler does where ``schedule_time`` is given; bytes are sent as
        they are, anything else as JSON."""
        sent = dict(headers or {})
        if schedule_time is not None:
            sent["X-CloudScheduler-ScheduleTime"] = schedule_time.isoformat()
        client = self._client(function)
        if isinstance(body, bytes):
            response = client.post("/", data=body, headers=sent)
        elif body is None:
            response = client.post("/", headers=sent)
        else:
            response = client.post("/", json=body, headers=sent)
        return Outcome(response.status_code, response.get_json(silent=True))


@pytest.fixture
def call(project: Project, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """Calls functions in the test's project."""
    monkeypatch.setenv("FUNCTION_TARGET", "")
    monkeypatch.setenv("FUNCTION_SIGNATURE_TYPE", "")
    monkeypatch.delenv("FUNCTION_TARGET")
    monkeypatch.delenv("FUNCTION_SIGNATURE_TYPE")
    return Caller(project)


@pytest.fixture
def store(project: Project) -> firestore.Client:
    """The test's Firestore, to look into."""
    return firestore.Client(project=project.project_id)


@dataclass
class Tap:
    """A subscription on a topic, to see what was published."""

    topic: str
    pull: Callable[[], list[bytes]]

    def events(self) -> list[Any]:
        """The messages since the last pull, decoded as a consumer would."""
        return [ADAPTERS[self.topic].validate_json(data) for data in self.pull()]


@pytest.fixture
def tap(project: Project) -> Iterator[Callable[[str], Tap]]:
    """Listen to a topic from now on."""
    client = SubscriberClient()

    def listen(topic: str) -> Tap:
        subscription = client.subscription_path(project.project_id, f"tap-{uuid.uuid4().hex[:8]}")
        client.create_subscription(name=subscription, topic=f"projects/{project.project_id}/topics/{topic}")

        def pull() -> list[bytes]:
            taken: list[bytes] = []
            while True:
                response = client.pull(
                    request={"subscription": subscription, "max_messages": 500, "return_immediately": True}
                )
                if not response.received_messages:
                    return taken
                client.acknowledge(
                    subscription=subscription,
                    ack_ids=[received.ack_id for received in response.received_messages],
                )
                taken += [received.message.data for received in response.received_messages]

        return Tap(topic, pull)

    yield listen
    client.close()


@dataclass(frozen=True)
class Outbox:
    """What was committed and may not have been published."""

    client: firestore.Client

    def ids(self) -> list[str]:
        """Topic and event id of each announcement, in order."""
        left = [
            f"{message.topic}~{message.attributes[EVENT_ID]}"
            for document in self.client.collection(outbox.COLLECTION).stream()
            for message in announcements.decode(document.to_dict())
        ]
        return sorted(left)

    def age(self) -> None:
        """Make every announcement old enough for the sweep, which leaves young ones to their writers."""
        documents = list(self.client.collection("outbox").stream())
        for start in range(0, len(documents), 500):
            batch = self.client.batch()
            for document in documents[start : start + 500]:
                older = document.get("created_at") - timedelta(minutes=1)
                batch.update(document.reference, {"created_at": older})
            batch.commit()


@pytest.fixture
def outbox_left(store: firestore.Client) -> Outbox:
    """The test's outbox."""
    return Outbox(store)


Outage = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def without(project: Project) -> Outage:
    """Make a service fail for a while, for processes that read their settings meanwhile.

    Nothing listens where Pub/Sub, BigQuery, the chain or the mail relay should be. Firestore is a server that
    answers every call with an error, which takes no time; a closed port is tried for eight seconds
    (``tests/integration/stores`` does).
    """

    @contextmanager
    def outage(service: str) -> Iterator[None]:
        nowhere = f"127.0.0.1:{closed_port()}"
        broken = {
            "firestore": ("FIRESTORE_EMULATOR_HOST", project.hosts.pubsub),
            "pubsub": ("PUBSUB_EMULATOR_HOST", nowhere),
            "bigquery": ("BIGQUERY_EMULATOR_HOST", f"http://{nowhere}"),
            "chain": ("RPC_URLS", f"{CHAIN_ID}=http://{nowhere}"),
            "mail": ("SMTP_URL", f"smtp://{nowhere}"),
        }
        name, value = broken[service]
        whole = os.environ[name]
        project.setenv(**{name: value})
        try:
            yield
        finally:
            project.setenv(**{name: whole})

    return outage


@dataclass(frozen=True)
class Market:
    """Our contracts on the chain, freshly deployed, and the network description of them."""

    chain: LocalChain
    deployment: Deployment
    start_block: int

    def head(self) -> int:
        """The newest block's number."""
        return blocks.head_number(self.chain.client)

    def mine_empty(self, count: int = 1) -> None:
        """Mine empty blocks."""
        self.chain.client.call("anvil_mine", hex(count))

    def account(self) -> str:
        """A new account with a thousand native tokens."""
        address = new_address()
        self.chain.set_balances({address: 1_000 * 10**18})
        return address


@pytest.fixture
def market(project: Project, deployed_chain: DeployedChain) -> Market:
    """Our contracts as they were deployed; the project's network description is of them, from here on."""
    deployed_chain.restore()
    chain, deployment = deployed_chain.chain, deployed_chain.deployment
    start_block = blocks.head_number(chain.client) + 1
    project.write_network(deployment.network(start_block=start_block))
    return Market(chain, deployment, start_block)
