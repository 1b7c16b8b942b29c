"""The Firestore client, and atomic writes that announce themselves.

Firestore transactions that read and then write wait for each other; here a handler reads, decides, and
commits a batch whose preconditions fail if anything it read has changed since. Nothing waits, and the
loser of a race gets a :class:`~shared.errors.ConflictError`, reads again and decides again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from google.api_core import exceptions as google_errors
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.api_core.retry import Retry, if_exception_type
from google.cloud import firestore

from shared.combining import Combiner
from shared.config import Settings
from shared.errors import ConflictError, RetryableError
from shared.events.base import Event
from shared.messaging.attributes import EVENT_ID, ORDERING_KEY, TRACEPARENT
from shared.messaging.publisher import OutboundMessage
from shared.stores import announcements

Client = firestore.Client
"""The type of a client, for those who hand one on and touch nothing of it."""

MAX_WRITES = 450
"""Writes per commit, below Firestore's limit on a request's size with our largest documents."""

TIMEOUT_S = 20.0
"""How long one request may take."""

# The client's own policy goes on for up to five minutes, longer than any function may run.
_RETRY = Retry(
    predicate=if_exception_type(google_errors.ServiceUnavailable, google_errors.InternalServerError),
    initial=0.05,
    maximum=1.0,
    multiplier=2.0,
    timeout=8.0,
)
_FAILURES = (google_errors.GoogleAPICallError, google_errors.RetryError)
OUTBOX = "outbox"
_SMALL_COMMIT = 10
_READS_TOGETHER = 100
DOCUMENTS_PER_PAGE = 10_000
"""Documents of a large collection that one request asks for."""


@lru_cache(maxsize=16)
def connect(settings: Settings) -> firestore.Client:
    """The process's Firestore client for these settings."""
    return firestore.Client(project=settings.project)


class Commit:
    """Writes that take effect together, with the announcements of what they change.

    An announcement is written to the outbox in the same commit. After :meth:`apply` the caller publishes
    :attr:`announced` (see :mod:`shared.stores.outbox`); what a crash leaves behind is swept up later.
    """

    def __init__(self, client: firestore.Client, *, traceparent: str | None = None) -> None:
        self._client = client
        self._batch = client.batch()
        self._traceparent = traceparent
        self._messages: list[OutboundMessage] = []
        self._announced: dict[str, Sequence[OutboundMessage]] = {}
        self._results: list[Any] = []

    def __len__(self) -> int:
        """Writes and announcements."""
        return len(self._batch) + len(self._messages)

    @property
    def announced(self) -> Mapping[str, Sequence[OutboundMessage]]:
        """What :meth:`apply` announced, by outbox id."""
        return self._announced

    def create(self, path: str, data: Mapping[str, Any]) -> int:
        """Write a document that must not exist. Returns the write's index for :meth:`update_time`."""
        self._batch.create(self._client.document(path), _stamped(data))
        return len(self._batch) - 1

    def replace(self, path: str, data: Mapping[str, Any], *, read_at: Any | None) -> int:
        """Replace the fields of a document that has not changed since ``read_at``.

        ``read_at`` is the ``update_time`` of the snapshot that the decision was made on; None means that
        the document did not exist. Returns the write's index for :meth:`update_time`.
        """
        if read_at is None:
            return self.create(path, data)
        option = self._client.write_option(last_update_time=read_at)
        self._batch.update(self._client.document(path), _stamped(data), option=option)
        return len(self._batch) - 1

    def amend(self, path: str, data: Mapping[str, Any]) -> None:
        """Replace some fields of a document that exists."""
        self._batch.update(self._client.document(path), _stamped(data))

    def put(self, path: str, data: Mapping[str, Any]) -> int:
        """Write a document whatever it was before."""
        self._batch.set(self._client.document(path), _stamped(data))
        return len(self._batch) - 1

    def delete(self, path: str, *, read_at: Any | None = None) -> None:
        """Delete a document if it exists; with ``read_at``, one that has not changed since."""
        option = None if read_at is None else self._client.write_option(last_update_time=read_at)
        self._batch.delete(self._client.document(path), option=option)

    def announce(self, topic: str, event: Event, *, ordering_key: str = "") -> None:
        """Announce an event together with the writes."""
        attributes = {EVENT_ID: event.event_id}
        if ordering_key:
            # Push deliveries drop the ordering key; a dead letter needs it to be put back in its place.
            attributes[ORDERING_KEY] = ordering_key
        if self._traceparent:
            attributes[TRACEPARENT] = self._traceparent
        self._messages.append(OutboundMessage(topic, event.encode(), ordering_key, attributes))

    def apply(self) -> None:
        """Commit all writes. Small commits of several threads that come together share a request.

        Raises:
            ConflictError: a precondition failed; nothing was written.
            RetryableError: Firestore could not be reached or was busy; nothing may have been written,
                or all of it.
        """
        if not len(self):
            return
        for outbox_id, messages in announcements.rows(self._messages):
            self._batch.set(
                self._client.document(f"{OUTBOX}/{outbox_id}"),
                {**announcements.encode(messages), "created_at": firestore.SERVER_TIMESTAMP},
            )
            self._announced[outbox_id] = messages
        self._messages = []
        if len(self._batch) > _SMALL_COMMIT:
            self._results = _commit(self._batch)
            return
        outcome = _commits(self._client).do(self._batch)
        if isinstance(outcome, Exception):
            raise outcome
        self._results = outcome

    def update_time(self, index: int) -> Any:
        """When the write at ``index`` took effect, to be passed as ``read_at`` of the next one."""
        return self._results[index].update_time


