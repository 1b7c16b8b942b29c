"""Taking messages in batches, for work that is cheaper by the thousand than one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from google.api_core import exceptions as google_errors
from google.cloud.pubsub_v1 import SubscriberClient

from shared.config import Settings
from shared.errors import RetryableError

MAX_MESSAGES = 500
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class PulledMessage:
    """A message that has to be acknowledged, or comes again."""

    subscription: str
    ack_id: str
    message_id: str
    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str
    published_at: datetime


class Puller:
    """Pulls from subscriptions and acknowledges."""

    def __init__(self, client: SubscriberClient, project: str) -> None:
        self._client = client
        self._project = project

    def pull(self, subscription: str) -> list[PulledMessage]:
        """What waits in a subscription, up to :data:`MAX_MESSAGES`; empty where nothing does.

        Raises:
            RetryableError: Pub/Sub did not answer.
        """
        path = self._client.subscription_path(self._project, subscription)
        try:
            response = self._client.pull(
                request={
                    "subscription": path,
                    "max_messages": MAX_MESSAGES,
                    # Deprecated for waiting, still the only way to ask what is there now.
                    "return_immediately": True,
                },
                retry=None,
                timeout=_TIMEOUT_S,
            )
        except google_errors.DeadlineExceeded:
            return []
        except google_errors.GoogleAPICallError as error:
            raise RetryableError(f"Pub/Sub did not answer a pull of {subscription}: {error}") from error
        return [
            PulledMessage(
                subscription=subscription,
                ack_id=received.ack_id,
                message_id=received.message.message_id,
                data=received.message.data,
                attributes=dict(received.message.attributes),
                ordering_key=received.message.ordering_key,
                published_at=received.message.publish_time,
            )
            for received in response.received_messages
        ]

    def acknowledge(self, messages: Sequence[PulledMessage]) -> None:
        """Say that messages have been dealt with.

        Raises:
            RetryableError: Pub/Sub did not answer; the messages come again.
        """
        for subscription, ack_ids in _by_subscription(messages).items():
            path = self._client.subscription_path(self._project, subscription)
            try:
                self._client.acknowledge(
                    request={"subscription": path, "ack_ids": ack_ids}, retry=None, timeout=_TIMEOUT_S
                )
            except google_errors.GoogleAPICallError as error:
                raise RetryableError(
                    f"Pub/Sub did not take acknowledgements of {subscription}: {error}"
                ) from error

    def give_back(self, messages: Sequence[PulledMessage]) -> None:
        """Say that messages could not be dealt with: they come again at once, and not after their deadline.

        Does nothing where Pub/Sub does not answer.
        """
        for subscription, ack_ids in _by_subscription(messages).items():
            path = self._client.subscription_path(self._project, subscription)
            with contextlib.suppress(google_errors.GoogleAPICallError):
                self._client.modify_ack_deadline(
                    request={"subscription": path, "ack_ids": ack_ids, "ack_deadline_seconds": 0},
                    retry=None,
                    timeout=_TIMEOUT_S,
                )


def _by_subscription(messages: Sequence[PulledMessage]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for message in messages:
        found.setdefault(message.subscription, []).append(message.ack_id)
    return found


@lru_cache(maxsize=8)
def connect(settings: Settings) -> Puller:
    """The process's puller for these settings."""
    return Puller(SubscriberClient(), settings.project)
