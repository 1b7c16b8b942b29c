"""Real servers that a test starts to see what is sent to them, and to make them fail on purpose."""

from __future__ import annotations

import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3
from aiosmtpd.controller import Controller

from local.ports import free_ports


def closed_port() -> int:
    """A port that nothing listens on."""
    return free_ports(1)[0]


@dataclass(frozen=True)
class Received:
    """One HTTP request."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What to answer: a status, or None to close the connection without a word."""

    status: int | None = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None
    """Answer only once this is set."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed has nothing to say about it."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Endpoint:
    """An HTTP server that keeps what it receives and answers as ``decide`` says."""

    def __init__(self, decide: Callable[[Received], Answer]) -> None:
        self.received: list[Received] = []
        self.decide = decide
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                request = Received(self.path, dict(self.headers), self.rfile.read(length))
                endpoint.received.append(request)
                answer = endpoint.decide(request)
                if answer.wait is not None:
                    answer.wait.wait()
                if answer.status is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: Any) -> None:
                return

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def endpoint(decide: Callable[[Received], Answer] | None = None) -> Iterator[Endpoint]:
    """An endpoint that answers 200 unless told otherwise."""
    server = Endpoint(decide or (lambda _: Answer()))
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def rpc_proxy(url: str, decide: Callable[[Sequence[Mapping[str, Any]]], Answer | None]) -> Iterator[Endpoint]:
    """A proxy before a chain node: ``decide`` sees each batch, and answers it itself or lets it through."""
    pool = urllib3.PoolManager(retries=False)

    def forward(request: Received) -> Answer:
        own = decide(json.loads(request.body))
        if own is not None:
            return own
        response = pool.request("POST", url, body=request.body, headers={"Content-Type": "application/json"})
        return Answer(response.status, response.data, {"Content-Type": "application/json"})

    with endpoint(forward) as server:
        yield server
    pool.clear()


@dataclass
class MailRelay:
    """An SMTP server that keeps what it takes. ``replies`` are used up first, one per command."""

    url: str = ""
    messages: list[Message] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refuse_recipient: str | None = None
    refuse_data: str | None = None
    connections: int = 0

    async def handle_EHLO(  # noqa: N802 aiosmtpd's names
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        self.server = server
        session.host_name = hostname
        return responses

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.refuse_recipient:
            return self.refuse_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refuse_data:
            return self.refuse_data
        self.messages.append(message_from_bytes(envelope.content))
        self.recipients += envelope.rcpt_tos
        return "250 taken"

    def drop_connections(self) -> None:
        """Close the open connection, as a relay does with an idle one."""
        self.loop.call_soon_threadsafe(self.server.transport.close)

    loop: Any = None
    server: Any = None


@contextmanager
def mail_relay(*, certificate: ssl.SSLContext | None = None) -> Iterator[MailRelay]:
    """A mail relay on this machine."""
    relay = MailRelay()
    options: dict[str, Any] = {}
    if certificate is not None:
        options = {"tls_context": certificate, "require_starttls": True}
    controller = Controller(relay, hostname="127.0.0.1", port=closed_port(), **options)
    controller.start()
    relay.loop = controller.loop
    scheme = "smtp+starttls" if certificate is not None else "smtp"
    relay.url = f"{scheme}://127.0.0.1:{controller.port}"
    try:
        yield relay
    finally:
        controller.stop()
