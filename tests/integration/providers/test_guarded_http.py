"""Posting to addresses that clients choose: never to ours, whatever the name, the answer or the pace."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.domain.public_addresses import Address
from shared.providers.delivery import SendingFailedError, SendingRejectedError
from shared.providers.guarded_http import MAX_BODY_BYTES, AddressNotAllowedError, GuardedPoster, resolve
from tests.servers import Answer, closed_port, endpoint

LOOPBACK = [ip_network("127.0.0.0/8")]
LOCAL = GuardedPoster(LOOPBACK, deadline_s=5)
NAME = "hooks.client.example"


def _resolving_to(*addresses: str) -> Callable[[str, int], Sequence[Address]]:
    return lambda _host, _port: [ip_address(address) for address in addresses]


def _port(url: str) -> str:
    return url.rpartition(":")[2]


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[::]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254"),
        *("10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "224.0.0.1", "[fe80::1]", "[fd00:ec2::254]"),
    ],
)
def test_nothing_is_sent_to_our_own_machine_or_network_however_it_is_written(host: str) -> None:
    with endpoint() as ours:
        with pytest.raises(AddressNotAllowedError, match="not public"):
            GuardedPoster([]).post(f"http://{host}:{_port(ours.url)}/", b"{}", {})
        assert ours.received == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.1.2.3"],
        ["::1"],
        ["169.254.169.254"],
        # One public address does not excuse the other.
        ["93.184.215.14", "127.0.0.1"],
        ["2606:4700::1", "fd00::1"],
    ],
)
def test_a_name_with_an_address_that_is_not_public_is_refused_without_telling_it(
    addresses: list[str],
) -> None:
    poster = GuardedPoster([], resolve=_resolving_to(*addresses))
    with pytest.raises(AddressNotAllowedError) as refused:
        poster.post(f"https://{NAME}/", b"{}", {})
    assert not any(address in str(refused.value) for address in addresses)


def test_the_connection_goes_to_the_address_that_was_checked_and_the_name_is_asked_for_once() -> None:
    """Rebinding: whatever the name answers next, it is not asked. It does not even exist for the system."""
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[Address]:
        asked.append(host)
        return [ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

    with endpoint() as hook:
        poster = GuardedPoster([ip_network("127.0.0.1/32")], resolve=rebinding)
        url = f"http://{NAME}:{_port(hook.url)}/path?x=1"
        assert poster.post(url, b'{"a":1}', {"webhook-id": "msg_1"}).status == 200
        with pytest.raises(AddressNotAllowedError):
            poster.post(url, b"{}", {})
    (request,) = hook.received
    assert asked == [NAME, NAME]
    assert request.headers["Host"] == f"{NAME}:{_port(hook.url)}"
    assert (request.path, request.body) == ("/path?x=1", b'{"a":1}')
    assert request.headers["webhook-id"] == "msg_1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    with endpoint() as inside:
        away = Answer(status, headers={"Location": inside.url})
        with endpoint(lambda _: away) as hook:
            assert LOCAL.post(hook.url, b"{}", {}).status == status
    assert inside.received == []


def test_the_beginning_of_an_answer_is_kept_and_no_more_is_read() -> None:
    answer = Answer(503, b"x" * 100_000, {"Retry-After": "7"})
    with endpoint(lambda _: answer) as hook:
        answered = LOCAL.post(hook.url, b"{}", {})
    assert (answered.status, answered.retry_after) == (503, "7")
    assert answered.excerpt == "x" * MAX_BODY_BYTES


@contextmanager
def _talking(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats each connection as ``talk`` does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    talk(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _drip(connection: socket.socket) -> None:
    """One byte of a header at a time, for ever: no read ever waits long."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    gone = threading.Event()
    while not gone.wait(0.02):
        connection.sendall(b"x")


def _hold(connection: socket.socket) -> None:
    """Take what comes and say nothing."""
    while connection.recv(65_536):
        continue


@pytest.mark.parametrize("talk", [_drip, _hold])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_exchange_ends_at_the_deadline_however_slowly_the_other_side_talks(
    talk: Callable[[socket.socket], None], scheme: str
) -> None:
    with _talking(talk) as place, pytest.raises(SendingFailedError) as failed:
        GuardedPoster(LOOPBACK, deadline_s=0.3).post(f"{scheme}://{place}/", b"{}", {})
    # What drips no TLS is refused at once; everything else waits for the deadline.
    assert "within 0.3 s" in str(failed.value) or "TLS" in str(failed.value)


def test_an_answer_whose_body_never_ends_has_still_been_given() -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        _hold(connection)

    with _talking(endless) as place:
        answered = GuardedPoster(LOOPBACK, deadline_s=0.3).post(f"http://{place}/", b"{}", {})
    assert answered.status == 204


def test_an_endpoint_that_is_away_hangs_up_or_has_no_name_failed() -> None:
    with pytest.raises(SendingFailedError, match="ConnectionRefusedError"):
        LOCAL.post(f"http://127.0.0.1:{closed_port()}/", b"{}", {})
    with (
        endpoint(lambda _: Answer(None)) as hook,
        pytest.raises(SendingFailedError, match="RemoteDisconnected"),
    ):
        LOCAL.post(hook.url, b"{}", {})
    with pytest.raises(SendingFailedError, match="does not resolve"):
        LOCAL.post("https://hooks.invalid/", b"{}", {})
    with pytest.raises(SendingFailedError, match="does not resolve"):
        GuardedPoster([], resolve=_resolving_to()).post(f"https://{NAME}/", b"{}", {})


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/", "http://", "http://[::1", "https://a:port/"])
def test_an_address_that_is_none_is_rejected(url: str) -> None:
    with pytest.raises(SendingRejectedError, match="not an http"):
        LOCAL.post(url, b"{}", {})


def test_the_systems_resolver_is_asked() -> None:
    assert ip_address("127.0.0.1") in resolve("localhost", 80)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for NAME and its key, in one file; it is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    moment = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def test_tls_is_with_the_name_though_the_connection_is_to_the_address(certificate: Path) -> None:
    asked_for: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    server.sni_callback = lambda _socket, name, _context: asked_for.append(name)

    def talk(connection: socket.socket) -> None:
        with server.wrap_socket(connection, server_side=True) as secure:
            taken = b""
            while not taken.endswith(b"\r\n\r\n{}"):
                taken += secure.recv(65_536)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    trusting = ssl.create_default_context(cafile=certificate)
    with _talking(talk) as place:
        port = place.rpartition(":")[2]
        poster = GuardedPoster(LOOPBACK, resolve=_resolving_to("127.0.0.1"), tls=trusting)
        assert poster.post(f"https://{NAME}:{port}/", b"{}", {}).excerpt == "ok"
        with pytest.raises(SendingFailedError, match="CERTIFICATE_VERIFY_FAILED"):
            poster.post(f"https://other.example:{port}/", b"{}", {})
        with pytest.raises(SendingFailedError, match="CERTIFICATE_VERIFY_FAILED"):
            GuardedPoster(LOOPBACK, resolve=_resolving_to("127.0.0.1")).post(
                f"https://{NAME}:{port}/", b"{}", {}
            )
    assert asked_for == [NAME, "other.example", NAME]
