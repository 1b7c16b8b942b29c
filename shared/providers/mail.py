"""E-mail over SMTP (RFC 5321), one connection kept per thread."""

from __future__ import annotations

import smtplib
import threading
from datetime import datetime
from email.charset import QP, Charset
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256

from shared.config import Settings
from shared.domain.notifications import Notice
from shared.providers.delivery import SendingFailedError, SendingRejectedError
from shared.setting_values import SmtpServer

SMTP = compat32.clone(linesep="\r\n")
_QUOTED_UTF8 = Charset("utf-8")
_QUOTED_UTF8.body_encoding = QP
_TIMEOUT_S = 3.0
"""Per answer of the relay; a message takes six at most."""


def message_id(delivery_id: str, sender: str) -> str:
    """The Message-ID of a delivery: the same at every attempt, so that a repeat is recognised."""
    domain = sender.rpartition("@")[2]
    return f"<{sha256(delivery_id.encode()).hexdigest()[:32]}@{domain}>"


def compose(*, message_id: str, sender: str, recipient: str, notice: Notice, as_of: datetime) -> bytes:
    """An e-mail's bytes (RFC 5322, MIME).

    Raises:
        SendingRejectedError: a line break in a header, which would begin another header.
    """
    headers = {
        "Message-ID": message_id,
        "Date": format_datetime(as_of),
        "From": sender,
        "To": recipient,
        "Subject": notice.subject,
    }
    # The older of Python's two mail interfaces: the newer parses each header that it is given, which takes
    # longer than all the rest of a delivery.
    message = MIMEText(notice.text, "plain", _QUOTED_UTF8)  # type: ignore[arg-type]  # takes either
    for name, value in headers.items():
        if "\n" in value or "\r" in value:
            raise SendingRejectedError(f"the {name} of an e-mail may not have a line break: {value!r}")
        message[name] = value
    return message.as_bytes(policy=SMTP)


class _Connection(smtplib.SMTP):
    """A connection that ends with the thread that it is kept for."""

    def __del__(self) -> None:
        self.close()


class Mailer:
    """Hands e-mail over to one mail relay."""

    def __init__(self, server: SmtpServer, sender: str) -> None:
        self._server = server
        self._sender = sender
        self._kept = threading.local()

    def send(self, *, delivery_id: str, recipient: str, notice: Notice, as_of: datetime) -> None:
        """Hand over one e-mail.

        Raises:
            SendingRejectedError: the relay refused the recipient or the message for good (5xx).
            SendingFailedError: the relay could not be reached or asked to try later (4xx).
        """
        message = compose(
            message_id=message_id(delivery_id, self._sender),
            sender=self._sender,
            recipient=recipient,
            notice=notice,
            as_of=as_of,
        )
        try:
            self._connection().sendmail(self._sender, [recipient], message)
        except smtplib.SMTPServerDisconnected:
            # A relay drops idle connections; only a fresh one's failure means something.
            self._forget()
            self._send_anew(recipient, message)
        except (smtplib.SMTPException, OSError) as error:
            raise self._failure(error) from error

    def _send_anew(self, recipient: str, message: bytes) -> None:
        try:
            self._connection().sendmail(self._sender, [recipient], message)
        except (smtplib.SMTPException, OSError) as error:
            raise self._failure(error) from error

    def _connection(self) -> smtplib.SMTP:
        kept: smtplib.SMTP | None = getattr(self._kept, "connection", None)
        if kept is not None:
            return kept
        server = self._server
        connection = _Connection(server.host, server.port, timeout=_TIMEOUT_S)
        if server.starttls:
            connection.starttls()
        if server.username is not None and server.password is not None:
            connection.login(server.username, server.password)
        self._kept.connection = connection
        return connection

    def _forget(self) -> None:
        kept: smtplib.SMTP | None = getattr(self._kept, "connection", None)
        self._kept.connection = None
        if kept is not None:
            kept.close()

    def _failure(self, error: Exception) -> SendingFailedError | SendingRejectedError:
        self._forget()
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            codes = [code for code, _ in error.recipients.values()]
            if codes and all(code >= 500 for code in codes):
                return SendingRejectedError(f"the relay refused the recipient: {error.recipients}")
        elif isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 500:
            return SendingRejectedError(f"the relay refused the message: {error.smtp_code}")
        return SendingFailedError(f"the relay did not take the message: {error!r}")


@lru_cache(maxsize=4)
def connect(settings: Settings) -> Mailer:
    """The process's mailer for these settings."""
    return Mailer(settings.smtp, settings.mail_from)
