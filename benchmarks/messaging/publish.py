"""Publishing what one commit announces, each message under its account's ordering key.

    python -m benchmarks.messaging.publish [--rounds 20]

Ours against the publishing of Google's client, which gives every ordering key a batch, a thread and a timer,
to Google's Pub/Sub emulator on this machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.types import BatchSettings, PublisherOptions

from benchmarks.measure import Timing, timed
from benchmarks.results import Row, report
from local.emulators import running_emulators
from shared.messaging.attributes import EVENT_ID, ORDERING_KEY, TRACEPARENT
from shared.messaging.publisher import OutboundMessage, Publisher

_PROJECT, _TOPIC = "bench-publish", "settlement.events.v1"
_MESSAGES = 200
_BYTES = 900
"""Of a position's change as JSON."""


def _messages(keys: int) -> list[OutboundMessage]:
    moment = datetime.now(UTC).isoformat()
    return [
        OutboundMessage(
            _TOPIC,
            b"x" * _BYTES,
            f"31337:0x{number % keys:040x}",
            {
                EVENT_ID: f"{moment}:{number}",
                ORDERING_KEY: f"31337:0x{number % keys:040x}",
                TRACEPARENT: f"00-{'1' * 32}-{'2' * 16}-01",
            },
        )
        for number in range(_MESSAGES)
    ]


def _published_by_the_client(client: PublisherClient, messages: list[OutboundMessage]) -> None:
    topic = client.topic_path(_PROJECT, _TOPIC)
    answers = [
        client.publish(topic, each.data, ordering_key=each.ordering_key, **each.attributes)
        for each in messages
    ]
    for answer in answers:
        answer.result(timeout=30)


def _published_by_us(publisher: Publisher, messages: list[OutboundMessage]) -> None:
    if any(publisher.publish(messages)):
        raise SystemExit("not all was published")


def _repeated(publish: Callable[[], None], rounds: int) -> Timing:
    """So many publications, behind one that opens the connection."""

    def all_rounds() -> None:
        for _ in range(rounds):
            publish()

    publish()
    return timed(all_rounds)


def measure(rounds: int) -> list[Row]:
    """CPU and wall time a message, for a commit of many accounts and one of a single account."""
    client = PublisherClient(
        batch_settings=BatchSettings(max_messages=500, max_bytes=4_000_000, max_latency=0.002),
        publisher_options=PublisherOptions(enable_message_ordering=True),
    )
    client.create_topic(request={"name": client.topic_path(_PROJECT, _TOPIC)})
    ours = Publisher(PublisherClient(), _PROJECT)
    rows: list[Row] = []
    for keys in (_MESSAGES, 1):
        messages = _messages(keys)
        mine = _repeated(partial(_published_by_us, ours, messages), rounds)
        theirs = _repeated(partial(_published_by_the_client, client, messages), rounds)
        name = f"publish {_MESSAGES} messages of {keys} ordering key{'s' if keys > 1 else ''}"
        peer = "the client's own publishing, same run"
        scale = 1e6 / (rounds * _MESSAGES)
        rows += [
            Row(f"{name}: CPU", mine.cpu_s * scale, "us a message", peer, theirs.cpu_s * scale),
            Row(f"{name}: wall", mine.wall_s * scale, "us a message", peer, theirs.wall_s * scale),
        ]
    return rows


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_emulators(Path(folder), ["pubsub"]) as hosts:
        os.environ["PUBSUB_EMULATOR_HOST"] = hosts.pubsub
        report("publish_commit", measure(options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
