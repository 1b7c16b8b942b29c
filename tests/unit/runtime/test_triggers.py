"""The shell's own decisions: traces, decoding, and what a message that does not validate is told."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from shared.errors import TerminalError
from shared.events.registry import ADAPTERS
from shared.runtime import triggers
from shared.runtime.triggers import MAX_MESSAGE_BYTES, child_traceparent, decode_message
from tests.unit.events.samples import MESSAGES, TICK

TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01")
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_child_stays_in_the_callers_trace_with_a_span_of_its_own() -> None:
    child = child_traceparent(CALLER)
    assert TRACEPARENT.fullmatch(child)
    assert child.split("-")[1] == CALLER.split("-")[1]
    assert child.split("-")[2] != CALLER.split("-")[2]
    assert child != child_traceparent(CALLER)


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736",
        "00-short-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-zzf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    ],
)
def test_without_a_trace_a_new_one_begins(malformed: str | None) -> None:
    child = child_traceparent(malformed)
    assert TRACEPARENT.fullmatch(child)
    assert child.split("-")[1] not in (malformed or "").lower()


@given(st.text(max_size=80))
def test_any_text_gives_a_traceparent(text: str) -> None:
    assert TRACEPARENT.fullmatch(child_traceparent(text))


@pytest.mark.parametrize(("topic", "message"), MESSAGES, ids=[type(m).__name__ for _, m in MESSAGES])
def test_a_message_is_decoded(topic: str, message: object) -> None:
    assert decode_message(message.encode(), ADAPTERS[topic]) == message  # type: ignore[attr-defined]


def _refusal(data: bytes, topic: str = "market.prices.v1") -> TerminalError:
    with pytest.raises(TerminalError) as refused:
        decode_message(data, ADAPTERS[topic])
    return refused.value


def test_the_field_is_named_by_its_path() -> None:
    document = json.loads(TICK.encode())
    document["marks"][1]["max_age_s"] = 0
    refused = _refusal(json.dumps(document).encode())
    assert refused.field == "marks.1.max_age_s"
    assert "greater than or equal to 1" in refused.reason
    assert "more" not in refused.reason


def test_the_rest_of_the_problems_is_counted() -> None:
    document = json.loads(TICK.encode())
    document["marks"][0]["max_age_s"] = document["marks"][1]["max_age_s"] = 0
    document["sequence"] = "seven"
    assert "(and 2 more)" in _refusal(json.dumps(document).encode()).reason


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b"\xff"])
def test_what_is_no_message_is_named_data(data: bytes) -> None:
    assert _refusal(data).field == "data"


def test_a_message_that_is_too_large_is_not_even_parsed() -> None:
    refused = _refusal(b"[" * (MAX_MESSAGE_BYTES + 1))
    assert refused.field == "data"
    assert str(MAX_MESSAGE_BYTES) in refused.reason


def test_what_was_sent_is_not_quoted() -> None:
    refused = _refusal(json.dumps({"event_id": "x", "secret": "correct-horse"}).encode())
    assert "correct-horse" not in str(refused)


def test_a_decorated_function_is_declared() -> None:
    @triggers.pubsub_function(
        uses=("firestore",), settings=("WINDOW_S",), messages={"market.prices.v1": TypeAdapter(int)}
    )
    def declared_for_a_test(_event: object, _context: object) -> None: ...

    assert triggers.declaration_of(declared_for_a_test) == triggers.Declaration(
        "declared_for_a_test", ("firestore",), ("WINDOW_S",), ("market.prices.v1",)
    )
