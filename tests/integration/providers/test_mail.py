"""Mail through a real relay: dropped connections, refusals for now and for good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest

from shared.domain.notifications import Notice
from shared.providers import mail
from shared.providers.delivery import SendingFailedError, SendingRejectedError
from shared.setting_values import SmtpServer
from tests.servers import MailRelay, closed_port, mail_relay

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOTICE = Notice("[HIGH] Margin call: 0xab", "Zwölf Prozent.\n.\nA lone point above.\n")


@pytest.fixture
def relay() -> Iterator[MailRelay]:
    """A relay."""
    with mail_relay() as running:
        yield running


def _mailer(url: str) -> mail.Mailer:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    server = SmtpServer(parts.hostname, parts.port, None, None, starttls=False)
    return mail.Mailer(server, "margin@fusion.example")


def _send(mailer: mail.Mailer, delivery_id: str = "d1", recipient: str = "risk@client.example") -> None:
    mailer.send(delivery_id=delivery_id, recipient=recipient, notice=NOTICE, as_of=MOMENT)


def test_a_mail_arrives_whole_and_its_id_is_its_deliverys(relay: MailRelay) -> None:
    mailer = _mailer(relay.url)
    for delivery_id in ("d1", "d1", "d2"):
        _send(mailer, delivery_id)

    first, repeat, other = relay.messages
    assert first["Subject"] == NOTICE.subject
    assert (first["From"], first["To"]) == ("margin@fusion.example", "risk@client.example")
    assert parsedate_to_datetime(first["Date"]) == MOMENT
    payload = first.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().replace("\r\n", "\n") == NOTICE.text
    assert first["Message-ID"] == repeat["Message-ID"] == mail.message_id("d1", "margin@fusion.example")
    assert other["Message-ID"] != first["Message-ID"]
    assert first["Message-ID"].endswith("@fusion.example>")
    assert relay.recipients == ["risk@client.example"] * 3
    # One connection took them all.
    assert relay.connections == 1


def test_a_connection_that_the_relay_dropped_is_replaced(relay: MailRelay) -> None:
    mailer = _mailer(relay.url)
    _send(mailer)
    relay.drop_connections()
    _send(mailer)
    assert len(relay.messages) == 2
    assert relay.connections == 2


@pytest.mark.parametrize("reply", ["421 going down", "450 mailbox busy", "451 try later", "452 full"])
def test_what_the_relay_refuses_for_now_may_be_tried_again(relay: MailRelay, reply: str) -> None:
    mailer = _mailer(relay.url)
    for place in ("refuse_data", "refuse_recipient"):
        setattr(relay, place, reply)
        with pytest.raises(SendingFailedError, match=reply[:3]):
            _send(mailer)
        setattr(relay, place, None)
        _send(mailer)
    assert len(relay.messages) == 2


@pytest.mark.parametrize("reply", ["550 no such user", "552 too large", "554 spam"])
def test_what_the_relay_refuses_for_good_is_given_up_and_the_next_goes_through(
    relay: MailRelay, reply: str
) -> None:
    mailer = _mailer(relay.url)
    for place in ("refuse_data", "refuse_recipient"):
        setattr(relay, place, reply)
        with pytest.raises(SendingRejectedError, match=reply[:3]):
            _send(mailer)
        setattr(relay, place, None)
        _send(mailer)
    assert len(relay.messages) == 2


def test_a_relay_that_is_away_may_come_back(relay: MailRelay) -> None:
    with pytest.raises(SendingFailedError, match="did not take the message"):
        _send(_mailer(f"smtp://127.0.0.1:{closed_port()}"))
    _send(_mailer(relay.url))
    assert len(relay.messages) == 1


@pytest.mark.parametrize("recipient", ["two@a.example\r\nBcc: other@b.example", "a@b\nX: y"])
def test_an_address_cannot_carry_another_header(relay: MailRelay, recipient: str) -> None:
    with pytest.raises((SendingRejectedError, SendingFailedError)):
        _send(_mailer(relay.url), recipient=recipient)
    assert relay.messages == []


def test_a_relay_that_cannot_encrypt_gets_nothing_where_encryption_is_asked_for(relay: MailRelay) -> None:
    parts = urlsplit(relay.url)
    assert parts.hostname
    assert parts.port
    server = SmtpServer(parts.hostname, parts.port, None, None, starttls=True)
    with pytest.raises(SendingFailedError, match="STARTTLS"):
        _send(mail.Mailer(server, "margin@fusion.example"))
    assert relay.messages == []
