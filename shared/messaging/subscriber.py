"""A subscription that lives as long as one process: what a topic says from now on.

For processes that keep live state in memory. Nothing is redelivered to another instance and nothing is
dead-lettered; whoever needs every message has a durable subscription of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from google.api_core import exceptions as google_errors
from google.cloud.pubsub_v1 import SubscriberClient
from google.cloud.pubsub_v1.subscriber.futures import StreamingPullFuture
from google.cloud.pubsub_v1.subscriber.message import Message
from google.cloud.pubsub_v1.types import FlowControl
from google.protobuf.duration_pb2 import Duration

from shared.config import Settings
from shared.errors import RetryableError

EXPIRES_AFTER_S = 24 * 3600
"""The shortest life Pub/Sub allows: what a killed process leaves behind disappears after a day."""

_ACK_DEADLINE_S = 30
_TIMEOUT_S = 10.0
_MAX_OUTSTANDING = 10_000


class EphemeralSubscription:
    """One topic's messages, handed to a callback as they come and acknowledged.

    Args:
        settings: which project, and which emulator.
        topic: the topic's name.
        name: unique for the process; the subscription is called ``<name>~<topic>``.
        on_message: called in a worker thread with a message's body and ordering key; must not block.
        on_end: called in a worker thread when the stream ends other than by :meth:`close`.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        *,
        name: str,
        on_message: Callable[[bytes, str], None],
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        self._client = SubscriberClient()
        self._topic = self._client.topic_path(settings.project, topic)
        self._path = self._client.subscription_path(settings.project, f"{name}~{topic}")
        self._on_message = on_message
        self._on_end = on_end
        self._stream: StreamingPullFuture | None = None
        self._closing = False

    def open(self) -> None:
        """Create the subscription and begin to listen; every message published afterwards is delivered.

        Raises:
            RetryableError: Pub/Sub did not answer, or the topic does not exist.
        """
        try:
            self._client.create_subscription(
                request={
                    "name": self._path,
                    "topic": self._topic,
                    "ack_deadline_seconds": _ACK_DEADLINE_S,
                    "enable_message_ordering": True,
                    "expiration_policy": {"ttl": Duration(seconds=EXPIRES_AFTER_S)},
                    "message_retention_duration": Duration(seconds=600),
                },
                timeout=_TIMEOUT_S,
            )
        except google_errors.AlreadyExists:
            pass
        except (google_errors.GoogleAPICallError, google_errors.RetryError) as error:
            raise RetryableError(f"Pub/Sub did not create {self._path} on {self._topic}: {error}") from error
        self._stream = self._client.subscribe(
            self._path, self._receive, flow_control=FlowControl(max_messages=_MAX_OUTSTANDING)
        )
        self._stream.add_done_callback(self._ended)

    def close(self) -> None:
        """Stop listening and delete the subscription."""
        self._closing = True
        if self._stream is not None:
            self._stream.cancel()
            # The stream's threads still use the channel that is closed below.
            with contextlib.suppress(Exception):
                self._stream.result(timeout=_TIMEOUT_S)
        with contextlib.suppress(google_errors.GoogleAPICallError, google_errors.RetryError):
            self._client.delete_subscription(request={"subscription": self._path}, timeout=_TIMEOUT_S)
        self._client.close()

    def _receive(self, message: Message) -> None:
        self._on_message(message.data, message.ordering_key)
        message.ack()

    def _ended(self, stream: StreamingPullFuture) -> None:
        if not self._closing:
            self._on_end(stream.exception() if not stream.cancelled() else None)
