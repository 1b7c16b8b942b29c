"""Publishing, and what a published message carries beside its body."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

from google.api_core import exceptions as google_errors
from google.api_core.gapic_v1 import routing_header
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.types import PublishRequest, PubsubMessage

from shared.config import Settings
from shared.errors import RetryableError

PUBLISH_TIMEOUT_S = 5.0

# Below what Pub/Sub takes in a request: 1,000 messages and 10 MB.
_REQUEST_MESSAGES = 500
_REQUEST_BYTES = 4_000_000
_MESSAGE_BYTES = 1_000
"""What a message's attributes and key may take beside its data."""

# As many as a connection carries at a time, so that none waits with its time running.
_REQUESTS_IN_FLIGHT = 100


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """One message to publish. An empty ``ordering_key`` means that order does not matter."""

    topic: str
    data: bytes
    ordering_key: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


class Publisher:
    """Publishes messages and waits until Pub/Sub has them.

    A request has messages of one ordering key, as Pub/Sub wants it. The client's own publishing gives every
    key a thread and a timer, which for a commit that concerns many accounts costs four times as much as the
    requests (``benchmarks/messaging``); here they are sent beside each other from the caller's thread.
    """

    def __init__(self, client: PublisherClient, project: str) -> None:
        self._client = client
        self._project = project
        self._send = client.transport.publish

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
        outcomes: list[Exception | None] = [None] * len(messages)
        rest = [_requests(messages, places) for places in _by_key(messages)]
        sent: deque[tuple[list[list[int]], Any]] = deque()
        while rest or sent:
            while rest and len(sent) < _REQUESTS_IN_FLIGHT:
                of_key = rest.pop()
                sent.append((of_key, self._begin([messages[place] for place in of_key[0]])))
            of_key, answer = sent.popleft()
            places, *behind = of_key
            error = _error(answer)
            if error is not None:
                for place in (*places, *chain.from_iterable(behind)):
                    outcomes[place] = error
            elif behind:
                rest.append(behind)
        return outcomes

    def _begin(self, messages: Sequence[OutboundMessage]) -> Any:
        topic = self._client.topic_path(self._project, messages[0].topic)
        return self._send.future(
            PublishRequest(
                topic=topic,
                messages=[
                    PubsubMessage(
                        data=message.data,
                        ordering_key=message.ordering_key,
                        attributes=dict(message.attributes),
                    )
                    for message in messages
                ],
            ),
            timeout=PUBLISH_TIMEOUT_S,
            metadata=(routing_header.to_grpc_metadata([("topic", topic)]),),  # type: ignore[no-untyped-call]
        )

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


def _by_key(messages: Sequence[OutboundMessage]) -> Iterable[list[int]]:
    """The places of messages that one request may have, each in order."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, message in enumerate(messages):
        places.setdefault((message.topic, message.ordering_key), []).append(place)
    return places.values()


def _requests(messages: Sequence[OutboundMessage], places: Sequence[int]) -> list[list[int]]:
    """The places of one key in as many requests as their number and size want."""
    requests: list[list[int]] = [[]]
    size = 0
    for place in places:
        more = len(messages[place].data) + _MESSAGE_BYTES
        if requests[-1] and (len(requests[-1]) == _REQUEST_MESSAGES or size + more > _REQUEST_BYTES):
            requests.append([])
            size = 0
        requests[-1].append(place)
        size += more
    return requests


def _error(answer: Any) -> Exception | None:
    error = answer.exception()
    return None if error is None else google_errors.from_grpc_error(error)  # type: ignore[no-untyped-call]


@lru_cache(maxsize=16)
def connect(settings: Settings) -> Publisher:
    """The process's publisher for these settings."""
    return Publisher(PublisherClient(), settings.project)
