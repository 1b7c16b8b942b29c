"""``price_sources``: how each price source does, for operators; one document a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.breakers import BreakerState
from shared.domain.price_sources import SourceKind
from shared.stores import database

COLLECTION = "price_sources"


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source as of ``as_of``; its breakers by asset."""

    source_id: str
    kind: SourceKind
    provider: str
    is_enabled: bool
    breakers: Mapping[str, BreakerState]
    last_error: str | None
    last_error_at: datetime | None
    last_success_at: datetime | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    as_of: datetime

    @property
    def is_failing(self) -> bool:
        """Whether it is left alone, or only tried, about everything that it should tell."""
        return self.is_enabled and bool(self.breakers) and BreakerState.CLOSED not in self.breakers.values()


def path(source_id: str) -> str:
    """The document of a source."""
    return f"{COLLECTION}/{source_id}"


def encode(state: SourceState) -> dict[str, Any]:
    """The document's fields."""
    return {
        "source_id": state.source_id,
        "kind": state.kind.value,
        "provider": state.provider,
        "is_enabled": state.is_enabled,
        "breakers": {asset: breaker.value for asset, breaker in state.breakers.items()},
        "last_error": state.last_error,
        "last_error_at": state.last_error_at,
        "last_success_at": state.last_success_at,
        "latency_p50_ms": state.latency_p50_ms,
        "latency_p95_ms": state.latency_p95_ms,
        "as_of": state.as_of,
    }


def decode(fields: Mapping[str, Any]) -> SourceState:
    """The state in a document."""
    return SourceState(
        source_id=fields["source_id"],
        kind=SourceKind(fields["kind"]),
        provider=fields["provider"],
        is_enabled=fields["is_enabled"],
        breakers={asset: BreakerState(breaker) for asset, breaker in sorted(fields["breakers"].items())},
        last_error=fields["last_error"],
        last_error_at=fields["last_error_at"],
        last_success_at=fields["last_success_at"],
        latency_p50_ms=fields["latency_p50_ms"],
        latency_p95_ms=fields["latency_p95_ms"],
        as_of=fields["as_of"],
    )


def list_all(client: firestore.Client) -> list[SourceState]:
    """Every source that has been asked, by id."""
    statement = client.collection(COLLECTION).order_by("source_id")
    return [decode(document.fields) for document in database.query(statement)]
