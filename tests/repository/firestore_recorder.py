"""A server that speaks Firestore's protocol, answers every query with nothing, and keeps what was asked.

The emulator answers queries without the composite indexes that Firestore insists on, so what it accepts says
nothing. The real client sends its real requests here, and the test reads the shapes off them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.cloud.firestore_v1.types import Value
from google.cloud.firestore_v1.types.aggregation_result import AggregationResult
from google.cloud.firestore_v1.types.firestore import (
    BatchGetDocumentsRequest,
    BatchGetDocumentsResponse,
    RunAggregationQueryRequest,
    RunAggregationQueryResponse,
    RunQueryRequest,
    RunQueryResponse,
)
from google.cloud.firestore_v1.types.query import StructuredQuery

_SERVICE = "google.firestore.v1.Firestore"
_OPERATORS = StructuredQuery.FieldFilter.Operator
_NAME = "__name__"


@dataclass(frozen=True)
class Shape:
    """What of a query decides which index it needs.

    ``orders`` are (field, direction), less the document's name where it sorts like the field before it.
    """

    collection: str
    equal: frozenset[str]
    among: frozenset[str]
    contains: frozenset[str]
    orders: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        filters = [f"{name} ==" for name in sorted(self.equal)]
        filters += [f"{name} in" for name in sorted(self.among)]
        filters += [f"{name} contains" for name in sorted(self.contains)]
        return f"{self.collection}: {', '.join(filters) or 'all'}; order {self.orders or 'by name'}"


def shape_of(query: StructuredQuery) -> Shape:
    """The shape of a query as it goes over the wire."""
    equal, among, contains, ranged = set(), set(), set(), set()
    for condition in _conditions(query.where):
        field = condition.field.field_path
        if condition.op == _OPERATORS.EQUAL:
            equal.add(field)
        elif condition.op == _OPERATORS.IN:
            among.add(field)
        elif condition.op in (_OPERATORS.ARRAY_CONTAINS, _OPERATORS.ARRAY_CONTAINS_ANY):
            contains.add(field)
        elif condition.op in (
            _OPERATORS.LESS_THAN,
            _OPERATORS.LESS_THAN_OR_EQUAL,
            _OPERATORS.GREATER_THAN,
            _OPERATORS.GREATER_THAN_OR_EQUAL,
        ):
            ranged.add(field)
        else:
            raise AssertionError(f"no rule for the operator {condition.op!r}: add one")
    orders = [
        (order.field.field_path, "desc" if order.direction == StructuredQuery.Direction.DESCENDING else "asc")
        for order in query.order_by
    ]
    # Firestore sorts by a field that is compared for order, and by the document's name last.
    orders += [(field, "asc") for field in sorted(ranged - {field for field, _ in orders})]
    last = orders[-2][1] if len(orders) > 1 else "asc"
    if orders and orders[-1] == (_NAME, last):
        orders.pop()
    return Shape(
        query.from_[0].collection_id,
        frozenset(equal),
        frozenset(among),
        frozenset(contains),
        tuple(orders),
    )


def _conditions(where: StructuredQuery.Filter) -> Iterator[StructuredQuery.FieldFilter]:
    if "composite_filter" in where:
        if where.composite_filter.op != StructuredQuery.CompositeFilter.Operator.AND:
            raise AssertionError("no rule for OR: add one")
        for part in where.composite_filter.filters:
            yield from _conditions(part)
    elif "field_filter" in where:
        yield where.field_filter
    elif "unary_filter" in where:
        raise AssertionError("no rule for unary filters: add one")


@contextmanager
def recording() -> Iterator[tuple[str, list[Shape]]]:
    """Serve at a free port; gives ``host:port`` and the list that grows with every query."""
    asked: list[Shape] = []

    def run_query(request: RunQueryRequest, _: Any) -> Iterator[RunQueryResponse]:
        asked.append(shape_of(request.structured_query))
        yield RunQueryResponse(read_time=datetime.now(UTC))

    def run_aggregation(request: RunAggregationQueryRequest, _: Any) -> Iterator[RunAggregationQueryResponse]:
        aggregation = request.structured_aggregation_query
        asked.append(shape_of(aggregation.structured_query))
        counts = {each.alias: Value(integer_value=0) for each in aggregation.aggregations}
        yield RunAggregationQueryResponse(
            result=AggregationResult(aggregate_fields=counts), read_time=datetime.now(UTC)
        )

    def get_documents(request: BatchGetDocumentsRequest, _: Any) -> Iterator[BatchGetDocumentsResponse]:
        for name in request.documents:
            yield BatchGetDocumentsResponse(missing=name, read_time=datetime.now(UTC))

    handlers: dict[str, tuple[Any, Any, Any]] = {
        "BatchGetDocuments": (get_documents, BatchGetDocumentsRequest, BatchGetDocumentsResponse),
        "RunQuery": (run_query, RunQueryRequest, RunQueryResponse),
        "RunAggregationQuery": (run_aggregation, RunAggregationQueryRequest, RunAggregationQueryResponse),
    }
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                _SERVICE,
                {
                    name: grpc.unary_stream_rpc_method_handler(
                        answer,
                        request_deserializer=request.deserialize,
                        response_serializer=response.serialize,
                    )
                    for name, (answer, request, response) in handlers.items()
                },
            )
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", asked
    finally:
        server.stop(grace=None).wait()
