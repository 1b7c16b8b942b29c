"""Messages survive the wire exactly, and whatever differs from their schema in any place is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from shared.events.base import UINT256_MAX, Address, BaseUnits, Event, ExactDecimal, Identifier, Instant
from shared.events.margin import Valuation
from shared.events.positions import Position
from shared.events.registry import ADAPTERS
from tests.unit.events.samples import MESSAGES, TICK

every_message = pytest.mark.parametrize(
    ("topic", "message"), MESSAGES, ids=[type(message).__name__ for _, message in MESSAGES]
)


def _document(message: Event) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(message.encode())
    return document


def _refusal(topic: str, document: Any) -> list[ErrorDetails]:
    with pytest.raises(ValidationError) as refused:
        ADAPTERS[topic].validate_json(json.dumps(document))
    return refused.value.errors()


def _objects(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every JSON object in a document, with its path; free-form maps have no fields and are left out."""
    if isinstance(value, dict) and (
        not path or path[-1] not in {"marks", "details", "block_numbers", "arguments"}
    ):
        yield path, value
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _objects(inner, (*path, key))


def test_every_topic_has_a_sample() -> None:
    assert {topic for topic, _ in MESSAGES} == set(ADAPTERS)


@every_message
def test_a_message_survives_the_wire(topic: str, message: Event) -> None:
    assert ADAPTERS[topic].validate_json(message.encode()) == message
    assert ADAPTERS[topic].validate_json(message.encode()).encode() == message.encode()


@every_message
def test_an_unknown_field_is_refused_wherever_it_is(topic: str, message: Event) -> None:
    places = [path for path, _ in _objects(_document(message))]
    assert () in places
    for place in places:
        document = _document(message)
        dict(_objects(document))[place]["surprise"] = 1
        (problem, *_) = _refusal(topic, document)
        assert problem["loc"][-1] == "surprise"
        assert problem["type"] == "extra_forbidden"


@every_message
def test_another_version_is_refused(topic: str, message: Event) -> None:
    for version in (0, 2, "1", None):
        problems = _refusal(topic, {**_document(message), "schema_version": version})
        assert problems[0]["loc"][-1] == "schema_version"


@every_message
def test_a_value_of_another_type_is_refused_by_name(topic: str, message: Event) -> None:
    for field in _document(message):
        problems = _refusal(topic, {**_document(message), field: [[1]]})
        assert any(field in problem["loc"] or problem["type"].startswith("union_tag") for problem in problems)


def _loose(value: Any) -> list[Any]:
    """What a lenient reader would take for a value."""
    if isinstance(value, bool):
        return [int(value), str(value).lower(), "yes"]
    if isinstance(value, int):
        return [str(value), float(value), value == 1]
    return []


@every_message
def test_nothing_is_converted(topic: str, message: Event) -> None:
    """The version is left out: JSON knows no difference between 1 and 1.0, and that is all it takes."""
    for path, _ in _objects(_document(message)):
        for field, value in dict(_objects(_document(message)))[path].items():
            for loose in _loose(value) if field != "schema_version" else []:
                document = _document(message)
                dict(_objects(document))[path][field] = loose
                assert _refusal(topic, document)[0]["loc"][-1] == field


@every_message
def test_a_missing_field_is_refused_by_name(topic: str, message: Event) -> None:
    for field in set(_document(message)) - {"schema_version"}:
        document = _document(message)
        del document[field]
        problems = _refusal(topic, document)
        assert any(field in problem["loc"] or problem["type"].startswith("union_tag") for problem in problems)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"1", b'"text"', b"\xff\xfe", b"{}"])
@pytest.mark.parametrize("topic", ADAPTERS)
def test_what_is_no_message_is_refused(topic: str, data: bytes) -> None:
    with pytest.raises(ValidationError):
        ADAPTERS[topic].validate_json(data)


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TICK.sequence = 8  # type: ignore[misc]


UNITS = TypeAdapter(BaseUnits)


@given(st.integers(0, UINT256_MAX))
def test_every_uint256_survives_the_wire(amount: int) -> None:
    position = Position(chain_id=1, asset="ETH", decimals=18, collateral_base=amount, debt_shares=0)
    written = json.loads(position.model_dump_json())
    assert written["collateral_base"] == str(amount)
    assert Position.model_validate_json(json.dumps(written)) == position


