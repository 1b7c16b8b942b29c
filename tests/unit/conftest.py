"""Unit tests run without a network: whatever tries to reach one fails."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest


def _refuse(*_arguments: object, **_options: object) -> NoReturn:
    raise AssertionError("a unit test tried to reach the network")


@pytest.fixture(autouse=True)
def closed_sockets() -> Iterator[None]:
    """Make every way to connect raise."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, _refuse)
        for name in ("create_connection", "getaddrinfo", "gethostbyname"):
            patch.setattr(socket, name, _refuse)
        yield
