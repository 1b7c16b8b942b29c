"""Posting to an address that somebody else chose, without reaching what is ours.

A URL of a client's could name our own machine or network, or a cloud's metadata server, by a name that
resolves to them. The name is resolved here once, every address it has is checked, and the connection is made
to the very address that was checked: a name that answers differently a moment later changes nothing (DNS
rebinding). The certificate, SNI and Host header are those of the name. No redirect is followed, no proxy is
used, and the whole exchange ends at a deadline however slowly the other side talks.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from shared.domain.public_addresses import Address, Network, is_public
from shared.providers.delivery import SendingFailedError, SendingRejectedError

Resolve = Callable[[str, int], Sequence[Address]]

CONNECT_TIMEOUT_S = 3.0
MAX_BODY_BYTES = 512
"""What is read of an answer's body; nothing but a log has a use for it."""


class AddressNotAllowedError(SendingRejectedError):
    """The name resolves to an address that is not public."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the other side answered. ``excerpt`` is the beginning of the body."""

    status: int
    retry_after: str | None
    excerpt: str


def resolve(host: str, port: int) -> tuple[Address, ...]:
    """The addresses of a name, in the system's order of preference.

    Raises:
        SendingFailedError: the name has none, or no name server answered.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SendingFailedError("the endpoint's name does not resolve") from error
    return tuple(dict.fromkeys(ip_address(str(sockaddr[0])) for *_, sockaddr in found))


class GuardedPoster:
    """Posts to public addresses, and to those of ``local_networks``, which only a local platform has.

    Args:
        local_networks: networks that are allowed although they are not public.
        deadline_s: how long one exchange may take after the name is resolved.
        resolve: how names become addresses.
        tls: how certificates are checked; the system's authorities where None.
    """

    def __init__(
        self,
        local_networks: Sequence[Network],
        *,
        deadline_s: float = 10.0,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._local_networks = tuple(local_networks)
        self._deadline_s = deadline_s
        self._resolve = resolve
        self._tls = tls or ssl.create_default_context()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        """Post once.

        Raises:
            AddressNotAllowedError: the name has an address that is not public.
            SendingRejectedError: the URL is none of http or https.
            SendingFailedError: the endpoint could not be reached, or did not answer in time.
        """
        host, port, secure, target = _parts(url)
        address = self._checked(host, port)
        connection = _Connection(host, port, address, self._tls if secure else None)
        watchdog = threading.Timer(self._deadline_s, connection.abort)
        watchdog.daemon = True
        watchdog.start()
        try:
            connection.request("POST", target, body=body, headers=dict(headers))
            with connection.getresponse() as response:
                if connection.aborted:
                    # Headers that were cut off parse like shorter ones.
                    raise TimeoutError
                return Answered(response.status, response.headers.get("Retry-After"), _beginning(response))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SendingFailedError(self._reason(connection, error)) from error
        finally:
            watchdog.cancel()
            connection.close()

    def _reason(self, connection: _Connection, error: Exception) -> str:
        if connection.aborted:
            return f"the endpoint did not answer within {self._deadline_s:g} s"
        if isinstance(error, ssl.SSLError):
            return f"no TLS with the endpoint: {error.reason or type(error).__name__}"
        return f"the endpoint did not answer: {type(error).__name__}"

    def _checked(self, host: str, port: int) -> Address:
        """The address to connect to, if all of the name's may be."""
        addresses = self._resolve(host, port)
        if not addresses:
            raise SendingFailedError("the endpoint's name does not resolve")
        for address in addresses:
            local = any(address in network for network in self._local_networks)
            if not local and not is_public(address):
                # Without the address: what our resolver knows is none of the client's business.
                raise AddressNotAllowedError("the endpoint's name resolves to an address that is not public")
        return addresses[0]


def _beginning(response: http.client.HTTPResponse) -> str:
    """The beginning of an answer's body, or nothing where it does not come: the status has been said."""
    try:
        return response.read(MAX_BODY_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, ValueError):
        return ""


def _parts(url: str) -> tuple[str, int, bool, str]:
    """Host, port, whether by TLS, and the target of the request line."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SendingRejectedError("the endpoint's address is not an http(s) URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SendingRejectedError("the endpoint's address is not an http(s) URL")
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.hostname, port or (443 if secure else 80), secure, target


class _Connection(http.client.HTTPConnection):
    """A connection to a checked address, that speaks to the host of the URL."""

    def __init__(self, host: str, port: int, address: Address, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=CONNECT_TIMEOUT_S)
        self.default_port = 443 if tls else 80  # decides whether Host names the port
        self._address = address
        self._tls_context = tls
        self._open: socket.socket | None = None
        self._guard = threading.Lock()
        self.aborted = False

    def connect(self) -> None:
        """Connect to the address that was checked; the name is only spoken to."""
        raw = socket.create_connection((str(self._address), self.port), CONNECT_TIMEOUT_S)
        # From here on the watchdog alone ends it: a timeout per read could be strung along for ever.
        raw.settimeout(None)
        self.sock = raw
        if self._tls_context is not None:
            # The handshake is part of what the watchdog ends.
            self.sock = self._tls_context.wrap_socket(
                raw, server_hostname=self.host, do_handshake_on_connect=False
            )
        with self._guard:
            self._open = self.sock
            if self.aborted:
                self._shut()
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()

    def abort(self) -> None:
        """End the exchange from another thread; whatever waits for the other side fails."""
        with self._guard:
            self.aborted = True
            self._shut()

    def _shut(self) -> None:
        if self._open is None:
            return
        try:
            # Of the socket below TLS: what reads in the other thread must not lose its TLS state.
            socket.socket.shutdown(self._open, socket.SHUT_RDWR)
        except OSError:
            # The other side was faster.
            return
