"""Instances of a function as processes of their own, served by the framework's command, to be killed."""

from __future__ import annotations

import base64
import contextlib
import os
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import urllib3

from local.emulators import answers, base_environment
from local.ports import free_ports
from local.supervisor import Part, Supervisor
from shared.events.base import Event
from tests.conftest import ROOT, Project
from tests.eventually import eventually
from tests.messages import now

_COMMAND = Path(sys.executable).with_name("functions-framework")


class Instances:
    """Starts and kills instances of one function in a test's project."""

    def __init__(self, project: Project, function: str) -> None:
        self._project = project
        self._function = function
        self._supervisor = Supervisor(project.folder / "instances")
        self._names: dict[str, str] = {}
        self._pool = urllib3.PoolManager(retries=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._supervisor.stop()
        self._pool.clear()

    def start(self) -> str:
        """Start one; its base URL."""
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        name = f"{self._function}-{port}"
        command = [
            str(_COMMAND),
            f"--target={self._function}",
            f"--source={ROOT / 'main.py'}",
            "--host=127.0.0.1",
            f"--port={port}",
        ]
        environment = base_environment() | self._project.environment() | {"PYTHONPATH": str(ROOT)}
        part = Part(name, command, environment, lambda: _listens(url), restarts=True)
        self._supervisor.start([part])
        self._names[url] = name
        return url

    def post(self, url: str) -> None:
        """Call an HTTP function, as Cloud Scheduler does, without waiting for its answer."""
        self._send(url, None)

    def push(self, url: str, topic: str, event: Event) -> None:
        """Deliver a message without waiting for its answer."""
        self._send(_path(url, self._project, topic), _body(self._project, topic, event))

    def request_and_kill(self, url: str, body: Any, *, once: Callable[[], bool]) -> None:
        """Call an HTTP function, and kill its instance as soon as ``once`` is true."""
        self._send(url, body)
        eventually(once, within_s=20)
        self.kill(url)

    def _send(self, address: str, body: Any) -> None:
        def send() -> None:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                self._pool.request("POST", address, json=body, timeout=60.0)

        eventually(lambda: _listens(address), within_s=20)
        threading.Thread(target=send, daemon=True).start()

    def kill(self, url: str) -> None:
        """SIGKILL, as a crash; the platform starts another one in its place."""
        self._supervisor.kill(self._names[url])


def _listens(url: str) -> bool:
    try:
        # The framework answers this path itself, with 404.
        answers(urljoin(url, "/robots.txt"))
    except OSError:
        return False
    return True


def _path(url: str, project: Project, topic: str) -> str:
    return f"{url}/projects/{project.project_id}/topics/{topic}"


def _body(project: Project, topic: str, event: Event) -> dict[str, Any]:
    return {
        "subscription": f"projects/{project.project_id}/subscriptions/test--{topic}",
        "message": {
            "data": base64.b64encode(event.encode()).decode(),
            "messageId": uuid.uuid4().hex,
            "publishTime": now().isoformat(),
            "attributes": {},
        },
    }


def push_until_taken(
    pool: urllib3.PoolManager, urls: str | list[str], project: Project, topic: str, event: Event
) -> None:
    """Deliver a message as Pub/Sub does: again and again, to any instance, until one acknowledges it."""
    body = _body(project, topic, event)

    def taken() -> bool:
        listed = [urls] if isinstance(urls, str) else urls
        url = listed[int.from_bytes(os.urandom(1)) % len(listed)]
        try:
            response = pool.request(
                "POST", _path(url, project, topic), json=body, timeout=urllib3.Timeout(20)
            )
        except urllib3.exceptions.HTTPError:
            return False
        return 200 <= response.status < 300

    eventually(taken, within_s=60)
