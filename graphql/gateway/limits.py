"""How large a request may be, and why.

Each limit bounds work that one request can cause before any of our code sees a value: without them a few
hundred bytes can ask for millions of reads. Errors name the limit (``extensions.limit``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)

from gateway.errors import LimitExceededError

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one gateway.

    ``body_bytes`` and ``message_bytes`` bound what is parsed as JSON; ``query_characters`` and ``tokens``
    what is parsed as GraphQL; ``depth``, ``aliases`` and ``cost`` what is executed; the rest what one
    connection may hold open. ``cost`` counts fields, those below a list as often as the list may be long.
    """

    body_bytes: int = 100_000
    message_bytes: int = 100_000
    query_characters: int = 20_000
    tokens: int = 2_000
    depth: int = 12
    introspection_depth: int = 20
    aliases: int = 30
    cost: int = 20_000
    subscriptions_per_connection: int = 50
    accounts_per_subscription: int = 500
    init_timeout_s: float = 5.0
    ping_interval_s: float = 20.0


class _Measure:
    """Depth and aliases of one document, every fragment measured once."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = fragments_of(document)
        self._known: dict[tuple[str, bool], tuple[int, int, int]] = {}

    def measure(self, selections: SelectionSetNode | None, introspecting: bool) -> tuple[int, int, int]:
        """(depth, introspection depth, aliases) below a selection set; validation excluded cycles."""
        depth = introspection = aliases = 0
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode):
                aliases += node.alias is not None
                inside = introspecting or node.name.value.startswith("__")
                below = self.measure(node.selection_set, inside)
                level = (0, 1) if inside else (1, 0)
                below = (below[0] + level[0], below[1] + level[1], below[2])
            elif isinstance(node, InlineFragmentNode):
                below = self.measure(node.selection_set, introspecting)
            else:
                assert isinstance(node, FragmentSpreadNode)
                key = (node.name.value, introspecting)
                if key not in self._known:
                    self._known[key] = self.measure(self._fragments[key[0]].selection_set, introspecting)
                below = self._known[key]
            depth, introspection = max(depth, below[0]), max(introspection, below[1])
            aliases += below[2]
        return depth, introspection, aliases


def fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    """The fragments of a document by name."""
    return {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }


def check_document(document: DocumentNode, limits: Limits) -> None:
    """Check a validated document against the limits that do not depend on variables.

    Raises:
        LimitExceededError: naming the limit.
    """
    measure = _Measure(document)
    for node in document.definitions:
        if not isinstance(node, OperationDefinitionNode):
            continue
        depth, introspection, aliases = measure.measure(node.selection_set, introspecting=False)
        if depth > limits.depth:
            raise LimitExceededError("depth", limits.depth, depth)
        if introspection > limits.introspection_depth:
            raise LimitExceededError("introspection_depth", limits.introspection_depth, introspection)
        if aliases > limits.aliases:
            raise LimitExceededError("aliases", limits.aliases, aliases)


class _Cost:
    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables
        self._known: dict[tuple[str, str], int] = {}

    def of(self, selections: SelectionSetNode | None, parent: Any) -> int:
        """Fields below a selection set on the type ``parent``, list items multiplied."""
        total = 0
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode):
                total += 1 + self._below(node, parent)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                inner = self._schema.get_type(condition.name.value) if condition else parent
                total += self.of(node.selection_set, inner)
            else:
                assert isinstance(node, FragmentSpreadNode)
                fragment = self._fragments[node.name.value]
                inner = self._schema.get_type(fragment.type_condition.name.value)
                key = (node.name.value, str(inner))
                if key not in self._known:
                    self._known[key] = self.of(fragment.selection_set, inner)
                total += self._known[key]
        return total

    def _below(self, node: FieldNode, parent: Any) -> int:
        # Introspection is bounded by its depth and by the schema, not by data.
        if node.name.value.startswith("__") or node.selection_set is None:
            return 0
        if not isinstance(parent, GraphQLObjectType) or node.name.value not in parent.fields:
            return 0
        field = parent.fields[node.name.value]
        below = self.of(node.selection_set, get_named_type(field.type))
        if "first" not in field.args:
            return below
        return max(0, self._page_size(node, field.args["first"].default_value)) * below

    def _page_size(self, node: FieldNode, default: Any) -> int:
        for argument in node.arguments or ():
            if argument.name.value != "first":
                continue
            if isinstance(argument.value, IntValueNode):
                return int(argument.value.value)
            if isinstance(argument.value, VariableNode):
                value = self._variables.get(argument.value.name.value)
                return value if isinstance(value, int) else DEFAULT_PAGE_SIZE
        return default if isinstance(default, int) else DEFAULT_PAGE_SIZE


def check_cost(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
    limits: Limits,
) -> None:
    """Check what an operation may cost with these coerced variables.

    Raises:
        LimitExceededError: naming the limit.
    """
    root = schema.get_root_type(operation.operation)
    cost = _Cost(schema, fragments_of(document), variables).of(operation.selection_set, root)
    if cost > limits.cost:
        raise LimitExceededError("cost", limits.cost, cost)


def check_page_size(first: int, argument: str = "first") -> int:
    """The page size, if it is allowed.

    Raises:
        LimitExceededError: naming the argument.
    """
    if not 1 <= first <= MAX_PAGE_SIZE:
        raise LimitExceededError("page_size", MAX_PAGE_SIZE, first, argument=argument)
    return first
