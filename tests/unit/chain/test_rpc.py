"""What nodes answer is believed only where it has the form of JSON-RPC 2.0 (https://www.jsonrpc.org)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chain.rpc import Call, NodeError, in_order, quantity
from shared.errors import RetryableError

CALLS: list[Call] = [("eth_blockNumber", []), ("eth_call", [])]


@given(st.permutations([{"id": 0, "result": "0x1"}, {"id": 1, "result": None}]))
def test_answers_come_back_in_the_order_of_the_calls(answers: list[dict[str, Any]]) -> None:
    assert in_order(answers, CALLS) == ["0x1", None]


def test_a_refused_call_does_not_spoil_the_others() -> None:
    error = {"code": 3, "message": "execution reverted"}
    number, refused = in_order([{"id": 1, "error": error}, {"id": 0, "result": "0x1"}], CALLS)
    assert number == "0x1"
    assert isinstance(refused, NodeError)
    assert (refused.method, refused.code, refused.message) == ("eth_call", 3, "execution reverted")


@pytest.mark.parametrize(
    "answers",
    [
        None,
        "text",
        {},
        {"error": {"code": -32600}},
        [],
        [{"id": 0, "result": 1}],
        [{"id": 0, "result": 1}, {"id": 0, "result": 2}, {"id": 1, "result": 1}],
        [{"id": 0, "result": 1}, "text"],
        [{"id": 0, "result": 1}, {"id": 1}],
        [{"id": 0, "result": 1}, {"id": 7, "result": 1}],
        [{"id": 0, "result": 1}, {"id": 1, "error": "text"}],
        [{"id": 0, "result": 1}, {"id": [], "result": 1}],
    ],
)
def test_an_answer_of_another_form_is_asked_for_again(answers: Any) -> None:
    with pytest.raises(RetryableError):
        in_order(answers, CALLS)


@given(st.integers(0, 2**256 - 1))
def test_quantities(number: int) -> None:
    assert quantity(hex(number)) == number


@pytest.mark.parametrize("value", [None, 1, True, "1", "", "0x", "0xzz", "0x-1", "0x 1", "0x1_0", [], {}])
def test_what_is_no_quantity_is_asked_for_again(value: Any) -> None:
    with pytest.raises(RetryableError, match="where a quantity was due"):
        quantity(value)
