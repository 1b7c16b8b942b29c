"""Publishing, and what a published message carries beside its body."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from google.api_core import exceptions as google_errors
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.types import BatchSettings, PublisherOptions

from shared.config import Settings
from shared.errors import RetryableError

PUBLISH_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """One message to publish. An empty ``ordering_key`` means that order does not matter."""

    topic: str
    data: bytes
    ordering_key: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


class Publisher:
    """Publishes messages and waits until Pub/Sub has them."""

    def __init__(self, client: PublisherClient, project: str) -> None:
        self._client = client
        self._project = project

    def publish(self, messages: Sequence[OutboundMessage]) -> list[Exception | None]:
        """Publish all, in order per ordering key; one entry per message, None where Pub/Sub has it.

        A message behind a failed one of the same ordering key fails too, so that order holds. What fails
        is tried once more, at once: a connection that Pub/Sub closed is the usual reason.
        """
        outcomes = self._attempt(messages)
        failed = [index for index, outcome in enumerate(outcomes) if outcome is not None]
        if failed:
            again = self._attempt([messages[index] for index in failed])
            for index, outcome in zip(failed, again, strict=True):
                outcomes[index] = outcome
        return outcomes

    def _attempt(self, messages: Sequence[OutboundMessage]) -> list[Exception | None]:
        futures = [
            self._client.publish(
                self._client.topic_path(self._project, message.topic),
                message.data,
                ordering_key=message.ordering_key,
                **message.attributes,
            )
            for message in messages
        ]
        outcomes: list[Exception | None] = []
        stopped: dict[tuple[str, str], None] = {}
        for message, future in zip(messages, futures, strict=True):
            try:
                future.result(timeout=PUBLISH_TIMEOUT_S + 2)
                outcomes.append(None)
            except Exception as error:  # noqa: BLE001 whatever went wrong, the message stays unpublished
                outcomes.append(error)
                if message.ordering_key:
                    stopped[message.topic, message.ordering_key] = None
        for topic, ordering_key in stopped:
            # The client stops a key after a failure until told otherwise, for ever; it refuses to be told
            # so of one that it did not stop.
            with contextlib.suppress(RuntimeError):
                self._client.resume_publish(self._client.topic_path(self._project, topic), ordering_key)
        return outcomes

    def check(self) -> None:
        """Make sure that Pub/Sub answers and has topics of ours.

        Raises:
            RetryableError: it does not.
        """
        try:
            topics = self._client.list_topics(
                request={"project": f"projects/{self._project}", "page_size": 1},
                retry=None,
                timeout=PUBLISH_TIMEOUT_S,
            )
            if next(iter(topics), None) is None:
                raise RetryableError(f"project {self._project} has no topics")
        except google_errors.GoogleAPICallError as error:
            raise RetryableError(f"Pub/Sub did not answer: {error}") from error


@lru_cache(maxsize=16)
def connect(settings: Settings) -> Publisher:
    """The process's publisher for these settings."""
    client = PublisherClient(
        batch_settings=BatchSettings(max_messages=500, max_bytes=4_000_000, max_latency=0.002),
        publisher_options=PublisherOptions(
            enable_message_ordering=True,
            # With any policy of retries the client goes on for ever once messages are ordered.
            retry=None,
            timeout=PUBLISH_TIMEOUT_S,
        ),
    )
    return Publisher(client, settings.project)
