"""The sinks keep what they receive, count repeats, and refuse when told to."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from local.journal import Journal
from local.ports import free_ports
from local.supervisor import Supervisor
from local.webhook_sink import SECRET_VARIABLE
from tests.eventually import eventually
from tests.integration.local.conftest import ask, ask_json

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@dataclass
class MailSink:
    """A running SMTP sink."""

    url: str
    smtp_port: int

    def send(self, message_id: str, subject: str = "Margin call", text: str = "Health is 28 %.") -> None:
        """Hand one message over."""
        message = EmailMessage()
        message["Message-ID"] = message_id
        message["From"] = "margin@fusion-prime.example"
        message["To"] = "desk@fund.example"
        message["Subject"] = subject
        message.set_content(text)
        with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=10) as server:
            server.send_message(message)


@pytest.fixture
def mail(start: Callable[..., str], tmp_path: Path) -> MailSink:
    """An SMTP sink of the test's own."""
    (smtp_port,) = free_ports(1)
    url = start(
        "smtp_sink",
        *("-m", "local.smtp_sink", "--http-port", "{port}", "--smtp-port", smtp_port),
        *("--journal", tmp_path / "mail.jsonl"),
        ready="/api/messages",
        restarts=True,
    )
    return MailSink(url, smtp_port)


@pytest.fixture
def webhooks(start: Callable[..., str], tmp_path: Path) -> str:
    """A webhook sink of the test's own."""
    return start(
        "webhook_sink",
        *("-m", "local.webhook_sink", "--port", "{port}", "--journal", tmp_path / "hooks.jsonl"),
        ready="/api/messages",
        environment={SECRET_VARIABLE: SECRET},
    )


def test_mail_is_kept_and_repeats_are_counted(mail: MailSink) -> None:
    before_ms = datetime.now(UTC).timestamp() * 1000 - 1
    mail.send("<call-1@fusion>", subject="Margin call für 0x51")
    mail.send("<call-2@fusion>")
    mail.send("<call-1@fusion>", subject="Margin call für 0x51")
    answer = ask_json(f"{mail.url}/api/messages")
    assert [(each["number"], each["message_id"], each["repeats"]) for each in answer["messages"]] == [
        (1, "<call-1@fusion>", 0),
        (2, "<call-2@fusion>", 0),
        (3, "<call-1@fusion>", 1),
    ]
    assert answer["repeats"] == 1
    first = answer["messages"][0]
    assert first["subject"] == "Margin call für 0x51"
    assert first["to"] == ["desk@fund.example"]
    assert first["headers"]["From"] == "margin@fusion-prime.example"
    assert before_ms <= first["received_at_ms"] <= datetime.now(UTC).timestamp() * 1000
    assert "Health is 28 %." in ask_json(f"{mail.url}/api/messages/1")["source"]
    assert [each["number"] for each in ask_json(f"{mail.url}/api/messages?after=2")["messages"]] == [3]
    assert ask(f"{mail.url}/api/messages/4")[0] == 404


def test_the_mailbox_can_be_read_and_runs_nothing(mail: MailSink) -> None:
    mail.send("<call-1@fusion>", subject="<script>alert(1)</script>", text="Add <b>collateral</b>.")
    page = ask(mail.url)[1].decode()
    assert "1 messages, 0 of them repeats." in page
    assert '<a href="/messages/1">&lt;script&gt;alert(1)&lt;/script&gt;</a>' in page
    message = ask(f"{mail.url}/messages/1")[1].decode()
    assert "Add &lt;b&gt;collateral&lt;/b&gt;." in message
    assert "<script>" not in page + message


def test_mail_survives_a_kill(mail: MailSink, supervisor: Supervisor) -> None:
    mail.send("<call-1@fusion>")
    process = supervisor.process_id("smtp_sink")
    supervisor.kill("smtp_sink")
    eventually(lambda: supervisor.process_id("smtp_sink") != process)
    supervisor.wait_ready("smtp_sink")
    mail.send("<call-1@fusion>")
    assert [each["repeats"] for each in ask_json(f"{mail.url}/api/messages")["messages"]] == [0, 1]


@pytest.mark.parametrize("status", [451, 554])
def test_mail_is_refused_while_the_switch_says_so(mail: MailSink, status: int) -> None:
    ask_json(f"{mail.url}/api/failure", {"status": status, "remaining": 1}, method="PUT")
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        mail.send("<call-1@fusion>")
    assert refusal.value.smtp_code == status
    mail.send("<call-1@fusion>")
    assert [each["repeats"] for each in ask_json(f"{mail.url}/api/messages")["messages"]] == [0]


