"""Every query that the stores can ask has the index that Firestore needs for it, and no index is idle.

When an index is needed: https://cloud.google.com/firestore/docs/query-data/index-overview. In short:

- filters for equality (``==``, ``in``, ``array-contains``) without an order are answered from the automatic
  single-field indexes;
- so is an order, or a comparison, by one field alone, ascending or descending;
- equality together with an order by another field needs a composite index: the equal fields first, then the
  ordered ones in their directions. An index is not read backwards;
- the document's name is the last field of every index, in the direction of the field before it;
- several ``==`` with one order may be merged from an index of each. For ``in`` and ``array-contains`` that is
  not promised, so a composite index of their own is asked for.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import typing
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from types import NoneType, UnionType
from typing import Any

import pytest
from google.cloud import firestore

from shared.domain.escrows import EscrowStatus
from shared.domain.margin import State
from shared.domain.webhook_deliveries import WebhookDeliveryStatus
from shared.manifest import Index, load_manifest
from tests.repository.firestore_recorder import Shape, recording
from tests.repository.sources import ROOT, modules

ASKING = {"query", "query_among", "query_in_pages", "count"}
DATABASE = "shared.stores.database"
SAMPLES: dict[Any, Any] = {
    str: "a",
    int: 1,
    datetime: datetime(2025, 1, 1, tzinfo=UTC),
    Iterable[str]: ("a", "b"),
    Iterable[int]: (1, 2),
    State: State.WARNING,
    StrEnum: EscrowStatus.CREATED,
    WebhookDeliveryStatus: WebhookDeliveryStatus.FAILED,
    tuple[datetime, str]: (datetime(2025, 1, 1, tzinfo=UTC), "a"),
}
INDEXES = load_manifest(ROOT / "functions.yaml").indexes


def _asks(node: ast.AST) -> bool:
    return any(
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and ast.unparse(call.func.value) == "database"
        and call.func.attr in ASKING
        for call in ast.walk(node)
    )


def _queries() -> Iterator[Callable[..., object]]:
    """Every function of a store that asks a query, and every method of one that a store offers as its own."""
    stores = [
        module
        for module in modules("shared")
        if module.name.startswith("shared.stores.") and module.name != DATABASE
    ]
    methods: set[str] = set()
    for module in stores:
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef) and _asks(node):
                yield getattr(import_module(module.name), node.name)
            elif isinstance(node, ast.ClassDef):
                methods.update(
                    f"{module.name}.{node.name}.{method.name}"
                    for method in node.body
                    if isinstance(method, ast.FunctionDef) and _asks(method)
                )
    offered: set[str] = set()
    for module in stores:
        for value in vars(import_module(module.name)).values():
            if inspect.ismethod(value) and (name := f"{value.__module__}.{value.__qualname__}") in methods:
                offered.add(name)
                yield value
    assert offered == methods, f"no store offers {sorted(methods - offered)}"


def _choices(annotation: Any) -> list[Any]:
    """A value of a parameter's type, and None where it may be absent."""
    if isinstance(annotation, UnionType):
        return [choice for part in typing.get_args(annotation) for choice in _choices(part)]
    if annotation is NoneType:
        return [None]
    return [SAMPLES[annotation]]


def _ask_everything(query: Callable[..., object], client: firestore.Client) -> None:
    hints = typing.get_type_hints(query)
    names = [name for name in inspect.signature(query).parameters if name != "client"]
    for values in itertools.product(*(_choices(hints[name]) for name in names)):
        query(client, **dict(zip(names, values, strict=True)))


@pytest.fixture(scope="module")
def shapes() -> dict[Shape, str]:
    """Every shape that was asked, and by whom."""
    found: dict[Shape, str] = {}
    with recording() as (host, asked), pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", host)
        client = firestore.Client(project="recorded")
        for query in _queries():
            before = len(asked)
            _ask_everything(query, client)
            assert len(asked) > before, f"{query.__module__}.{query.__name__} asked nothing"
            for shape in asked[before:]:
                found.setdefault(shape, f"{query.__module__}.{query.__name__}")
        client.close()  # type: ignore[no-untyped-call]
    return found


def _is_automatic(shape: Shape) -> bool:
    filtered = shape.equal | shape.among | shape.contains
    return not shape.orders or (not filtered and len(shape.orders) == 1)


def _serving(shape: Shape) -> list[Index]:
    """The composite indexes from which Firestore answers a query; none where they do not suffice."""
    tail = [f"{field} {direction}" for field, direction in shape.orders]
    prefix_of = {}
    for index in INDEXES:
        fields = [f"{field.name} {field.mode}" for field in index.fields]
        if index.collection == shape.collection and fields[-len(tail) :] == tail:
            prefix_of[index] = frozenset(fields[: -len(tail)])
    wanted = frozenset(f"{field} asc" for field in shape.equal | shape.among) | frozenset(
        f"{field} contains" for field in shape.contains
    )
    exact = [index for index, prefix in prefix_of.items() if prefix == wanted]
    if exact or shape.among or shape.contains:
        return exact
    merged = [index for index, prefix in prefix_of.items() if prefix < wanted]
    return merged if frozenset().union(*(prefix_of[index] for index in merged)) == wanted else []


def test_every_query_has_its_index(shapes: dict[Shape, str]) -> None:
    missing = {
        f"{asked_by} asks {shape}"
        for shape, asked_by in shapes.items()
        if not _is_automatic(shape) and not _serving(shape)
    }
    assert not missing, "add the index to functions.yaml"


def test_no_index_is_idle(shapes: dict[Shape, str]) -> None:
    used = {index for shape in shapes if not _is_automatic(shape) for index in _serving(shape)}
    assert [index for index in INDEXES if index not in used] == []


def test_the_recorder_sees_what_is_known_to_be_asked(shapes: dict[Shape, str]) -> None:
    nothing: frozenset[str] = frozenset()
    by_state = Shape("margin_states", frozenset({"state"}), nothing, nothing, (("account_id", "asc"),))
    by_party = Shape("escrows", nothing, nothing, frozenset({"parties"}), (("escrow_id", "asc"),))
    newest_alerts = Shape("alerts", nothing, nothing, nothing, (("created_at", "desc"),))
    of_accounts = Shape("alerts", nothing, frozenset({"account_id"}), nothing, (("created_at", "desc"),))
    assert {by_state, by_party, newest_alerts, of_accounts} <= set(shapes)


def test_nothing_else_asks_firestore() -> None:
    elsewhere = [
        f"{module.name}:{call.lineno}"
        for package in ("shared", "functions")
        for module in modules(package)
        if module.name != DATABASE
        for call in ast.walk(module.tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "stream"
    ]
    assert elsewhere == []
