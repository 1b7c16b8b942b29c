"""Documents that keep a contract's numbered steps, with the state that they add up to beside them.

``escrows`` and ``dvp_escrows`` have this form. A step is stored under its number with the name of its kind
and its fields; amounts are strings, for Firestore's integers end at 2^63.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as fields_of
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, get_type_hints

from google.cloud import firestore

from shared.domain.steps import StepRecord
from shared.stores import database

Step = TypeVar("Step")
Stored = TypeVar("Stored")


def encode_records(records: Mapping[int, StepRecord[Step]]) -> dict[str, Any]:
    """The records by number, in the order of their numbers: equal records are equal bytes."""
    return {
        str(number): {
            "step": None if record.step is None else _encode_step(record.step),
            "revision": record.revision,
            "retracted": record.retracted,
        }
        for number, record in sorted(records.items())
    }


def decode_records(rows: Mapping[str, Any], kinds: Mapping[str, type[Step]]) -> dict[int, StepRecord[Step]]:
    """The records of stored rows; ``kinds`` are the steps' classes by name."""
    return {
        int(number): StepRecord(
            step=None if row["step"] is None else _decode_step(row["step"], kinds),
            revision=row["revision"],
            retracted=row["retracted"],
        )
        for number, row in rows.items()
    }


def _encode_step(step: Any) -> dict[str, Any]:
    return {"kind": type(step).__name__} | {
        field.name: _encode_value(field.name, getattr(step, field.name)) for field in fields_of(step)
    }


def _encode_value(name: str, value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    return str(value) if name.endswith("_base") else value


def _decode_step(row: Mapping[str, Any], kinds: Mapping[str, type[Step]]) -> Step:
    kind: Any = kinds[row["kind"]]
    step: Step = kind(**{name: read(row[name]) for name, read in _readers(kind).items()})
    return step


@cache
def _readers(kind: type[Any]) -> Mapping[str, Callable[[Any], Any]]:
    def reader(name: str, hint: Any) -> Callable[[Any], Any]:
        if name.endswith("_base"):
            return int
        is_enum = isinstance(hint, type) and issubclass(hint, StrEnum)
        return hint if is_enum else lambda value: value

    return {name: reader(name, hint) for name, hint in get_type_hints(kind).items()}


def page_statement(
    client: firestore.Client, collection: str, *, status: StrEnum | None, after: str | None, limit: int
) -> Any:
    """The query of up to ``limit`` documents in order of id, behind ``after``, of one status or of all."""
    statement: Any = client.collection(collection).order_by("escrow_id").limit(limit)
    if status is not None:
        statement = statement.where(filter=firestore.FieldFilter("status", "==", status.value))
    return statement if after is None else statement.start_after({"escrow_id": after})


def list_decoded(
    ask: Callable[[str | None], list[database.Document]],
    decode: Callable[[Mapping[str, Any]], Stored | None],
    *,
    after: str | None,
    limit: int,
) -> list[Stored]:
    """Up to ``limit`` of what ``ask`` gives behind an id; what ``decode`` gives None for is left out."""
    found: list[Stored] = []
    while len(found) < limit:
        documents = sorted(ask(after), key=lambda document: document.fields["escrow_id"])
        decoded = [decode(document.fields) for document in documents[:limit]]
        found += [stored for stored in decoded if stored is not None]
        if len(documents) < limit:
            break
        after = documents[limit - 1].fields["escrow_id"]
    return found[:limit]
