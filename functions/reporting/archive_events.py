"""Moves every event into BigQuery, in batches.

Trigger: every minute by Cloud Scheduler; pulls every ``ARCHIVE_INTERVAL_S`` until its window ends.
Reads: a pull subscription on every topic of ours.
Writes: BigQuery ``events``, ``margin_history``, ``marks``.
Publishes: nothing.

Messages are acknowledged after their rows are written. A crash in between writes them twice, with the same
row ids, by which BigQuery drops a near repeat and every query drops the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shared.errors import RetryableError, TerminalError
from shared.events import dead_letters, topics
from shared.events.registry import ADAPTERS
from shared.messaging import publisher, puller
from shared.messaging.puller import PulledMessage
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, decode_message, http_function
from shared.warehouse import appending, client
from shared.warehouse.rows import Row, rows_of

ARCHIVED = (
    topics.SETTLEMENT_EVENTS,
    topics.SETTLEMENT_COMMANDS,
    topics.SETTLEMENT_PROGRESS,
    topics.POSITIONS_CHANGED,
    topics.MARKET_PRICES,
    topics.MARGIN_ALERTS,
    topics.MARGIN_SAMPLES,
    topics.OPERATIONS_ALERTS,
    topics.DELIVERIES,
)

_log = logging.getLogger(__name__)


@http_function(uses=("pubsub", "bigquery"), settings=("BIGQUERY_DATASET", "ARCHIVE_INTERVAL_S", "WINDOW_S"))
def archive_events(_request: Request, context: Context) -> Response:
    """Archive until the window ends."""
    window_ends = clock.monotonic() + context.settings.window_s
    interval_s = context.settings.archive_interval_s
    archived = 0
    while True:
        failure: RetryableError | None = None
        count = 0
        try:
            count = archive_batch(context)
            archived += count
        except RetryableError as error:
            failure = error
            _log.warning("batch failed, its messages come again", extra={"reason": str(error)})
        # A full batch means that more waits.
        wait_s = 0.0 if count >= puller.MAX_MESSAGES else interval_s
        if clock.monotonic() + wait_s >= window_ends:
            break
        clock.pause(wait_s)
    if failure is not None:
        raise failure
    return Response({"archived": archived})


def archive_batch(context: Context) -> int:
    """Archive what waits; the number of messages that were taken.

    Raises:
        RetryableError: Pub/Sub or BigQuery failed; what was not acknowledged comes again.
    """
    source = puller.connect(context.settings)
    taken: list[PulledMessage] = []
    topic_of: dict[str, str] = {}
    try:
        for topic in ARCHIVED:
            subscription = f"{context.function}--{topic}"
            topic_of[subscription] = topic
            taken += source.pull(subscription)
        _archive(taken, topic_of, context)
    except RetryableError:
        source.give_back(taken)
        raise
    source.acknowledge(taken)
    return len(taken)


def _archive(taken: Sequence[PulledMessage], topic_of: dict[str, str], context: Context) -> None:
    rows: list[Row] = []
    message_of: dict[str, PulledMessage] = {}
    refused: list[tuple[PulledMessage, TerminalError]] = []
    for message in taken:
        topic = topic_of[message.subscription]
        try:
            event = decode_message(message.data, ADAPTERS[topic])
        except TerminalError as error:
            refused.append((message, error))
            continue
        for row in rows_of(
            event,
            topic=topic,
            payload=message.data,
            ordering_key=message.ordering_key,
            published_at=message.published_at,
        ):
            rows.append(row)
            message_of[row.row_id] = message
    for row_id, reason in appending.append(client.connect(context.settings), rows).items():
        refused.append((message_of[row_id], TerminalError(reason)))
    _keep(refused, topic_of, context)


def _keep(
    refused: Sequence[tuple[PulledMessage, TerminalError]], topic_of: dict[str, str], context: Context
) -> None:
    if not refused:
        return
    letters = [
        publisher.OutboundMessage(
            topics.dead_letter_topic(topic_of[message.subscription]),
            message.data,
            attributes={
                **message.attributes,
                **dead_letters.describe(
                    reason=error.reason,
                    field=error.field,
                    function=context.function,
                    topic=topic_of[message.subscription],
                    message_id=message.message_id,
                ),
            },
        )
        for message, error in refused
    ]
    failures = [failure for failure in publisher.connect(context.settings).publish(letters) if failure]
    if failures:
        raise RetryableError(f"{len(failures)} dead letters could not be kept: {failures[0]!r}")
    _log.error("messages refused and kept as dead letters", extra={"count": len(letters)})
