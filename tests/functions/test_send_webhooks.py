"""send_webhooks: each delivery until it is taken, under one id, and every attempt in its log."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from google.cloud import firestore
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared.domain.webhook_deliveries import RETRY_AFTER, WebhookDeliveryStatus
from shared.domain.webhooks import DISABLED_AFTER, EndpointState, PreviousSecret, format_secret
from shared.events import topics
from tests.conftest import Project
from tests.contract_messages import position_changed
from tests.eventually import eventually
from tests.functions.conftest import Caller, Outage, Outbox, Tap
from tests.functions.instances import Instances
from tests.functions.webhook_clients import (
    make_due,
    put_delivery,
    put_endpoint,
    stored_delivery,
    stored_endpoint,
)
from tests.messages import new_address
from tests.servers import Answer, Endpoint, Received, closed_port, endpoint

FUNCTION = "send_webhooks"
DELIVERED, PENDING, FAILED = (
    WebhookDeliveryStatus.DELIVERED,
    WebhookDeliveryStatus.PENDING,
    WebhookDeliveryStatus.FAILED,
)


@pytest.fixture
def hook() -> Iterator[Endpoint]:
    """The client's endpoint."""
    with endpoint() as running:
        yield running


def _send(call: Caller) -> None:
    assert call.request(FUNCTION).status == 200


def test_an_event_reaches_its_endpoint_signed_and_the_attempt_is_logged(
    call: Caller, store: firestore.Client, hook: Endpoint
) -> None:
    account = new_address()
    target = put_endpoint(store, f"{hook.url}/settlement", accounts=[account])
    event = position_changed(account, 1)
    assert call.push("create_webhook_deliveries", topics.SETTLEMENT_EVENTS, event).acknowledged
    hook.decide = lambda _: Answer(202, b"thanks")

    _send(call)

    (request,) = hook.received
    assert request.path == "/settlement"
    body = Webhook(target.secret).verify(request.body, dict(request.headers))
    assert body["data"] == json.loads(event.encode())
    with pytest.raises(WebhookVerificationError):
        Webhook(format_secret(secrets.token_bytes(32))).verify(request.body, dict(request.headers))
    (document,) = store.collection("webhook_deliveries").stream()
    assert document.get("status") == "delivered"
    (attempt,) = document.get("attempts")
    assert (attempt["status"], attempt["error"], attempt["excerpt"]) == (202, None, "thanks")
    assert request.headers["webhook-id"] == "msg_" + document.id.removeprefix("whd_")


def test_what_was_taken_is_not_sent_again(call: Caller, store: firestore.Client, hook: Endpoint) -> None:
    put_delivery(store, put_endpoint(store, hook.url))
    for _ in range(3):
        _send(call)
    assert len(hook.received) == 1


def test_an_endpoint_is_sent_what_is_due_in_order(
    call: Caller, store: firestore.Client, hook: Endpoint
) -> None:
    target = put_endpoint(store, hook.url)
    for number in (3, 1, 5, 2, 4):
        put_delivery(store, target, number)
    _send(call)
    assert [json.loads(request.body)["number"] for request in hook.received] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
def test_what_was_not_taken_is_tried_again_after_a_while_under_the_same_id(
    call: Caller, store: firestore.Client, hook: Endpoint, status: int
) -> None:
    delivery = put_delivery(store, put_endpoint(store, hook.url))
    hook.decide = lambda _: Answer(status, b"not now")
    _send(call)
    _send(call)
    failed = stored_delivery(store, delivery)
    assert (failed.status, failed.attempt_count) == (PENDING, 1)
    assert failed.error == f"the endpoint answered HTTP {status}"
    (attempt,) = failed.attempts
    assert (attempt.status, attempt.excerpt) == (status, "not now")
    assert failed.next_attempt_at is not None
    wait = failed.next_attempt_at - attempt.attempted_at
    assert RETRY_AFTER[0] <= wait <= RETRY_AFTER[0] * 1.1

    hook.decide = lambda _: Answer()
    make_due(store, delivery)
    _send(call)
    assert stored_delivery(store, delivery).status is DELIVERED
    first, second = hook.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery.webhook_id
    assert first.body == second.body


