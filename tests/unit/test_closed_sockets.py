"""The fixture that closes sockets closes them."""

from __future__ import annotations

import socket
import urllib.request

import pytest


def test_a_connection_is_refused() -> None:
    with (
        socket.socket() as opened,
        pytest.raises(AssertionError, match="network"),
    ):
        opened.connect(("127.0.0.1", 9))


def test_a_request_is_refused() -> None:
    with pytest.raises(AssertionError, match="network"):
        urllib.request.urlopen("http://127.0.0.1:9/")
