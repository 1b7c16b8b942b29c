"""The compiled encoder says exactly what graphql-core's execution says, for any selection."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from graphql import (
    Executor,
    GraphQLObjectType,
    execute_subscription_event,
    get_named_type,
    parse,
    validate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.alerts.types import Alert, AlertsMessage, MarkUsed
from gateway.live.encoder import compile_encoder
from gateway.margin.types import Margin, MarginHealth, MessageKind
from gateway.marks.types import Mark, MarksMessage, Quote
from gateway.schema import build_schema
from shared.domain.margin import Severity, State
from shared.domain.marks import MarkStatus, Method
from shared.domain.quotes import Refusal

SCHEMA = build_schema()


def _root() -> GraphQLObjectType:
    root = SCHEMA.subscription_type
    assert root is not None
    return root


ROOT = _root()
ARGUMENTS = {"marginHealth": '(accountIds: ["x"])', "alerts": "", "marks": ""}

moments = st.integers(0, 4 * 10**15).map(
    lambda us: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us)
)
amounts = st.decimals(allow_nan=False, allow_infinity=False, places=6)
numbers = st.integers(0, 2**31 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=12)
kinds = st.sampled_from(MessageKind)
margins = st.builds(
    Margin,
    account_id=texts,
    state=st.sampled_from(State),
    unvalued_assets=st.lists(texts, max_size=3),
    valued_state=st.none() | st.sampled_from(State),
    collateral_usd=st.none() | amounts,
    debt_usd=st.none() | amounts,
    health_pct=st.none() | floats,
    tick_sequence=st.none() | numbers,
    position_version=numbers,
    transitions=numbers,
    as_of=moments,
    encoded=st.builds(dict),
)
alerts = st.builds(
    Alert,
    id=texts,
    account_id=texts,
    sequence=numbers,
    previous_state=st.none() | st.sampled_from(State),
    state=st.sampled_from(State),
    severity=st.sampled_from(Severity),
    notify=st.booleans(),
    collateral_usd=amounts,
    debt_usd=amounts,
    health_pct=st.none() | floats,
    marks=st.lists(st.builds(MarkUsed, asset=texts, price=amounts), max_size=2),
    tick_sequence=numbers,
    position_version=numbers,
    as_of=moments,
    encoded=st.builds(dict),
)
quotes = st.builds(
    Quote,
    source=texts,
    provider=texts,
    price=st.none() | amounts,
    confidence=st.none() | amounts,
    observed_at=st.none() | moments,
    reference=st.none() | texts,
    is_carried=st.booleans(),
    refusal=st.none() | st.sampled_from(Refusal),
    reason=st.none() | texts,
)
marks = st.builds(
    Mark,
    asset=texts,
    status=st.sampled_from(MarkStatus),
    price=st.none() | amounts,
    confidence=st.none() | amounts,
    collateral_price=st.none() | amounts,
    debt_price=st.none() | amounts,
    source=texts,
    method=st.sampled_from(Method),
    age_s=st.none() | numbers,
    is_off_peg=st.booleans(),
    last_good_price=st.none() | amounts,
    last_good_observed_at=st.none() | moments,
    quotes=st.lists(quotes, max_size=2),
    observed_at=st.none() | moments,
    max_age_s=numbers,
    reason=st.none() | texts,
)
MESSAGES = {
    "marginHealth": st.builds(
        MarginHealth,
        kind=kinds,
        sequence=st.none() | numbers,
        as_of=moments,
        accounts=st.lists(margins, max_size=3),
    ),
    "alerts": st.builds(AlertsMessage, kind=kinds, alerts=st.lists(alerts, max_size=3), cursor=texts),
    "marks": st.builds(
        MarksMessage,
        kind=kinds,
        sequence=numbers,
        as_of=moments,
        current=st.booleans(),
        marks=st.lists(marks, max_size=3),
        encoded=st.builds(dict),
    ),
}


@st.composite
def selections(draw: st.DrawFn, type_: GraphQLObjectType, depth: int = 0) -> str:
    """A selection set on a type: aliases, repeated and merged fields, fragments, directives."""
    parts = []
    for _ in range(draw(st.integers(1, 5))):
        name = draw(st.sampled_from([*type_.fields, "__typename"]))
        below = get_named_type(type_.fields[name].type) if name in type_.fields else None
        inner = " " + draw(selections(below, depth + 1)) if isinstance(below, GraphQLObjectType) else ""
        # One alias per field: two fields under one key would not be a valid document.
        alias = draw(st.sampled_from(["", f"one_{name}: ", f"percent_{name}: "]))
        directive = draw(
            st.sampled_from(["", " @include(if: $yes)", " @skip(if: $no)", " @include(if: $no)"])
        )
        field = f"{alias}{name}{directive}{inner}"
        wrapped = draw(st.integers(0, 3 if depth < 3 else 0))
        if wrapped == 1:
            field = f"... on {type_.name}{draw(st.sampled_from(['', ' @skip(if: $yes)']))} {{ {field} }}"
        elif wrapped == 2:
            field = f"... {{ {field} }}"
        parts.append(field)
    # So that directives cannot leave an object empty, which validation allows and is tested too.
    return "{ " + " ".join(parts) + " }"


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, Any]:
    """A subscription and an event of it."""
    name = draw(st.sampled_from(sorted(ARGUMENTS)))
    type_ = get_named_type(ROOT.fields[name].type)
    assert isinstance(type_, GraphQLObjectType)
    fields = draw(selections(type_))
    fragment = draw(st.booleans())
    head = f"subscription($yes: Boolean = true, $no: Boolean!) {{ it: {name}{ARGUMENTS[name]} "
    if fragment:
        document = f"{head}{{ ...Part kind }} }} fragment Part on {type_.name} {fields}"
    else:
        document = f"{head}{fields} }}"
    return document, draw(MESSAGES[name])


def executor_of(document: str) -> Executor[Any] | None:
    """The executor of a document, or None where it is not valid."""
    parsed = parse(document)
    if validate(SCHEMA, parsed):
        return None
    executor = Executor.build(SCHEMA, parsed, raw_variable_values={"no": False})
    assert isinstance(executor, Executor), executor
    return executor


def by_graphql_core(executor: Executor[Any], event: Any) -> Any:
    """What graphql-core answers to an event."""

    async def execute() -> Any:
        result = execute_subscription_event(executor.build_per_event_executor(event))
        return await result if asyncio.iscoroutine(result) else result

    result = asyncio.run(execute())
    assert not result.errors, result.errors
    return result.data


@settings(max_examples=150, deadline=None)
@given(cases())
def test_equals_graphql_core(case: tuple[str, Any]) -> None:
    document, event = case
    executor = executor_of(document)
    if executor is None:
        # Unused variables make a document invalid; used here so that it counts as one.
        document = document.replace("{ it:", "{ it:", 1)
        declared = "$yes: Boolean = true, $no: Boolean!"
        used = [part for part in declared.split(", ") if part.split(":")[0] in document.split("{", 1)[1]]
        document = document.replace(f"({declared})", f"({', '.join(used)})" if used else "")
        executor = executor_of(document)
    assert executor is not None, document
    encoded = compile_encoder(executor)(event)
    expected = by_graphql_core(executor, event)
    assert json.loads(encoded) == json.loads(json.dumps(expected))
    assert list(json.loads(encoded)["it"]) == list(expected["it"])
    assert compile_encoder(executor)(event) == encoded


def test_equal_selections_share_one_encoding() -> None:
    texts = [
        'subscription { marginHealth(accountIds: ["x"]) { accounts { state accountId } } }',
        'subscription S { a: marginHealth(accountIds: ["y"]) { accounts { ...F } } } '
        "fragment F on Margin { state accountId }",
    ]
    margin = Margin(
        account_id="0x1",  # type: ignore[arg-type]
        state=State.HEALTHY,
        unvalued_assets=[],
        valued_state=State.HEALTHY,
        collateral_usd=Decimal(2),
        debt_usd=Decimal(1),
        health_pct=100.0,
        tick_sequence=1,
        position_version=1,
        transitions=0,
        as_of=datetime.now(UTC),
    )
    event = MarginHealth(kind=MessageKind.UPDATE, sequence=1, as_of=datetime.now(UTC), accounts=[margin])
    for text in texts:
        executor = executor_of(text)
        assert executor is not None
        compile_encoder(executor)(event)
    assert list(margin.encoded.values()) == ['{"state":"HEALTHY","accountId":"0x1"}']


@pytest.mark.parametrize("field", ["kind", "asOf", "accounts { state }"])
def test_a_missing_value_that_cannot_be_null_is_an_error(field: str) -> None:
    executor = executor_of(f'subscription {{ marginHealth(accountIds: ["x"]) {{ {field} }} }}')
    assert executor is not None
    event = MarginHealth(kind=None, sequence=1, as_of=None, accounts=None)  # type: ignore[arg-type]
    with pytest.raises((TypeError, KeyError, AttributeError)):
        compile_encoder(executor)(event)


def test_everything_below_a_subscription_can_be_compiled() -> None:
    def everything(type_: GraphQLObjectType) -> str:
        return " ".join(
            name + (f" {{ {everything(below)} }}" if isinstance(below, GraphQLObjectType) else "")
            for name, field in type_.fields.items()
            for below in (get_named_type(field.type),)
        )

    for name, field in ROOT.fields.items():
        type_ = get_named_type(field.type)
        assert isinstance(type_, GraphQLObjectType)
        executor = executor_of(f"subscription {{ {name}{ARGUMENTS[name]} {{ {everything(type_)} }} }}")
        assert executor is not None
        compile_encoder(executor)
