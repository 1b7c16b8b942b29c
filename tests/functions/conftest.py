"""Driving a function the way the platform does: through the Functions Framework's own application."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import functions_framework
import pytest
from google.cloud import firestore
from google.cloud.pubsub_v1 import SubscriberClient

from shared.events.base import Event
from tests.conftest import ROOT, Project


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
            app = functions_framework.create_app(target=function, source=str(ROOT / "main.py"))
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
        response = self._client(function).post(
            f"/projects/{self._project.project_id}/topics/{topic}",
            json={
                "subscription": f"projects/{self._project.project_id}/subscriptions/{function}--{topic}",
                "message": {
                    "data": base64.b64encode(data).decode(),
                    "messageId": message_id or uuid.uuid4().hex,
                    "publishTime": moment.isoformat(),
                    "attributes": dict(attributes or {}),
                },
            },
        )
        return Outcome(response.status_code, response.get_json(silent=True))

    def request(self, function: str, body: Any = None, *, schedule_time: datetime | None = None) -> Outcome:
        """Call an HTTP function, as Cloud Scheduler does where ``schedule_time`` is given."""
        headers = {} if schedule_time is None else {"X-CloudScheduler-ScheduleTime": schedule_time.isoformat()}
        response = self._client(function).post("/", json=body, headers=headers) if body is not None else (
            self._client(function).post("/", headers=headers)
        )
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

    pull: Callable[[], list[bytes]]


@pytest.fixture
def tap(project: Project) -> Callable[[str], Tap]:
    """Listen to a topic from now on."""

    def listen(topic: str) -> Tap:
        client = SubscriberClient()
        subscription = client.subscription_path(project.project_id, f"tap-{uuid.uuid4().hex[:8]}")
        client.create_subscription(
            name=subscription, topic=f"projects/{project.project_id}/topics/{topic}"
        )

        def pull() -> list[bytes]:
            """Everything published since the last pull."""
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

        return Tap(pull)

    return listen
