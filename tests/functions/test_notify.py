"""notify: each channel of each recipient once, under an id by which a repeat is recognised."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from google.cloud import firestore
from standardwebhooks.webhooks import Webhook

from shared.domain.notifications import Channel, DeliveryStatus, delivery_id
from shared.events import topics
from shared.stores import contacts, database, deliveries
from shared.stores.deliveries import Delivery
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Outage, Outbox, Tap
from tests.functions.instances import Instances
from tests.messages import margin_transition, new_address, operations_alert
from tests.servers import Answer, Endpoint, MailRelay, closed_port, endpoint, mail_relay

FUNCTION = "notify"
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ADDRESS = "risk@client.example"


@pytest.fixture
def relay(project: Project) -> Iterator[MailRelay]:
    """The mail relay of this test's project."""
    with mail_relay() as running:
        project.setenv(SMTP_URL=running.url)
        yield running


@pytest.fixture
def hook() -> Iterator[Endpoint]:
    """The client's webhook endpoint."""
    with endpoint() as running:
        yield running


def _add_contact(
    store: firestore.Client, recipient_id: str, *, email: str | None = None, url: str | None = None
) -> None:
    webhook = None if url is None else contacts.WebhookEndpoint(url, SECRET)
    commit = database.Commit(store)
    commit.put(contacts.path(recipient_id), contacts.encode(contacts.Contact(recipient_id, email, webhook)))
    commit.apply()


@pytest.fixture
def client_id(store: firestore.Client, relay: MailRelay, hook: Endpoint) -> str:
    """An account whose owner is told by e-mail and webhook."""
    account_id = new_address()
    _add_contact(store, account_id, email=ADDRESS, url=f"{hook.url}/margin")
    return account_id


def _deliveries(store: firestore.Client) -> dict[str, Delivery]:
    found = (
        deliveries.decode(document.to_dict() or {}) for document in store.collection("deliveries").stream()
    )
    return {delivery.channel.value: delivery for delivery in found}


def test_an_alert_reaches_every_channel_signed_and_is_recorded(
    call: Caller,
    store: firestore.Client,
    client_id: str,
    relay: MailRelay,
    hook: Endpoint,
    tap: Callable[[str], Tap],
    outbox_left: Outbox,
) -> None:
    announced = tap(topics.DELIVERIES)
    event = margin_transition(client_id)

    assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged

    (message,) = relay.messages
    assert relay.recipients == [ADDRESS]
    assert message["Subject"] == f"[HIGH] Margin call: {client_id}"
    assert message["From"] == "margin@fusion-prime.example"
    text = message.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert b"Margin health: 20.05 %" in text
    assert b"Collateral: 1,200.50 USD" in text
    (request,) = hook.received
    assert request.path == "/margin"
    assert Webhook(SECRET).verify(request.body, dict(request.headers)) == json.loads(event.encode())
    assert {delivery.status for delivery in _deliveries(store).values()} == {DeliveryStatus.DELIVERED}
    assert {(e.channel, e.status, e.attempt) for e in announced.events()} == {
        ("email", "delivered", 1),
        ("webhook", "delivered", 1),
    }
    assert outbox_left.ids() == []


def test_operators_are_told_of_the_platform(
    call: Caller, store: firestore.Client, relay: MailRelay, hook: Endpoint
) -> None:
    _add_contact(store, contacts.OPERATIONS, email="ops@fusion.example", url=hook.url)
    assert call.push(FUNCTION, topics.OPERATIONS_ALERTS, operations_alert()).acknowledged
    assert relay.messages[0]["Subject"] == "[CRITICAL] ETH: ETH has no usable mark"
    assert json.loads(hook.received[0].body)["kind"] == "mark_unusable"


def test_a_transition_that_concerns_nobody_is_not_sent(
    call: Caller, store: firestore.Client, client_id: str, relay: MailRelay
) -> None:
    event = margin_transition(client_id, notify=False)
    assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged
    assert relay.messages == []
    assert _deliveries(store) == {}


def test_a_duplicate_is_not_sent_again(
    call: Caller, client_id: str, relay: MailRelay, hook: Endpoint
) -> None:
    event = margin_transition(client_id)
    for _ in range(3):
        assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged
    assert (len(relay.messages), len(hook.received)) == (1, 1)


def test_two_copies_at_once_send_one(call: Caller, store: firestore.Client, relay: MailRelay) -> None:
    """While one copy sends, the other is told to come again; then it finds the delivery done."""
    release = threading.Event()
    account_id = new_address()
    event = margin_transition(account_id)
    with endpoint(lambda _: Answer(200, wait=release)) as slow, ThreadPoolExecutor(1) as pool:
        _add_contact(store, account_id, url=slow.url)
        first = pool.submit(call.push, FUNCTION, topics.MARGIN_ALERTS, event)
        eventually(lambda: slow.received)
        try:
            assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).status == 500
        finally:
            release.set()
        assert first.result().acknowledged
        assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged
        assert len(slow.received) == 1


def test_alerts_out_of_order_are_all_sent_each_with_its_own_id(
    call: Caller, client_id: str, relay: MailRelay
) -> None:
    for sequence in (3, 1, 2):
        assert call.push(FUNCTION, topics.MARGIN_ALERTS, margin_transition(client_id, sequence)).acknowledged
    assert len({message["Message-ID"] for message in relay.messages}) == 3


