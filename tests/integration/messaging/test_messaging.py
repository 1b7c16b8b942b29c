"""Publishing and pulling, and a Pub/Sub that is away."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator

import pytest

from shared.config import Settings
from shared.errors import RetryableError
from shared.events import topics
from shared.manifest import load_manifest, subscription_id
from shared.messaging import publisher, puller
from shared.messaging.publisher import OutboundMessage
from shared.messaging.subscriber import EphemeralSubscription
from tests.conftest import ROOT, Project
from tests.eventually import eventually
from tests.servers import closed_port

ARCHIVE = load_manifest(ROOT / "functions.yaml").functions["archive_events"]
SUBSCRIPTION = subscription_id(ARCHIVE.name, topics.MARGIN_ALERTS)


@pytest.fixture
def settings(project: Project) -> Settings:
    """Of a function in this project that may pull."""
    project.provision_pulls()
    return project.settings(uses=("pubsub",))


def _message(number: int, key: str = "") -> OutboundMessage:
    return OutboundMessage(topics.MARGIN_ALERTS, f"m{number}".encode(), key, {"number": str(number)})


def _pulled(settings: Settings, count: int) -> list[puller.PulledMessage]:
    source = puller.connect(settings)
    found: list[puller.PulledMessage] = []

    def enough() -> bool:
        found.extend(source.pull(SUBSCRIPTION))
        return len(found) >= count

    eventually(enough)
    return found


def test_what_is_published_is_pulled_whole_and_in_order_per_key(settings: Settings) -> None:
    messages = [_message(number, f"key{number % 3}") for number in range(300)]
    assert publisher.connect(settings).publish(messages) == [None] * 300

    found = _pulled(settings, 300)

    for key in ("key0", "key1", "key2"):
        numbers = [int(each.attributes["number"]) for each in found if each.ordering_key == key]
        assert numbers == sorted(numbers)
    assert {each.data for each in found} == {message.data for message in messages}
    assert all(each.message_id and each.published_at for each in found)
    puller.connect(settings).acknowledge(found)
    assert puller.connect(settings).pull(SUBSCRIPTION) == []


def test_what_is_given_back_comes_again_at_once(settings: Settings) -> None:
    publisher.connect(settings).publish([_message(1)])
    first = _pulled(settings, 1)
    assert puller.connect(settings).pull(SUBSCRIPTION) == []
    puller.connect(settings).give_back(first)
    assert [each.data for each in _pulled(settings, 1)] == [b"m1"]


def test_a_failure_of_one_topic_is_told_apart_from_the_rest(settings: Settings) -> None:
    sender = publisher.connect(settings)
    lost = OutboundMessage("never.made.v1", b"x", "k")
    outcomes = sender.publish([_message(1, "k"), lost, _message(2, "k")])
    assert outcomes[0] is None
    assert "NotFound" in repr(outcomes[1])
    assert outcomes[2] is None
    # The key is not stopped for ever.
    assert "NotFound" in repr(sender.publish([lost, lost])[1])


def test_pubsub_that_is_away_fails_every_call_at_once_and_is_used_again_when_it_is_back(
    project: Project, settings: Settings
) -> None:
    # A client is made for the environment that it is first asked for in.
    publisher.connect(settings).check()
    project.setenv(PUBSUB_EMULATOR_HOST=f"127.0.0.1:{closed_port()}")
    away = project.settings(uses=("pubsub",))
    started = time.monotonic()
    for _ in range(2):
        outcomes = publisher.connect(away).publish([_message(1, "k"), _message(2, "k"), _message(3)])
        assert all("ServiceUnavailable" in repr(outcome) or "Paused" in repr(outcome) for outcome in outcomes)
    calls: list[Callable[[], object]] = [
        publisher.connect(away).check,
        lambda: puller.connect(away).pull(SUBSCRIPTION),
        lambda: puller.connect(away).acknowledge(
            [puller.PulledMessage(SUBSCRIPTION, "a", "m", b"", {}, "", None)]  # type: ignore[arg-type]
        ),
    ]
    for call in calls:
        with pytest.raises(RetryableError, match="Pub/Sub did not"):
            call()
    assert time.monotonic() - started < 10

    publisher.connect(settings).check()
    assert publisher.connect(settings).publish([_message(1, "k")]) == [None]


def test_a_project_without_topics_is_told(project: Project) -> None:
    project.setenv(GOOGLE_CLOUD_PROJECT="nothing-here")
    with pytest.raises(RetryableError, match="project nothing-here has no topics"):
        publisher.connect(project.settings(uses=("pubsub",))).check()


@pytest.fixture
def heard(settings: Settings) -> Iterator[queue.SimpleQueue[tuple[bytes, str]]]:
    """What an ephemeral subscription hears."""
    messages: queue.SimpleQueue[tuple[bytes, str]] = queue.SimpleQueue()
    ended: list[BaseException | None] = []
    subscription = EphemeralSubscription(
        settings,
        topics.MARGIN_ALERTS,
        name="test",
        on_message=lambda data, key: messages.put((data, key)),
        on_end=ended.append,
    )
    publisher.connect(settings).publish([_message(0)])
    subscription.open()
    yield messages
    subscription.close()
    assert ended == []


def test_an_ephemeral_subscription_hears_what_comes_from_now_on(
    settings: Settings, heard: queue.SimpleQueue[tuple[bytes, str]]
) -> None:
    publisher.connect(settings).publish([_message(number, "k") for number in (1, 2, 3)])
    assert [heard.get(timeout=10) for _ in range(3)] == [(f"m{number}".encode(), "k") for number in (1, 2, 3)]