def test_mail_is_refused_until_the_switch_is_taken_back(mail: MailSink) -> None:
    ask_json(f"{mail.url}/api/failure", {"status": 421, "remaining": None}, method="PUT")
    for _ in range(2):
        with pytest.raises(smtplib.SMTPResponseException):
            mail.send("<call-1@fusion>")
    ask_json(f"{mail.url}/api/failure", method="DELETE")
    mail.send("<call-1@fusion>")


def test_a_switch_that_makes_no_sense_is_refused(mail: MailSink) -> None:
    for body, field in (({"status": 250}, "status"), ({"status": 451, "remaining": 0}, "remaining")):
        status, answer = ask(f"{mail.url}/api/failure", json.dumps(body).encode(), method="PUT")
        assert status == 422
        assert field in json.loads(answer)["error"]
    mail.send("<call-1@fusion>")


def signed(
    webhook_id: str, body: bytes, *, at: datetime | None = None, secret: str = SECRET
) -> dict[str, str]:
    """The headers of a signed webhook."""
    moment = at or datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, moment, body.decode()),
    }


def test_a_signed_webhook_is_kept_and_repeats_are_counted(webhooks: str) -> None:
    body = json.dumps({"state": "MARGIN_CALL", "health_pct": 28.25}).encode()
    for webhook_id in ("call-1", "call-2", "call-1"):
        assert ask(f"{webhooks}/hook/0x51", body, headers=signed(webhook_id, body))[0] == 200
    answer = ask_json(f"{webhooks}/api/messages")
    assert [(each["webhook_id"], each["repeats"]) for each in answer["messages"]] == [
        ("call-1", 0),
        ("call-2", 0),
        ("call-1", 1),
    ]
    assert answer["messages"][0]["body"] == {"state": "MARGIN_CALL", "health_pct": 28.25}
    assert answer["messages"][0]["path"] == "/hook/0x51"
    assert (answer["repeats"], answer["refused"]) == (1, 0)
    assert "3 webhooks with a valid signature, 1 of them repeats; 0 refused." in ask(webhooks)[1].decode()
    assert "MARGIN_CALL" in ask(f"{webhooks}/messages/1")[1].decode()


def forgeries() -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """Webhooks that must not be accepted, by what is wrong with them."""
    body = b'{"state": "HEALTHY"}'
    yield "unsigned", body, {}
    yield "another body", b'{"state": "LIQUIDATION"}', signed("call-1", body)
    yield "another id", body, {**signed("call-1", body), "webhook-id": "call-2"}
    yield "another secret", body, signed("call-1", body, secret="whsec_" + "A" * 32)
    yield "too old", body, signed("call-1", body, at=datetime.now(UTC) - timedelta(minutes=10))
    yield "malformed", body, {**signed("call-1", body), "webhook-signature": "v1"}
    yield "not JSON", b"HEALTHY", signed("call-1", b"HEALTHY")


def test_a_webhook_without_a_valid_signature_is_refused(webhooks: str) -> None:
    cases = list(forgeries())
    for what, body, headers in cases:
        assert ask(f"{webhooks}/hook/0x51", body, headers=headers)[0] == 401, what
    assert ask_json(f"{webhooks}/api/messages") == {"messages": [], "repeats": 0, "refused": len(cases)}


def test_a_webhook_is_refused_while_the_switch_says_so(webhooks: str) -> None:
    body = b"{}"
    ask_json(f"{webhooks}/api/failure", {"status": 503, "remaining": 1}, method="PUT")
    assert ask(f"{webhooks}/hook/0x51", body, headers=signed("call-1", body))[0] == 503
    assert ask(f"{webhooks}/hook/0x51", body, headers=signed("call-1", body))[0] == 200
    assert [each["repeats"] for each in ask_json(f"{webhooks}/api/messages")["messages"]] == [0]


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("a", {"text": "one"})
    with path.open("ab") as file:
        file.write(b'{"number": 2, "identity": "b", "te')
    with Journal(path) as again:
        assert again.append("a", {"text": "two"})["repeats"] == 1
    with Journal(path) as third:
        assert [each["text"] for each in third.after(0)] == ["one", "two"]