@pytest.mark.parametrize("failure", ["the relay is away", "the relay says later", "the hook says later"])
def test_a_channel_that_fails_for_now_is_tried_again_and_the_other_is_not(
    call: Caller,
    project: Project,
    store: firestore.Client,
    client_id: str,
    relay: MailRelay,
    hook: Endpoint,
    failure: str,
) -> None:
    event = margin_transition(client_id)
    if failure == "the relay is away":
        project.setenv(SMTP_URL=f"smtp://127.0.0.1:{closed_port()}")
    elif failure == "the relay says later":
        relay.refuse_data = "451 try again later"
    else:
        hook.decide = lambda _: Answer(503)
    broken, whole = ("webhook", "email") if failure == "the hook says later" else ("email", "webhook")

    assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).status == 500

    assert _deliveries(store)[broken].status is DeliveryStatus.FAILED
    assert _deliveries(store)[broken].error
    assert _deliveries(store)[whole].status is DeliveryStatus.DELIVERED

    project.setenv(SMTP_URL=relay.url)
    relay.refuse_data = None
    hook.decide = lambda _: Answer()
    assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged

    assert _deliveries(store)[broken].status is DeliveryStatus.DELIVERED
    assert _deliveries(store)[broken].attempt == 2
    assert _deliveries(store)[whole].attempt == 1
    assert len(relay.messages) == 1
    if broken == "webhook":
        first, second = hook.received
        assert first.headers["webhook-id"] == second.headers["webhook-id"]


@pytest.mark.parametrize("refusal", ["the relay refuses the recipient", "the hook is gone"])
def test_a_channel_that_refuses_for_good_is_given_up_and_the_other_delivered(
    call: Caller,
    store: firestore.Client,
    client_id: str,
    relay: MailRelay,
    hook: Endpoint,
    tap: Callable[[str], Tap],
    refusal: str,
) -> None:
    announced = tap(topics.DELIVERIES)
    if refusal == "the hook is gone":
        hook.decide = lambda _: Answer(410)
    else:
        relay.refuse_recipient = "550 no such user"
    event = margin_transition(client_id)

    for _ in range(2):
        assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged

    statuses = {channel: delivery.status for channel, delivery in _deliveries(store).items()}
    broken = "webhook" if refusal == "the hook is gone" else "email"
    assert statuses.pop(broken) is DeliveryStatus.REJECTED
    assert list(statuses.values()) == [DeliveryStatus.DELIVERED]
    assert ("410" if broken == "webhook" else "550") in str(_deliveries(store)[broken].error)
    assert sorted((e.status, e.attempt) for e in announced.events()) == [("delivered", 1), ("rejected", 1)]


@pytest.mark.parametrize("lack", ["no contact", "a contact without a channel"])
def test_an_alert_for_somebody_who_cannot_be_reached_is_kept_as_a_dead_letter(
    call: Caller, store: firestore.Client, relay: MailRelay, tap: Callable[[str], Tap], lack: str
) -> None:
    account_id = new_address()
    if lack != "no contact":
        _add_contact(store, account_id)
    dead = tap(topics.dead_letter_topic(topics.MARGIN_ALERTS))
    event = margin_transition(account_id)

    assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged
    assert dead.pull() == [event.encode()]

    # Its operator adds the contact and puts the letter back.
    _add_contact(store, account_id, email=ADDRESS)
    assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged
    assert len(relay.messages) == 1


def test_it_is_delivered_again_while_firestore_fails(
    call: Caller, client_id: str, relay: MailRelay, without: Outage
) -> None:
    event = margin_transition(client_id)
    with without("firestore"):
        assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).status == 500
    assert relay.messages == []
    assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged
    assert len(relay.messages) == 1


def test_a_crash_between_commit_and_publish_is_made_good_by_the_sweep(
    call: Caller, client_id: str, without: Outage, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced = tap(topics.DELIVERIES)
    event = margin_transition(client_id)
    with without("pubsub"):
        call.push(FUNCTION, topics.MARGIN_ALERTS, event)
    assert len(outbox_left.ids()) == 2
    assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged
    assert announced.pull() == []

    outbox_left.age()
    assert call.request("relay_outbox").status == 200

    assert {(e.channel, e.status) for e in announced.events()} == {
        ("email", "delivered"),
        ("webhook", "delivered"),
    }
    assert outbox_left.ids() == []


def test_a_process_killed_while_sending_sends_once_more_under_the_same_ids(
    call: Caller, project: Project, store: firestore.Client
) -> None:
    """SIGKILL after the endpoint has the webhook and before the function knows it."""
    release = threading.Event()
    account_id = new_address()
    event = margin_transition(account_id)
    identifier = delivery_id(event.event_id, account_id, Channel.WEBHOOK)
    with (
        mail_relay() as relay,
        endpoint(lambda _: Answer(200, wait=release)) as hook,
        Instances(project, FUNCTION) as instances,
    ):
        project.setenv(SMTP_URL=relay.url)
        _add_contact(store, account_id, email=ADDRESS, url=hook.url)
        url = instances.start()
        instances.push(url, topics.MARGIN_ALERTS, event)
        eventually(lambda: hook.received, within_s=20)
        instances.kill(url)
        release.set()
        assert _deliveries(store)["webhook"].status is DeliveryStatus.SENDING
        # Until the killed process's lease ends, nobody else sends.
        assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).status == 500
        assert len(hook.received) == 1
        ended = datetime.now(UTC) - timedelta(seconds=1)
        for channel in Channel:
            each = delivery_id(event.event_id, account_id, channel)
            store.document(deliveries.path(each)).update({"leased_until": ended})

        assert call.push(FUNCTION, topics.MARGIN_ALERTS, event).acknowledged

        first, second = hook.received
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
        assert len({message["Message-ID"] for message in relay.messages}) == 1
    found = deliveries.find_many(store, [identifier])[identifier][0]
    assert (found.status, found.attempt) == (DeliveryStatus.DELIVERED, 2)
