"""Webhook endpoints and deliveries: who may see one, what it is told, when it is tried again or stopped."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from shared.domain.api_keys import ApiKey, Scope
from shared.domain.webhook_deliveries import (
    RETENTION,
    RETRY_AFTER,
    WebhookAttempt,
    WebhookDelivery,
    WebhookDeliveryStatus,
    is_delivery_id,
    new_delivery,
    retry_after,
    webhook_delivery_id,
)
from shared.domain.webhooks import (
    DISABLED_AFTER,
    HELD_FOR,
    MAX_SECRET_OVERLAP,
    EndpointState,
    PreviousSecret,
    WebhookEndpoint,
    WebhookEventType,
    WebhookRefusedError,
    check_url,
    format_secret,
    registration_hash,
    scope_of,
    sees_endpoint,
)
from shared.events.settlement import AnyContractEvent

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ONE, TWO, THREE = ("0x" + digit * 40 for digit in "123")


def _key(*accounts: str, restricted: bool = True) -> ApiKey:
    allowed = frozenset(accounts) if restricted else None
    return ApiKey("k", "h", "test", frozenset(Scope), allowed, None, enabled=True)


def _endpoint(**changes: Any) -> WebhookEndpoint:
    fields: dict[str, Any] = {
        "endpoint_id": "whe_" + "0" * 32,
        "url": "https://client.example/",
        "description": "",
        "accounts": frozenset((ONE, TWO)),
        "event_types": frozenset(),
        "state": EndpointState.ENABLED,
        "reason": None,
        "secret": "whsec_new",
        "previous_secret": None,
        "failing_since": None,
        "created_at": NOW,
    }
    return WebhookEndpoint(**fields | changes)


def test_the_types_are_the_kinds_of_contract_events() -> None:
    kinds = {get_args(each.model_fields["kind"].annotation)[0] for each in get_args(AnyContractEvent)}
    assert {each.value for each in WebhookEventType} == kinds


@pytest.mark.parametrize(
    ("key", "accounts", "seen"),
    [
        (_key(ONE, TWO), frozenset((ONE, TWO)), True),
        (_key(ONE, TWO, THREE), frozenset((ONE,)), True),
        (_key(ONE), frozenset((ONE, TWO)), False),
        (_key(THREE), frozenset((ONE,)), False),
        (_key(ONE), None, False),
        (_key(restricted=False), frozenset((ONE,)), True),
        (_key(restricted=False), None, True),
    ],
)
def test_a_key_sees_an_endpoint_whose_every_account_it_sees(
    key: ApiKey, accounts: frozenset[str] | None, seen: bool
) -> None:
    assert sees_endpoint(key, _endpoint(accounts=accounts)) is seen


def test_without_names_an_endpoint_has_the_keys_accounts() -> None:
    assert scope_of(_key(ONE, TWO), []) == frozenset((ONE, TWO))
    assert scope_of(_key(restricted=False), []) is None
    assert scope_of(_key(restricted=False), [ONE]) == frozenset((ONE,))
    for nobody in (_key(), _key(*(f"0x{number:040x}" for number in range(501)))):
        with pytest.raises(WebhookRefusedError, match="accountIds"):
            scope_of(nobody, [])


def test_an_endpoint_wants_what_concerns_it_since_it_was_registered() -> None:
    kind, other = WebhookEventType.ESCROW_CREATED, WebhookEventType.DVP_CREATED
    concerned = frozenset((TWO, THREE))
    assert _endpoint().wants(kind, concerned, NOW, final=False)
    assert _endpoint(event_types=frozenset((kind,))).wants(kind, concerned, NOW, final=False)
    assert _endpoint(accounts=None).wants(kind, frozenset(), NOW, final=False)
    assert not _endpoint(event_types=frozenset((other,))).wants(kind, concerned, NOW, final=False)
    assert not _endpoint().wants(kind, frozenset((THREE,)), NOW, final=False)
    assert not _endpoint().wants(kind, frozenset(), NOW, final=False)
    assert not _endpoint().wants(kind, concerned, NOW - timedelta(seconds=1), final=False)
    assert not _endpoint().wants(kind, concerned, NOW, final=True)
    assert _endpoint(final_only=True).wants(kind, concerned, NOW, final=True)
    assert not _endpoint(final_only=True).wants(kind, concerned, NOW, final=False)
    for state in (EndpointState.DISABLED, EndpointState.GONE, EndpointState.FAILING):
        assert not _endpoint(state=state).receives(NOW)


def test_a_rotated_secret_signs_beside_the_new_one_until_the_overlap_ends() -> None:
    rotated = _endpoint().rotated("whsec_newer", NOW, timedelta(hours=1))
    assert rotated.signing_secrets(NOW) == ("whsec_newer", "whsec_new")
    assert rotated.signing_secrets(NOW + timedelta(hours=1)) == ("whsec_newer",)
    # A second rotation in a hurry leaves two, never three.
    again = rotated.rotated("whsec_newest", NOW, timedelta(hours=1))
    assert again.signing_secrets(NOW) == ("whsec_newest", "whsec_newer")
    assert _endpoint().rotated("whsec_newer", NOW, timedelta(0)).previous_secret is None
    for overlap in (timedelta(seconds=-1), MAX_SECRET_OVERLAP + timedelta(seconds=1)):
        with pytest.raises(WebhookRefusedError, match="overlapS"):
            _endpoint().rotated("whsec_newer", NOW, overlap)


def test_no_secret_is_shown_in_a_log() -> None:
    text = repr(_endpoint(previous_secret=PreviousSecret("whsec_old", NOW)))
    assert "whsec" not in text


def test_a_secret_is_that_of_standard_webhooks() -> None:
    secret = format_secret(bytes(range(32)))
    assert secret.startswith("whsec_")
    assert base64.b64decode(secret.removeprefix("whsec_")) == bytes(range(32))


def test_an_endpoint_is_switched_off_by_410_at_once_and_by_failing_for_days() -> None:
    endpoint = _endpoint()
    assert endpoint.after_success() is endpoint
    gone = endpoint.after_failure(410, "the endpoint answered HTTP 410", NOW)
    assert (gone.state, gone.enabled) == (EndpointState.GONE, False)
    first = endpoint.after_failure(500, "HTTP 500", NOW)
    assert (first.state, first.failing_since) == (EndpointState.ENABLED, NOW)
    assert first.after_failure(None, "timeout", NOW + timedelta(days=1)) == first
    assert first.after_success().failing_since is None
    off = first.after_failure(None, "timeout", NOW + DISABLED_AFTER)
    assert off.state is EndpointState.FAILING
    assert "timeout" in str(off.reason)
    # What was still on its way when it was switched off does not change why.
    assert off.after_failure(410, "HTTP 410", NOW) is off
    on = off.switched(NOW, on=True)
    assert (on.state, on.reason, on.failing_since) == (EndpointState.ENABLED, None, None)
    assert on.switched(NOW, on=True) is on
    assert gone.switched(NOW, on=False) is gone
    assert endpoint.switched(NOW, on=False).state is EndpointState.DISABLED


@pytest.mark.parametrize(
    "url",
    [
        "https://client.example/",
        "https://client.example:8443/a?b=c",
        "https://8.8.8.8/",
        "https://[2606:4700::1]/",
    ],
)
def test_an_https_url_is_accepted(url: str) -> None:
    check_url(url, local=False)


@pytest.mark.parametrize(
    "url",
    [
        *("", "client.example", "http://client.example/", "ftp://client.example/", "https://", "https:///x"),
        *("https://user@client.example/", "https://:secret@client.example/", "https://client.example/#part"),
        *("https://client.example:port/", "https://client.example:99999/", "https://[::1", "https://a b/"),
        *("https://zwölf.example/", "https://a.example/\r\nX: y", "https://a.example/" + "x" * 2_048),
        *("https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "https://[::ffff:10.0.0.1]/"),
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(WebhookRefusedError) as refused:
        check_url(url, local=False)
    assert refused.value.field == "url"


def test_a_local_platform_takes_http_to_itself() -> None:
    check_url("http://127.0.0.1:8080/hook", local=True)
    with pytest.raises(WebhookRefusedError):
        check_url("ftp://127.0.0.1/", local=True)


def _delivery(number: int = 1) -> WebhookDelivery:
    return new_delivery("whe_1", f"event-{number}", "position_changed", b"{}", NOW)


def _attempt(status: int | None, at: datetime = NOW) -> WebhookAttempt:
    return WebhookAttempt(at, status, 12, None if status == 200 else f"HTTP {status}", "")


def test_an_endpoint_that_is_off_has_events_kept_for_a_week() -> None:
    endpoint = _endpoint()
    assert endpoint.receives(NOW)
    for off in (
        endpoint.switched(NOW, on=False),
        endpoint.after_failure(410, "HTTP 410", NOW),
        _endpoint(failing_since=NOW - DISABLED_AFTER).after_failure(500, "HTTP 500", NOW),
    ):
        assert not off.enabled
        assert off.receives(NOW + HELD_FOR)
        assert not off.receives(NOW + HELD_FOR + timedelta(seconds=1))
        assert off.switched(NOW + timedelta(days=9), on=True) == endpoint


def test_equal_registrations_have_equal_hashes_and_others_do_not() -> None:
    types = frozenset((WebhookEventType.DVP_CREATED, WebhookEventType.DVP_SETTLED))
    first = registration_hash("https://a.example/", "", [ONE, TWO], types, final_only=False)
    assert registration_hash("https://a.example/", "", [TWO, ONE, TWO], types, final_only=False) == first
    others = [
        registration_hash("https://b.example/", "", [ONE, TWO], types, final_only=False),
        registration_hash("https://a.example/", "x", [ONE, TWO], types, final_only=False),
        registration_hash("https://a.example/", "", [ONE], types, final_only=False),
        registration_hash("https://a.example/", "", [ONE, TWO], frozenset(), final_only=False),
        registration_hash("https://a.example/", "", [ONE, TWO], types, final_only=True),
    ]
    assert len({first, *others}) == 6


def test_a_delivery_is_kept_for_a_month_after_it_was_made_or_asked_for() -> None:
    delivery = _delivery()
    assert delivery.expires_at == NOW + RETENTION
    assert delivery.attempted(_attempt(500)).expires_at == NOW + RETENTION
    later = NOW + timedelta(days=20)
    assert delivery.asked_again(later).expires_at == later + RETENTION


def test_a_delivery_follows_the_schedule_and_is_then_given_up() -> None:
    delivery, moment, waits = _delivery(), NOW, []
    while delivery.status is WebhookDeliveryStatus.PENDING:
        delivery = delivery.attempted(_attempt(500, moment))
        if delivery.next_attempt_at is not None:
            waits.append(delivery.next_attempt_at - moment)
            moment = delivery.next_attempt_at
    assert delivery.status is WebhookDeliveryStatus.FAILED
    assert delivery.attempt_count == len(delivery.attempts) == 10
    assert len(waits) == len(RETRY_AFTER)
    for wait, least in zip(waits, RETRY_AFTER, strict=True):
        assert least <= wait < least * 1.1
    assert timedelta(days=3) < moment - NOW < timedelta(days=4)


def test_what_failed_together_is_not_tried_again_together() -> None:
    moments = {_delivery(number).attempted(_attempt(500)).next_attempt_at for number in range(100)}
    assert len(moments) > 90
    # The same delivery after the same attempts waits as long, whoever counts.
    assert _delivery().attempted(_attempt(500)) == _delivery().attempted(_attempt(500))


def test_an_endpoint_may_ask_for_a_longer_wait_but_not_for_ever_nor_a_shorter_one() -> None:
    def wait(seconds: int) -> timedelta:
        after = _delivery().attempted(_attempt(503), retry_after=timedelta(seconds=seconds))
        assert after.next_attempt_at is not None
        return after.next_attempt_at - NOW

    assert wait(60) == timedelta(seconds=60)
    assert wait(10**9) == timedelta(hours=24)
    assert wait(0) >= RETRY_AFTER[0]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("7", 7), (" 7 ", 7), ("-1", None), ("soon", None), ("9" * 30, None)],
)
def test_retry_after_is_read_in_seconds(header: str | None, seconds: int | None) -> None:
    assert retry_after(header) == (None if seconds is None else timedelta(seconds=seconds))


def test_a_delivery_that_is_asked_for_again_keeps_its_id_and_log_and_begins_the_schedule_again() -> None:
    failed = replace(_delivery().attempted(_attempt(410)), tries=10)
    assert failed.status is WebhookDeliveryStatus.FAILED
    again = failed.asked_again(NOW + timedelta(days=1))
    assert (again.status, again.tries, again.attempt_count) == (WebhookDeliveryStatus.PENDING, 0, 1)
    assert again.next_attempt_at == NOW + timedelta(days=1)
    assert again.webhook_id == failed.webhook_id
    done = again.attempted(_attempt(200))
    assert (done.status, done.error, done.next_attempt_at) == (WebhookDeliveryStatus.DELIVERED, None, None)
    assert [each.status for each in done.attempts] == [410, 200]


def test_the_log_of_one_delivery_is_bounded() -> None:
    delivery = _delivery()
    for number in range(50):
        delivery = delivery.attempted(_attempt(500, NOW + timedelta(seconds=number))).asked_again(NOW)
    assert delivery.attempt_count == 50
    assert len(delivery.attempts) == 20
    assert delivery.attempts[-1].attempted_at == NOW + timedelta(seconds=49)


def test_an_id_follows_from_endpoint_and_event() -> None:
    ids = {webhook_delivery_id(f"whe_{a}", f"e{b}") for a in range(3) for b in range(3)}
    assert len(ids) == 9
    assert all(map(is_delivery_id, ids))
    assert not is_delivery_id("whd_1/2")
