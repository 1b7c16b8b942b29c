"""What Firestore would charge for: documents read, documents written, documents deleted.

Counted on the wire side of the real client: every method of its gRPC stub that Firestore bills is wrapped on
the client itself, so whatever the code above does, each request and each document of each answer is seen.
Rules: https://firebase.google.com/docs/firestore/pricing (a query without a result, and a document that does
not exist, cost one read).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from google.cloud import firestore


@dataclass
class Bill:
    """Documents charged for, and the requests in which they came."""

    reads: int = 0
    writes: int = 0
    deletes: int = 0
    read_requests: int = 0
    commits: int = 0


class _Meter:
    def __init__(self) -> None:
        self.bill = Bill()
        self._lock = threading.Lock()

    def add(self, **counts: int) -> None:
        with self._lock:
            for name, count in counts.items():
                setattr(self.bill, name, getattr(self.bill, name) + count)

    def batch_get(self, inner: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
        def counted(*arguments: Any, **options: Any) -> Iterator[Any]:
            self.add(read_requests=1)
            for response in inner(*arguments, **options):
                self.add(reads=1 if response.found.name or response.missing else 0)
                yield response

        return counted

    def run_query(self, inner: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
        def counted(*arguments: Any, **options: Any) -> Iterator[Any]:
            self.add(read_requests=1)
            found = 0
            for response in inner(*arguments, **options):
                found += bool(response.document.name)
                yield response
            self.add(reads=max(found, 1))

        return counted

    def aggregation(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.add(read_requests=1, reads=1)
            return inner(*arguments, **options)

        return counted

    def commit(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            writes = options["request"]["writes"]
            deleted = sum(1 for write in writes if write.delete)
            self.add(commits=1, writes=len(writes) - deleted, deletes=deleted)
            return inner(*arguments, **options)

        return counted


_BILLED = {
    "batch_get_documents": _Meter.batch_get,
    "run_query": _Meter.run_query,
    "run_aggregation_query": _Meter.aggregation,
    "commit": _Meter.commit,
}


@contextmanager
def metered(client: firestore.Client) -> Iterator[Bill]:
    """The bill of everything that a client does inside the block."""
    meter = _Meter()
    api = client._firestore_api
    inner = {name: getattr(api, name) for name in _BILLED}
    for name, wrap in _BILLED.items():
        setattr(api, name, wrap(meter, inner[name]))
    try:
        yield meter.bill
    finally:
        for name in _BILLED:
            delattr(api, name)
