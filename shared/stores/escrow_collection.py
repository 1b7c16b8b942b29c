"""A collection of escrows of one kind: their steps and what they add up to, under ``chain_id:address``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from google.cloud import firestore

from shared.domain.steps import Contradiction, StepRecord
from shared.stores import database, steps


class Folded(Protocol):
    """The state of an escrow after its known steps."""

    @property
    def status(self) -> StrEnum: ...

    @property
    def step(self) -> int: ...

    @property
    def parties(self) -> frozenset[str]: ...


EscrowState = TypeVar("EscrowState", bound=Folded)
Step = TypeVar("Step")
Fold = Callable[[Mapping[int, StepRecord[Step]]], tuple[EscrowState | None, Contradiction | None]]


def escrow_id(chain_id: int, address: str) -> str:
    """The id of an escrow, of whatever kind, across chains."""
    return f"{chain_id}:{address}"


@dataclass(frozen=True, slots=True)
class Stored(Generic[EscrowState]):
    """An escrow and where it lives."""

    escrow_id: str
    chain_id: int
    address: str
    escrow: EscrowState
    updated_at: datetime


class EscrowCollection(Generic[EscrowState, Step]):
    """Reads and writes the documents of one kind of escrow."""

    def __init__(self, name: str, kinds: Iterable[Any], fold: Fold[Step, EscrowState]) -> None:
        """``kinds``: the classes of its steps; ``fold``: what records of them add up to."""
        self._name = name
        self._kinds = {kind.__name__: kind for kind in kinds}
        self._fold = fold

    def path(self, escrow: str) -> str:
        """The document of an escrow id."""
        return f"{self._name}/{escrow}"

    def encode(self, chain_id: int, address: str, records: Mapping[int, StepRecord[Step]]) -> dict[str, Any]:
        """The document's fields, the folded state beside the steps so that queries can use it."""
        escrow, _ = self._fold(records)
        return {
            "escrow_id": escrow_id(chain_id, address),
            "chain_id": chain_id,
            "address": address,
            "steps": steps.encode_records(records),
            "status": escrow.status.value if escrow else None,
            "step": escrow.step if escrow else 0,
            "parties": sorted(escrow.parties) if escrow else [],
        }

    def decode_records(self, fields: Mapping[str, Any]) -> dict[int, StepRecord[Step]]:
        """What a document's fields know of each step."""
        return steps.decode_records(fields["steps"], self._kinds)

    def find_many(
        self, client: firestore.Client, escrow_ids: Iterable[str]
    ) -> dict[str, Stored[EscrowState]]:
        """Escrows by id; those that do not exist, or whose creation has not been seen, are left out."""
        documents = database.find_all(client, map(self.path, escrow_ids))
        decoded = (self._decode(document.fields) for document in documents.values())
        return {stored.escrow_id: stored for stored in decoded if stored is not None}

    def list_page(
        self,
        client: firestore.Client,
        *,
        after: str | None,
        limit: int,
        status: StrEnum | None = None,
        parties: Iterable[str] | None = None,
    ) -> list[Stored[EscrowState]]:
        """Up to ``limit`` escrows in order of id, from the one behind ``after``.

        ``parties`` restricts them to those with one of these addresses among their parties; None means all.
        An escrow whose creation has not been seen has no status and is not listed.
        """

        def ask(behind: str | None) -> list[database.Document]:
            statement = steps.page_statement(client, self._name, status=status, after=behind, limit=limit)
            return database.query_among(statement, "parties", parties, operator="array_contains_any")

        return steps.list_decoded(ask, self._decode, after=after, limit=limit)

    def _decode(self, fields: Mapping[str, Any]) -> Stored[EscrowState] | None:
        escrow, _ = self._fold(self.decode_records(fields))
        if escrow is None:
            return None
        return Stored(
            fields["escrow_id"], fields["chain_id"], fields["address"], escrow, fields["updated_at"]
        )
