"""Redelivery and dead letters, which Google's Pub/Sub emulator gets wrong.

The emulator (0.8.20) delivers a message of a subscription with a retry policy three times and then never
again, without forwarding it; the same happens to an ordered subscription with a dead-letter policy after
``max_delivery_attempts``, and what is behind the message is then never delivered either. A subscription
with neither is delivered about every second until it is acknowledged. So subscriptions are created with
neither here (``provision.py``), and the functions' host applies the manifest's policy to what is pushed
with this module, as Pub/Sub does in production.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from shared.manifest import Function, Manifest, MessageRetry

ACKNOWLEDGING_STATUSES = frozenset({102, 200, 201, 202, 204})
"""What Pub/Sub takes for an acknowledgement (https://cloud.google.com/pubsub/docs/push)."""

_PUBLISH_LIMIT_S = 10.0


class PublishError(Exception):
    """A dead letter could not be published: the message is delivered again, and so is this tried again."""


@dataclass(frozen=True)
class DeadLetter:
    """A message to be forwarded: where to, and as it is to be published there."""

    project: str
    topic: str
    message: Mapping[str, Any]


@dataclass
class _Failures:
    """The failed deliveries of one message to one function."""

    first_at_s: float
    count: int = 0


def allowed_time_s(retry: MessageRetry) -> float:
    """How long Pub/Sub keeps trying: the sum of the pauses between all attempts, each twice the one before.

    The emulator tries every second whatever the policy says, so its attempts alone would give up far sooner
    than production does.
    """
    pauses = range(retry.max_delivery_attempts - 1)
    return sum(min(retry.max_backoff_s, retry.min_backoff_s * 2.0**attempt) for attempt in pauses)


class DeadLettering:
    """Counts failed deliveries and forwards what has had its attempts.

    Counts are kept in memory: a restart gives a message its attempts again, as Pub/Sub's own counting,
    which is approximate, may.

    Args:
        manifest: the topics, and each function's retry policy.
        publish: publishes a dead letter; raises :class:`PublishError`.
        now_s: seconds on a clock that never goes back.
    """

    def __init__(
        self, manifest: Manifest, publish: Callable[[DeadLetter], None], now_s: Callable[[], float]
    ) -> None:
        self._manifest = manifest
        self._publish = publish
        self._now_s = now_s
        self._failures: dict[tuple[str, str, str], _Failures] = {}
        self._lock = threading.Lock()

    def is_given_up(self, function: Function, path: str, body: bytes, *, acknowledged: bool) -> bool:
        """Note how a delivery went; True where the message was forwarded and is to be acknowledged.

        Args:
            function: whose delivery it was.
            path: the push path below the function, ``/projects/<project>/topics/<topic>``.
            body: the push body.
            acknowledged: whether the function took it.
        """
        words = path.strip("/").split("/")
        if len(words) != 4 or (words[0], words[2]) != ("projects", "topics"):
            return False
        project, topic = words[1], self._manifest.topics.get(words[3])
        # A dead letter that cannot be recorded is delivered until it can: there is nowhere else to put it.
        if topic is None:
            return False
        push = json.loads(body)
        message = push["message"]
        key = (function.name, topic.name, message["messageId"])
        with self._lock:
            if acknowledged:
                self._failures.pop(key, None)
                return False
            failures = self._failures.setdefault(key, _Failures(self._now_s()))
            failures.count += 1
            lasted_s = self._now_s() - failures.first_at_s
        retry = function.retry
        if failures.count < retry.max_delivery_attempts or lasted_s < allowed_time_s(retry):
            return False
        self._publish(
            DeadLetter(project, topic.dead_letter, _forwarded(message, push["subscription"], failures.count))
        )
        with self._lock:
            self._failures.pop(key, None)
        return True


def _forwarded(message: Mapping[str, Any], subscription: str, attempts: int) -> dict[str, Any]:
    """The message with the attributes that Pub/Sub adds when it forwards one."""
    _, project, _, subscription_id = subscription.split("/")
    return {
        "data": message.get("data", ""),
        "attributes": {
            **message.get("attributes", {}),
            "CloudPubSubDeadLetterSourceSubscription": subscription_id,
            "CloudPubSubDeadLetterSourceSubscriptionProject": project,
            "CloudPubSubDeadLetterSourceDeliveryCount": str(attempts),
            "CloudPubSubDeadLetterSourceTopicPublishTime": message["publishTime"],
        },
    }


def publisher_to(pubsub_host: str) -> Callable[[DeadLetter], None]:
    """Publishes dead letters on a Pub/Sub emulator."""
    pool = urllib3.PoolManager(retries=False, timeout=_PUBLISH_LIMIT_S)

    def publish(letter: DeadLetter) -> None:
        url = f"http://{pubsub_host}/v1/projects/{letter.project}/topics/{letter.topic}:publish"
        try:
            answer = pool.request("POST", url, json={"messages": [letter.message]})
        except urllib3.exceptions.HTTPError as error:
            raise PublishError(f"{url}: {error}") from error
        if answer.status != 200:
            raise PublishError(f"{url} answered {answer.status}: {answer.data[:200]!r}")

    return publish
