"""Sends what is due to clients' webhook endpoints, signed, and logs every attempt.

Trigger: every minute by Cloud Scheduler; looks every ``WEBHOOK_INTERVAL_S`` while it holds its lease.
Reads: ``webhook_deliveries``, ``webhook_endpoints``.
Writes: ``webhook_deliveries``: claimed before anything is sent, recorded after each attempt;
``webhook_endpoints`` when one begins or ends to fail, or is switched off.
Publishes: ``alerts.operations.v1`` when an endpoint is switched off.

An endpoint is sent what is due one after the other, in the order in which it became due, and several
endpoints at once. A crash between sending and recording sends once more when the claim ends, under the same
webhook id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from shared.domain.margin import Severity
from shared.domain.webhook_deliveries import WebhookAttempt, WebhookDelivery, retry_after
from shared.domain.webhooks import WebhookEndpoint
from shared.errors import ConflictError, RetryableError
from shared.events import topics
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.messaging import publisher
from shared.providers.delivery import SendingFailedError, SendingRejectedError
from shared.providers.guarded_http import GuardedPoster
from shared.providers.webhook_signing import signed_headers
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.runtime.window import tick_under_lease
from shared.stores import database, outbox, webhook_deliveries, webhook_endpoints

_BATCH = 400
_ENDPOINTS_AT_ONCE = 32
_TURN_S = 4.0
"""How long one endpoint is sent to before it is behind the others again."""

_PATIENCE_S = 1.0
"""How long a look waits for the turns that it finds; the slow ones go on beside the next looks."""

_SILENCE = timedelta(seconds=30)
"""How long an endpoint that cannot be reached is left alone; one event that it never answers holds up the
others no longer, since that one's own waits grow."""

_NEXT = timedelta(microseconds=1)
_ATTEMPTS = 5

Due = Sequence[tuple[WebhookDelivery, Any]]


@http_function(
    uses=("firestore", "pubsub"), settings=("WEBHOOK_INTERVAL_S", "WEBHOOK_LOCAL_NETWORKS", "WINDOW_S")
)
def send_webhooks(_request: Request, context: Context) -> Response:
    """Send until the window ends."""
    with ThreadPoolExecutor(_ENDPOINTS_AT_ONCE) as pool:
        sending = _Sending(context, pool)
        try:
            looks = tick_under_lease(
                database.connect(context.settings),
                context,
                interval_s=context.settings.webhook_interval_s,
                begin=lambda: sending.look,
            )
        finally:
            # What has not begun is due in the next window still.
            pool.shutdown(cancel_futures=True)
    sending.finish()
    return Response({"looks": looks})


class _Sending:
    """The endpoints' turns of one window. A look begins those that are due and waits a moment for them, so
    that whoever is slow keeps its own turn going and nobody else waiting."""

    def __init__(self, context: Context, pool: ThreadPoolExecutor) -> None:
        self._context = context
        self._client = database.connect(context.settings)
        self._pool = pool
        self._poster = GuardedPoster(context.settings.webhook_local_networks)
        self._turns: dict[str, Future[None]] = {}

    def look(self) -> bool:
        """Begin the turns that are due; whether more may be.

        Raises:
            RetryableError: a turn failed.
        """
        due = webhook_deliveries.list_due(self._client, clock.now(), limit=_BATCH)
        # Stable: within an endpoint the longest due stays first.
        due.sort(key=lambda row: row[0].endpoint_id)
        groups = {key: list(rows) for key, rows in groupby(due, key=lambda row: row[0].endpoint_id)}
        waiting = groups.keys() - self._turns.keys()
        endpoints = webhook_endpoints.find_many(self._client, waiting) if waiting else {}
        for endpoint_id in sorted(waiting):
            rows = groups[endpoint_id]
            self._turns[endpoint_id] = self._pool.submit(self._take, rows, endpoints.get(endpoint_id))
        wait(self._turns.values(), timeout=_PATIENCE_S)
        self.finish()
        return bool(waiting) and len(due) == _BATCH

    def finish(self) -> None:
        """Forget the turns that are over.

        Raises:
            RetryableError: one of them failed.
        """
        over = [self._turns.pop(key) for key, turn in list(self._turns.items()) if turn.done()]
        errors = [turn.exception() for turn in over if not turn.cancelled()]
        for error in errors:
            if error is not None and not isinstance(error, RetryableError):
                raise error
        if failures := [str(error) for error in errors if error is not None]:
            raise RetryableError("; ".join(failures))

    def _take(self, rows: Due, found: tuple[WebhookEndpoint, Any] | None) -> None:
        if found is None:
            reason = "the endpoint does not exist any more"
            _rewrite(self._context, rows, lambda row, _: row.given_up(reason))
        else:
            _Turn(self._context, self._poster, *found).take(rows)


