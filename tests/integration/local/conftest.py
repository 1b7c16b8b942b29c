"""What the tests of the local platform share: processes of their own, and how to ask and wait."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from local.emulators import answers
from local.environment import process_environment
from local.ports import free_ports
from local.supervisor import Part, Supervisor

T = TypeVar("T")


def ask(
    url: str,
    body: bytes | None = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of an answer, whatever it is."""
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def ask_json(url: str, body: Any = None, *, method: str | None = None) -> Any:
    """The JSON of an answer that succeeds."""
    data = None if body is None else json.dumps(body).encode()
    status, content = ask(url, data, method=method, headers={"Content-Type": "application/json"})
    assert 200 <= status < 300, content
    return json.loads(content)


def is_alive(process_id: int) -> bool:
    """True where a process runs; one that has ended and only waits to be reaped does not."""
    try:
        return bool(psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor of the test's own, stopped in the end."""
    owner = Supervisor(tmp_path / "state")
    yield owner
    owner.stop()


@pytest.fixture
def start(supervisor: Supervisor) -> Callable[..., str]:
    """Starts one of our modules as a part and returns its base URL; ``{port}`` stands for its port."""

    def start_module(
        name: str,
        *arguments: object,
        ready: str | None,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> str:
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        words = [str(port) if each == "{port}" else str(each) for each in arguments]
        part = Part(
            name=name,
            command=[sys.executable, *words],
            environment=process_environment(environment or {}),
            is_ready=lambda: ready is None or answers(url + ready),
            **options,
        )
        supervisor.start([part])
        return url

    return start_module


@pytest.fixture
def hosted_functions(tmp_path: Path) -> Path:
    """A folder with a small manifest and its functions, which write what they see into it."""
    folder = tmp_path / "hosted"
    shutil.copytree(Path(__file__).with_name("hosted"), folder)
    return folder


def recorded(folder: Path, name: str) -> list[Any]:
    """What the hosted functions wrote down under a name."""
    file = folder / name
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