def test_an_endpoint_that_asks_to_be_left_alone_is(
    call: Caller, store: firestore.Client, hook: Endpoint
) -> None:
    delivery = put_delivery(store, put_endpoint(store, hook.url))
    hook.decide = lambda _: Answer(429, headers={"Retry-After": "3600"})
    _send(call)
    failed = stored_delivery(store, delivery)
    assert failed.next_attempt_at is not None
    assert failed.next_attempt_at - failed.attempts[0].attempted_at == timedelta(hours=1)


def test_one_event_that_is_refused_does_not_hold_up_the_others(
    call: Caller, store: firestore.Client, hook: Endpoint
) -> None:
    target = put_endpoint(store, hook.url)
    refused, *others = (put_delivery(store, target, number) for number in (1, 2, 3))
    hook.decide = lambda request: Answer(500 if b'"number":1' in request.body else 200)
    _send(call)
    assert stored_delivery(store, refused).status is PENDING
    assert {stored_delivery(store, each).status for each in others} == {DELIVERED}


def test_an_endpoint_that_is_away_is_asked_once_and_others_are_not_held_up(
    call: Caller, store: firestore.Client, hook: Endpoint
) -> None:
    away = put_endpoint(store, f"http://127.0.0.1:{closed_port()}/")
    waiting = [put_delivery(store, away, number) for number in (1, 2, 3)]
    other = put_delivery(store, put_endpoint(store, hook.url))
    _send(call)
    stored = [stored_delivery(store, each) for each in waiting]
    assert [each.attempt_count for each in stored] == [1, 0, 0]
    assert stored[0].error == "the endpoint did not answer: ConnectionRefusedError"
    moments = [each.next_attempt_at for each in stored[1:]]
    assert moments == sorted(moments, key=str)
    assert all(moment and moment > datetime.now(UTC) + timedelta(seconds=5) for moment in moments)
    assert stored_delivery(store, other).status is DELIVERED


def test_one_slow_endpoint_held_up_all_others_and_only_itself_here(
    call: Caller, project: Project, store: firestore.Client, hook: Endpoint
) -> None:
    project.setenv(WINDOW_S="5")
    release = threading.Event()
    with endpoint(lambda _: Answer(200, wait=release)) as slow, ThreadPoolExecutor(1) as pool:
        held = put_delivery(store, put_endpoint(store, slow.url))
        window = pool.submit(call.request, FUNCTION)
        eventually(lambda: slow.received)
        try:
            # It becomes due while the slow one is being waited for.
            other = put_delivery(store, put_endpoint(store, hook.url))
            eventually(lambda: hook.received)
            eventually(lambda: stored_delivery(store, other).status is DELIVERED)
            assert stored_delivery(store, held).status is PENDING
        finally:
            release.set()
        assert window.result().status == 200
    assert stored_delivery(store, held).status is DELIVERED
    assert (len(slow.received), len(hook.received)) == (1, 1)


def test_after_the_last_attempt_it_has_failed(call: Caller, store: firestore.Client, hook: Endpoint) -> None:
    delivery = put_delivery(
        store, put_endpoint(store, hook.url), tries=len(RETRY_AFTER), attempt_count=len(RETRY_AFTER)
    )
    hook.decide = lambda _: Answer(500)
    _send(call)
    failed = stored_delivery(store, delivery)
    assert (failed.status, failed.next_attempt_at) == (FAILED, None)
    assert failed.error == "given up after 10 attempts: the endpoint answered HTTP 500"


