"""Webhooks to a real endpoint: signed as the standard says, tried again or given up by its answer."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
import urllib3
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared.providers.delivery import SendingFailedError, SendingRejectedError
from shared.providers.webhooks import WebhookSender, webhook_id
from tests.servers import Answer, closed_port, endpoint

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"state": "MARGIN_CALL", "note": "zwölf"}'.encode()


def _send(url: str, *, secret: str = SECRET, delivery_id: str = "d1", now: datetime | None = None) -> None:
    WebhookSender().send(
        delivery_id=delivery_id, url=url, secret=secret, body=BODY, now=now or datetime.now(UTC)
    )


def test_the_standards_own_library_verifies_the_signature_and_no_other_secret_does() -> None:
    with endpoint() as hook:
        _send(f"{hook.url}/path?x=1")
    (request,) = hook.received
    assert request.path == "/path?x=1"
    assert request.body == BODY
    headers = dict(request.headers)
    assert headers["Content-Type"] == "application/json"
    assert Webhook(SECRET).verify(request.body, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(request.body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body + b" ", headers)


def test_a_repeat_has_its_deliverys_id_and_its_own_time() -> None:
    moment = datetime.now(UTC)
    with endpoint() as hook:
        for seconds in (0, 60):
            _send(hook.url, now=moment + timedelta(seconds=seconds))
        _send(hook.url, delivery_id="d2")
    first, repeat, other = (request.headers for request in hook.received)
    assert first["webhook-id"] == repeat["webhook-id"] == webhook_id("d1")
    assert int(repeat["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 60
    assert first["webhook-signature"] != repeat["webhook-signature"]
    assert other["webhook-id"] != first["webhook-id"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_an_endpoint_that_says_yes_has_it(status: int) -> None:
    with endpoint(lambda _: Answer(status)) as hook:
        _send(hook.url)
    assert len(hook.received) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_endpoint_that_says_later_is_tried_again(status: int) -> None:
    with (
        endpoint(lambda _: Answer(status)) as hook,
        pytest.raises(SendingFailedError, match=f"HTTP {status}"),
    ):
        _send(hook.url)
    # Once: the platform's own retries are the only ones.
    assert len(hook.received) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_an_endpoint_that_says_no_is_given_up(status: int) -> None:
    with (
        endpoint(lambda _: Answer(status)) as hook,
        pytest.raises(SendingRejectedError, match=f"HTTP {status}"),
    ):
        _send(hook.url)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """The signature is for the endpoint that the client registered."""
    with endpoint() as elsewhere:
        redirect = Answer(status, headers={"Location": elsewhere.url})
        with (
            endpoint(lambda _: redirect) as hook,
            pytest.raises(SendingRejectedError, match=f"HTTP {status}"),
        ):
            _send(hook.url)
    assert elsewhere.received == []


def test_an_endpoint_that_is_away_or_hangs_up_is_tried_again() -> None:
    with pytest.raises(SendingFailedError, match="the endpoint did not answer"):
        _send(f"http://127.0.0.1:{closed_port()}/")
    with (
        endpoint(lambda _: Answer(None)) as hook,
        pytest.raises(SendingFailedError, match="the endpoint did not answer"),
    ):
        _send(hook.url)


def test_an_endpoint_that_does_not_answer_in_time_is_tried_again() -> None:
    """Its time limit is part of the lease of a delivery, so it is measured for real, shortened."""
    never = threading.Event()
    with endpoint(lambda _: Answer(200, wait=never)) as hook:
        try:
            with pytest.raises(SendingFailedError, match="ReadTimeoutError"):
                WebhookSender(urllib3.Timeout(0.2)).send(
                    delivery_id="d1", url=hook.url, secret=SECRET, body=BODY, now=datetime.now(UTC)
                )
        finally:
            never.set()


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_***", "zwölf"])
def test_a_secret_that_cannot_sign_is_told_without_showing_it(secret: str) -> None:
    with endpoint() as hook, pytest.raises(SendingRejectedError) as refused:
        _send(hook.url, secret=secret)
    assert hook.received == []
    assert not secret or secret not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "ftp://127.0.0.1/",
        "http://",
        "http://[::1",
        "file:///etc/passwd",
        "http://a b/",
    ],
)
def test_an_address_that_is_none_is_given_up(url: str) -> None:
    with pytest.raises(SendingRejectedError):
        _send(url)
