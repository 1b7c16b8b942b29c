"""``chain_sync``: each chain's figures as its relay last saw them. Written over, a few seconds apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.stores import database

COLLECTION = "chain_sync"


@dataclass(frozen=True, slots=True)
class ProviderFigures:
    """One provider of a chain; ``score`` is from 0 (every recent request failed) to 1."""

    name: str
    score: float
    requests: int
    failures: int
    rate_limits: int
    latency_s: float | None
    block_range: int


@dataclass(frozen=True, slots=True)
class ChainSync:
    """How far the relay of a chain is, and how its providers do. Counts are since the relay's process began.

    ``unreadable`` says why the next blocks cannot be read from any provider, where that is so.
    """

    chain_id: int
    as_of: datetime
    head_number: int
    head_time: int
    cursor_number: int
    cursor_time: int
    retries: int
    forks: int
    head_regressions: int
    retractions: int
    unreadable: str | None
    providers: Sequence[ProviderFigures]


def path(chain_id: int) -> str:
    """The document of a chain."""
    return f"{COLLECTION}/{chain_id}"


def encode(sync: ChainSync) -> dict[str, Any]:
    """The document's fields."""
    return {
        "chain_id": sync.chain_id,
        "as_of": sync.as_of,
        "head_number": sync.head_number,
        "head_time": sync.head_time,
        "cursor_number": sync.cursor_number,
        "cursor_time": sync.cursor_time,
        "retries": sync.retries,
        "forks": sync.forks,
        "head_regressions": sync.head_regressions,
        "retractions": sync.retractions,
        "unreadable": sync.unreadable,
        "providers": [
            {
                "name": provider.name,
                "score": provider.score,
                "requests": provider.requests,
                "failures": provider.failures,
                "rate_limits": provider.rate_limits,
                "latency_s": provider.latency_s,
                "block_range": provider.block_range,
            }
            for provider in sync.providers
        ],
    }


def _decode(fields: Mapping[str, Any]) -> ChainSync:
    values = {name: fields[name] for name in ChainSync.__dataclass_fields__ if name != "providers"}
    return ChainSync(**values, providers=[ProviderFigures(**row) for row in fields["providers"]])


def find(client: firestore.Client, chain_id: int) -> ChainSync | None:
    """A chain's figures; None before the first."""
    document = database.find(client, path(chain_id))
    return None if document is None else _decode(document.fields)