def test_410_switches_the_endpoint_off_at_once_and_operators_and_owner_see_why(
    call: Caller, store: firestore.Client, hook: Endpoint, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    alerts = tap(topics.OPERATIONS_ALERTS)
    target = put_endpoint(store, f"{hook.url}/hook?key=hidden")
    first, second = put_delivery(store, target, 1), put_delivery(store, target, 2)
    hook.decide = lambda _: Answer(410)

    _send(call)

    assert len(hook.received) == 1
    now = stored_endpoint(store, target)
    assert now.state is EndpointState.GONE
    assert "410 Gone" in str(now.reason)
    assert stored_delivery(store, first).status is FAILED
    other = stored_delivery(store, second)
    assert (other.status, other.attempt_count) == (FAILED, 0)
    assert "410 Gone" in str(other.error)
    (alert,) = alerts.events()
    assert (alert.kind, alert.subject) == ("webhook_disabled", target.endpoint_id)
    assert "410 Gone" in alert.message
    assert "hidden" not in alert.model_dump_json()
    assert outbox_left.ids() == []


def test_an_endpoint_that_took_nothing_for_days_is_switched_off_and_success_forgives(
    call: Caller, store: firestore.Client, hook: Endpoint
) -> None:
    long_ago = datetime.now(UTC) - DISABLED_AFTER
    hook.decide = lambda request: Answer(200 if request.path == "/recovers" else 500)
    urls = (f"{hook.url}/fails", f"{hook.url}/recovers", f"{hook.url}/begins")
    failing, recovering, beginning = (
        put_endpoint(store, url, failing_since=None if "begins" in url else long_ago) for url in urls
    )
    for target in (failing, recovering, beginning):
        put_delivery(store, target)
    _send(call)
    switched_off = stored_endpoint(store, failing)
    assert switched_off.state is EndpointState.FAILING
    assert "HTTP 500" in str(switched_off.reason)
    forgiven = stored_endpoint(store, recovering)
    assert (forgiven.state, forgiven.failing_since) == (EndpointState.ENABLED, None)
    noted = stored_endpoint(store, beginning)
    assert noted.enabled
    assert noted.failing_since is not None


def test_an_endpoint_that_its_owner_disabled_is_sent_nothing(
    call: Caller, store: firestore.Client, hook: Endpoint
) -> None:
    target = put_endpoint(store, hook.url, state=EndpointState.DISABLED, reason="disabled by its owner")
    delivery = put_delivery(store, target)
    _send(call)
    assert hook.received == []
    failed = stored_delivery(store, delivery)
    assert (failed.status, failed.error) == (FAILED, "the endpoint is disabled: disabled by its owner")


def test_during_a_rotation_either_secret_verifies_and_after_it_only_the_new_one(
    call: Caller, store: firestore.Client, hook: Endpoint
) -> None:
    old = format_secret(secrets.token_bytes(32))
    soon = datetime.now(UTC) + timedelta(hours=1)
    rotating = put_endpoint(store, f"{hook.url}/rotating", previous_secret=PreviousSecret(old, soon))
    past = datetime.now(UTC) - timedelta(seconds=1)
    rotated = put_endpoint(store, f"{hook.url}/rotated", previous_secret=PreviousSecret(old, past))
    for target in (rotating, rotated):
        put_delivery(store, target)
    _send(call)
    by_path = {request.path: request for request in hook.received}

    def verifies(request: Received, secret: str) -> bool:
        try:
            Webhook(secret).verify(request.body, dict(request.headers))
        except WebhookVerificationError:
            return False
        return True

    assert verifies(by_path["/rotating"], old)
    assert verifies(by_path["/rotating"], rotating.secret)
    assert verifies(by_path["/rotated"], rotated.secret)
    assert not verifies(by_path["/rotated"], old)


def test_our_own_network_is_not_reached_where_it_is_not_allowed(
    call: Caller, project: Project, store: firestore.Client, hook: Endpoint
) -> None:
    project.setenv(WEBHOOK_LOCAL_NETWORKS="none")
    delivery = put_delivery(store, put_endpoint(store, hook.url.replace("127.0.0.1", "localhost")))
    _send(call)
    assert hook.received == []
    assert stored_delivery(store, delivery).error == (
        "the endpoint's name resolves to an address that is not public"
    )


def test_two_copies_at_once_send_one(call: Caller, store: firestore.Client) -> None:
    """While one copy waits for the endpoint, the other finds nothing that is due."""
    release = threading.Event()
    with endpoint(lambda _: Answer(200, wait=release)) as slow, ThreadPoolExecutor(1) as pool:
        delivery = put_delivery(store, put_endpoint(store, slow.url))
        first = pool.submit(call.request, FUNCTION)
        eventually(lambda: slow.received)
        try:
            # Its lease is taken from it, as by a process that was suspended.
            store.document(f"leases/{FUNCTION}").delete()
            _send(call)
        finally:
            release.set()
        assert first.result().status == 200
        assert len(slow.received) == 1
    assert stored_delivery(store, delivery).status is DELIVERED


def test_it_fails_while_firestore_does_and_goes_on_afterwards(
    call: Caller, store: firestore.Client, hook: Endpoint, without: Outage
) -> None:
    put_delivery(store, put_endpoint(store, hook.url))
    with without("firestore"):
        assert call.request(FUNCTION).status == 503
    _send(call)
    assert len(hook.received) == 1


def test_a_delivery_whose_endpoint_is_gone_from_the_store_stops_nothing(
    call: Caller, store: firestore.Client, hook: Endpoint
) -> None:
    lost = put_endpoint(store, hook.url)
    orphan = put_delivery(store, lost)
    store.document(f"webhook_endpoints/{lost.endpoint_id}").delete()
    put_delivery(store, put_endpoint(store, hook.url))
    _send(call)
    assert stored_delivery(store, orphan).status is FAILED
    assert len(hook.received) == 1


def test_a_crash_between_commit_and_publish_is_made_good_by_the_sweep(
    call: Caller,
    store: firestore.Client,
    hook: Endpoint,
    without: Outage,
    tap: Callable[[str], Tap],
    outbox_left: Outbox,
) -> None:
    alerts = tap(topics.OPERATIONS_ALERTS)
    put_delivery(store, put_endpoint(store, hook.url))
    hook.decide = lambda _: Answer(410)
    with without("pubsub"):
        _send(call)
    assert len(outbox_left.ids()) == 1
    _send(call)
    assert alerts.pull() == []

    outbox_left.age()
    assert call.request("relay_outbox").status == 200

    assert [alert.kind for alert in alerts.events()] == ["webhook_disabled"]
    assert outbox_left.ids() == []


def test_a_process_killed_between_sending_and_recording_sends_once_more_under_the_same_id(
    call: Caller, project: Project, store: firestore.Client
) -> None:
    """SIGKILL after the endpoint has the webhook and before its answer is recorded."""
    release = threading.Event()
    with (
        endpoint(lambda _: Answer(200, wait=release)) as hook,
        Instances(project, FUNCTION) as instances,
    ):
        delivery = put_delivery(store, put_endpoint(store, hook.url))
        url = instances.start()
        instances.post(url)
        eventually(lambda: hook.received, within_s=30)
        instances.kill(url)
        release.set()
        claimed = stored_delivery(store, delivery)
        assert (claimed.status, claimed.attempt_count) == (PENDING, 0)
        assert claimed.next_attempt_at is not None
        assert claimed.next_attempt_at > datetime.now(UTC)
        store.document(f"leases/{FUNCTION}").delete()
        # Until the killed process's claim ends, nobody else sends.
        _send(call)
        assert len(hook.received) == 1

        make_due(store, delivery)
        _send(call)

        first, second = hook.received
        assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery.webhook_id
        assert first.body == second.body
    done = stored_delivery(store, delivery)
    assert (done.status, done.attempt_count) == (DELIVERED, 1)