@pytest.mark.parametrize("amount", [-1, UINT256_MAX + 1, 2**300])
def test_what_no_uint256_holds_is_refused(amount: int) -> None:
    for text in (str(amount), json.dumps(str(amount))):
        with pytest.raises(ValidationError):
            UNITS.validate_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "1.0",
        "1e3",
        "true",
        "null",
        '""',
        '" 1"',
        '"+1"',
        '"1_0"',
        '"0x1"',
        '"1.0"',
        '"1e3"',
        '"\u0661"',
        "[]",
    ],
)
def test_an_amount_is_nothing_but_digits(text: str) -> None:
    with pytest.raises(ValidationError):
        UNITS.validate_json(text)


EXACT = TypeAdapter(ExactDecimal)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**30), max_value=10**30))
def test_a_decimal_survives_the_wire_digit_by_digit(number: Decimal) -> None:
    valuation = Valuation(collateral_usd=number, debt_usd=Decimal(1), health_pct=None)
    read = Valuation.model_validate_json(valuation.model_dump_json())
    assert read.collateral_usd.as_tuple() == number.as_tuple()


@pytest.mark.parametrize(
    "text",
    [
        *("1", "1.5", "true", "null", '""', '"NaN"', '"Infinity"', '"1e5"', '"1E+999999999"'),
        *('" 1"', '"1_000"', '".5"', '"1."', '"+1"', '"--1"', '"\u0661"', f'"{"9" * 81}"'),
    ],
)
def test_a_decimal_is_written_in_plain_digits(text: str) -> None:
    with pytest.raises(ValidationError):
        EXACT.validate_json(text)


@pytest.mark.parametrize("value", [1.5, float("nan"), Decimal("NaN"), Decimal("Infinity"), True])
def test_code_cannot_put_a_float_into_a_decimal(value: object) -> None:
    with pytest.raises(ValidationError):
        EXACT.validate_python(value)


MOMENT = TypeAdapter(Instant)


@given(
    st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9999, 1, 1)),  # noqa: DTZ001
    st.integers(-14 * 60, 14 * 60),
)
def test_a_moment_is_kept_in_utc(clock: datetime, offset_minutes: int) -> None:
    moment = clock.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    read = MOMENT.validate_json(json.dumps(moment.isoformat()), strict=True)
    assert read == moment
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["1700000000", '"1700000000"', '"2025-01-31T12:00:00"', '"2025-01-31"', "null"]
)
def test_a_moment_has_a_date_a_time_and_a_zone(text: str) -> None:
    with pytest.raises(ValidationError):
        MOMENT.validate_json(text, strict=True)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Address, "0x" + "A1" * 20),
        (Address, "0x" + "a1" * 19),
        (Address, "a1" * 21),
        (Address, "0x" + "g1" * 20),
        (Address, "0x" + "a1" * 20 + "\n"),
        (Identifier, ""),
        (Identifier, "a/b"),
        (Identifier, "a\nb"),
        (Identifier, "a" * 257),
    ],
)
def test_names_have_their_form(kind: Any, text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


def _tick(**mark: object) -> dict[str, Any]:
    document = _document(TICK)
    document["marks"][0].update(mark)
    return document


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"price": None}, "price must be greater than zero"),
        ({"price": "0"}, "price must be greater than zero"),
        ({"price": "-1"}, "price must be greater than zero"),
        ({"observed_at": None}, "observed_at must be given"),
        ({"status": "stale"}, "price must be absent"),
        ({"status": "halted", "price": None}, "reason must be given"),
    ],
)
def test_a_price_is_there_exactly_when_it_may_be_used(changes: dict[str, object], said: str) -> None:
    (problem,) = _refusal("market.prices.v1", _tick(**changes))
    assert said in problem["msg"]
    assert problem["loc"] == ("marks", 0)


def test_a_tick_has_one_mark_per_asset() -> None:
    document = _document(TICK)
    document["marks"][1]["asset"] = "ETH"
    (problem,) = _refusal("market.prices.v1", document)
    assert "each asset once" in problem["msg"]