def _rewrite(
    context: Context, rows: Due, change: Callable[[WebhookDelivery, int], WebhookDelivery]
) -> list[tuple[WebhookDelivery, Any]]:
    """Write all of them changed, or none; ``change`` has the delivery and its place."""
    commit = database.Commit(database.connect(context.settings), traceparent=context.traceparent)
    written = []
    for place, (delivery, read_at) in enumerate(rows):
        changed = change(delivery, place)
        path = webhook_deliveries.path(delivery.delivery_id)
        plan = webhook_deliveries.encode_plan(changed)
        written.append((changed, commit.replace(path, plan, read_at=read_at)))
    commit.apply()
    return [(changed, commit.update_time(index)) for changed, index in written]


class _Turn:
    """One endpoint's turn: what is due is claimed together, sent one by one, and each recorded."""

    def __init__(
        self, context: Context, poster: GuardedPoster, endpoint: WebhookEndpoint, read_at: Any
    ) -> None:
        self._context = context
        self._client = database.connect(context.settings)
        self._poster = poster
        self._endpoint = endpoint
        self._endpoint_read_at = read_at

    def take(self, due: Due) -> None:
        """Send what is due.

        Raises:
            RetryableError: a claim was lost, or something could not be recorded.
        """
        ends_at = clock.monotonic() + _TURN_S
        claimed = _rewrite(self._context, due, lambda row, _: row.claimed(clock.now()))
        silent = False
        while claimed and self._endpoint.enabled and not silent and clock.monotonic() < ends_at:
            delivery, read_at = claimed.pop(0)
            after, attempt = self._attempt(delivery)
            self._record(after, attempt, read_at)
            silent = attempt.error is not None and attempt.status is None
        if not self._endpoint.enabled:
            reason = f"the endpoint is {self._endpoint.state}: {self._endpoint.reason}"
            _rewrite(self._context, claimed, lambda row, _: row.given_up(reason))
        else:
            # Behind what others have waited for, and in the order that they were in.
            later = clock.now() + (_SILENCE if silent else timedelta(0))
            _rewrite(self._context, claimed, lambda row, place: row.deferred(later + place * _NEXT))

    def _attempt(self, delivery: WebhookDelivery) -> tuple[WebhookDelivery, WebhookAttempt]:
        now = clock.now()
        began = clock.monotonic()
        status, wanted, error, excerpt = None, None, None, ""
        try:
            headers = signed_headers(
                delivery.webhook_id, self._endpoint.signing_secrets(now), delivery.body, now
            )
            answered = self._poster.post(self._endpoint.url, delivery.body, headers)
        except (SendingFailedError, SendingRejectedError) as failure:
            error = str(failure)
        else:
            status, excerpt = answered.status, answered.excerpt
            if not 200 <= status < 300:
                error, wanted = f"the endpoint answered HTTP {status}", retry_after(answered.retry_after)
        latency_ms = round((clock.monotonic() - began) * 1_000)
        attempt = WebhookAttempt(now, status, latency_ms, error, excerpt)
        return delivery.attempted(attempt, retry_after=wanted), attempt

    def _record(self, delivery: WebhookDelivery, attempt: WebhookAttempt, read_at: Any) -> None:
        """Write an attempt, with what it says of the endpoint, and announce that one was switched off."""
        for remaining in reversed(range(_ATTEMPTS)):
            before = self._endpoint
            after = (
                before.after_success()
                if attempt.error is None
                else before.after_failure(attempt.status, attempt.error, attempt.attempted_at)
            )
            commit = database.Commit(self._client, traceparent=self._context.traceparent)
            commit.replace(
                webhook_deliveries.path(delivery.delivery_id),
                webhook_deliveries.encode(delivery),
                read_at=read_at,
            )
            index = None
            if after != before:
                index = commit.replace(
                    webhook_endpoints.path(after.endpoint_id),
                    webhook_endpoints.encode(after),
                    read_at=self._endpoint_read_at,
                )
            if before.enabled and not after.enabled:
                commit.announce(topics.OPERATIONS_ALERTS, _switched_off(after, delivery, attempt))
            try:
                commit.apply()
            except ConflictError:
                # Its owner changed the endpoint: decide again on what it is now.
                found = webhook_endpoints.find(self._client, before.endpoint_id)
                if found is None or remaining == 0:
                    raise
                self._endpoint, self._endpoint_read_at = found
                continue
            self._endpoint = after
            if index is not None:
                self._endpoint_read_at = commit.update_time(index)
            outbox.publish(self._client, publisher.connect(self._context.settings), commit.announced)
            return


def _switched_off(
    endpoint: WebhookEndpoint, delivery: WebhookDelivery, attempt: WebhookAttempt
) -> OperationsAlert:
    kind = OperationsAlertKind.WEBHOOK_DISABLED
    return OperationsAlert(
        event_id=f"{kind}:{endpoint.endpoint_id}:{delivery.delivery_id}#{delivery.attempt_count}",
        kind=kind,
        subject=endpoint.endpoint_id,
        severity=Severity.MEDIUM,
        message=(
            f"Webhook endpoint {endpoint.endpoint_id} is switched off ({endpoint.state}): {endpoint.reason}. "
            "Its owner must repair and enable it, and may then ask for what failed."
        ),
        # Without path and query, in which some keep a key.
        details={"host": urlsplit(endpoint.url).hostname or "", "state": endpoint.state.value},
        as_of=attempt.attempted_at,
    )