def _commit(batch: firestore.WriteBatch) -> list[Any]:
    try:
        return list(batch.commit(retry=_RETRY, timeout=TIMEOUT_S))
    except (
        google_errors.Conflict,
        google_errors.FailedPrecondition,
        google_errors.NotFound,
    ) as error:
        raise ConflictError(f"a document changed while it was being decided on: {error}") from error
    except _FAILURES as error:
        raise RetryableError(f"Firestore did not take a commit: {error}") from error


@lru_cache(maxsize=16)
def _commits(client: firestore.Client) -> Combiner[firestore.WriteBatch, list[Any] | Exception]:
    """Commits together what several threads commit at once, and one by one where that conflicts."""

    def commit_all(batches: Sequence[firestore.WriteBatch]) -> list[list[Any] | Exception]:
        documents = [write.update.name or write.delete for batch in batches for write in batch._write_pbs]
        # One request may write a document once; several that want to, race for it.
        if len(batches) > 1 and len(set(documents)) == len(documents):
            together = client.batch()
            for batch in batches:
                together._write_pbs.extend(batch._write_pbs)
            try:
                results = iter(_commit(together))
            except ConflictError:
                # Nothing was written, and it was the writes of one of them: see whose.
                pass
            except RetryableError as error:
                return [error] * len(batches)
            else:
                return [[next(results) for _ in range(len(batch))] for batch in batches]
        return [_outcome(batch) for batch in batches]

    return Combiner(commit_all, limit=MAX_WRITES // _SMALL_COMMIT)


def _outcome(batch: firestore.WriteBatch) -> list[Any] | Exception:
    try:
        return _commit(batch)
    except (ConflictError, RetryableError) as error:
        return error


def _stamped(data: Mapping[str, Any]) -> dict[str, Any]:
    return {**data, "updated_at": firestore.SERVER_TIMESTAMP}


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was read. ``read_at`` is what a later :meth:`Commit.replace` is conditioned on."""

    id: str
    fields: Mapping[str, Any]
    read_at: Any


def _document(snapshot: firestore.DocumentSnapshot[Any]) -> Document | None:
    fields = snapshot.to_dict()
    return None if fields is None else Document(snapshot.id, fields, snapshot.update_time)


def find(client: firestore.Client, path: str) -> Document | None:
    """One document, or None where it does not exist.

    Reads of several threads that come together share a request.

    Raises:
        RetryableError: Firestore could not be reached or was busy.
    """
    return _reads(client).do(path)


@lru_cache(maxsize=16)
def _reads(client: firestore.Client) -> Combiner[str, Document | None]:
    def read_all(paths: Sequence[str]) -> list[Document | None]:
        found = find_all(client, paths)
        return [found.get(path) for path in paths]

    return Combiner(read_all, limit=_READS_TOGETHER)


def find_at(client: firestore.Client, path: str) -> tuple[Document | None, datetime]:
    """One document, or None where it does not exist, and Firestore's time at which that was so.

    Raises:
        RetryableError: Firestore could not be reached or was busy.
    """
    try:
        snapshot = client.document(path).get(retry=_RETRY, timeout=TIMEOUT_S)
    except _FAILURES as error:
        raise RetryableError(f"Firestore did not answer a read of {path}: {error}") from error
    return _document(snapshot), snapshot.read_time


def find_all(client: firestore.Client, paths: Iterable[str]) -> dict[str, Document]:
    """The documents that exist, by path, in one call.

    Raises:
        RetryableError: Firestore could not be reached or was busy.
    """
    references = [client.document(path) for path in dict.fromkeys(paths)]
    if not references:
        return {}
    found: dict[str, Document] = {}
    try:
        for snapshot in client.get_all(references, retry=_RETRY, timeout=TIMEOUT_S):
            document = _document(snapshot)
            if document is not None:
                found[snapshot.reference.path] = document
    except _FAILURES as error:
        raise RetryableError(f"Firestore did not answer a read: {error}") from error
    return found


def nanoseconds(read_at: Any) -> int:
    """A ``read_at`` as nanoseconds since 1970, which :func:`at_nanoseconds` makes a ``read_at`` again."""
    stamp = read_at.timestamp_pb()
    return int(stamp.seconds) * 10**9 + int(stamp.nanos)


def at_nanoseconds(value: int) -> Any:
    """The ``read_at`` of so many nanoseconds since 1970."""
    seconds, nanos = divmod(value, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC)
    return DatetimeWithNanoseconds(*moment.timetuple()[:6], nanosecond=nanos, tzinfo=UTC)  # type: ignore[no-untyped-call]


def delete_all(client: firestore.Client, paths: Iterable[str]) -> None:
    """Delete documents, whether they exist or not.

    Raises:
        RetryableError: Firestore could not be reached or was busy; some may have been deleted.
    """
    wanted = list(paths)
    for start in range(0, len(wanted), MAX_WRITES):
        commit = Commit(client)
        for path in wanted[start : start + MAX_WRITES]:
            commit.delete(path)
        commit.apply()


def query(statement: Any) -> list[Document]:
    """The documents of a query, in its order.

    Raises:
        RetryableError: Firestore could not be reached or was busy.
    """
    try:
        snapshots = list(statement.stream(retry=_RETRY, timeout=TIMEOUT_S))
    except _FAILURES as error:
        raise RetryableError(f"Firestore did not answer a query: {error}") from error
    return [document for document in map(_document, snapshots) if document is not None]


def query_in_pages(
    client: firestore.Client, collection: str, statement: Any, field: str
) -> Iterator[Document]:
    """The documents of a query of a collection, in order of ``field``, which must be among what is selected.

    A page at a time: a query for all of a large collection takes longer than one request may.

    Raises:
        RetryableError: Firestore could not be reached or was busy.
    """
    ordered = statement.order_by(field).order_by("__name__").limit(DOCUMENTS_PER_PAGE)
    page = query(ordered)
    yield from page
    while len(page) == DOCUMENTS_PER_PAGE:
        last = page[-1]
        place = {field: last.fields[field], "__name__": client.document(f"{collection}/{last.id}")}
        page = query(ordered.start_after(place))
        yield from page


def in_slots(statement: Any, slots: Iterable[int] | None) -> Any:
    """A collection's accounts of these slots (see :mod:`shared.domain.sharding`); all where None."""
    if slots is None:
        return statement
    return statement.where(filter=firestore.FieldFilter("slot", "in", sorted(slots)))


MAX_AMONG = 30
"""Values that one Firestore query may compare a field with (``in``, ``array_contains_any``)."""


def query_among(
    statement: Any, field: str, values: Iterable[str] | None, *, operator: str = "in"
) -> list[Document]:
    """The documents of a query whose ``field`` is among ``values`` (None: whatever it is), each once.

    One query per :data:`MAX_AMONG` values: ordered and limited within each, so the caller sorts and cuts.
    """
    if values is None:
        return query(statement)
    wanted = sorted(set(values))
    found: dict[str, Document] = {}
    for start in range(0, len(wanted), MAX_AMONG):
        condition = firestore.FieldFilter(field, operator, wanted[start : start + MAX_AMONG])
        found.update((document.id, document) for document in query(statement.where(filter=condition)))
    return list(found.values())


def newest_first(
    client: firestore.Client,
    collection: str,
    moment: str,
    *,
    before: tuple[datetime, str] | None = None,
    limit: int,
) -> Any:
    """The query of up to ``limit`` documents with the latest value of the field ``moment`` first, and of
    equal ones by id, from the one behind ``before`` (the moment, the document's id)."""
    statement = (
        client.collection(collection)
        .order_by(moment, direction=firestore.Query.DESCENDING)
        .order_by("__name__", direction=firestore.Query.DESCENDING)
        .limit(limit)
    )
    if before is None:
        return statement
    return statement.start_after(
        {moment: before[0], "__name__": client.document(f"{collection}/{before[1]}")}
    )


def count(statement: Any) -> int:
    """How many documents a query has, by aggregation (billed as one read per thousand).

    Raises:
        RetryableError: Firestore could not be reached or was busy.
    """
    try:
        return int(statement.count().get(retry=_RETRY, timeout=TIMEOUT_S)[0][0].value)
    except _FAILURES as error:
        raise RetryableError(f"Firestore did not answer a count: {error}") from error
