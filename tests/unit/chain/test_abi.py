"""ABI decoding against published vectors.

Sources: the examples of the Contract ABI specification
(https://docs.soliditylang.org/en/latest/abi-spec.html#examples), ERC-20's Transfer event
(https://eips.ethereum.org/EIPS/eip-20), Keccak-256 of nothing (the Keccak team's test vectors).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chain import abi
from shared.errors import TerminalError

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def test_keccak_is_ethereums_and_not_nists() -> None:
    assert abi.keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


@pytest.mark.parametrize(
    ("signature", "selector"),
    [
        ("baz(uint32,bool)", "0xcdcd77c0"),
        ("bar(bytes3[2])", "0xfce353f6"),
        ("sam(bytes,bool,uint256[])", "0xa5643bf2"),
        ("transfer(address,uint256)", "0xa9059cbb"),
    ],
)
def test_selectors(signature: str, selector: str) -> None:
    assert abi.selector(signature) == selector


def test_topics() -> None:
    assert abi.topic("Transfer(address,address,uint256)") == TRANSFER


def test_the_specifications_arguments_of_baz() -> None:
    """baz(69, true): the words behind the selector."""
    number, truth = abi.words("0x" + "0" * 62 + "45" + "0" * 63 + "1", 2)
    assert abi.unsigned(number) == 69
    assert abi.unsigned(truth) == 1


@given(st.integers(0, 2**256 - 1))
def test_unsigned_words(number: int) -> None:
    assert abi.unsigned(number.to_bytes(32, "big")) == number


@given(st.integers(-(2**255), 2**255 - 1))
def test_signed_words_are_twos_complement(number: int) -> None:
    assert abi.signed((number % 2**256).to_bytes(32, "big")) == number


def test_the_smallest_negative_word() -> None:
    assert abi.signed(bytes.fromhex("ff" * 32)) == -1


def test_an_address_is_the_lower_twenty_bytes() -> None:
    assert abi.address(bytes(12) + bytes.fromhex("AB" * 20)) == "0x" + "ab" * 20
    with pytest.raises(TerminalError, match="is not an address"):
        abi.address(bytes(11) + b"\x01" + bytes(20))


@pytest.mark.parametrize(
    ("data", "count"), [("0x", 1), ("0x" + "00" * 31, 1), ("0x" + "00" * 33, 1), ("0x" + "00" * 64, 1)]
)
def test_data_of_another_length_is_refused(data: str, count: int) -> None:
    with pytest.raises(TerminalError, match=f"where {count} words were due"):
        abi.words(data, count)


@pytest.mark.parametrize("data", ["0xzz", "0x0", "zz"])
def test_data_that_is_not_hexadecimal_is_refused(data: str) -> None:
    with pytest.raises(TerminalError, match="not hexadecimal"):
        abi.words(data, 1)


def _field(name: str, kind: str, *, indexed: bool) -> dict[str, Any]:
    return {"name": name, "type": kind, "indexed": indexed}


ERC20: list[dict[str, Any]] = [
    {
        "type": "event",
        "name": "Transfer",
        "inputs": [
            _field("from", "address", indexed=True),
            _field("to", "address", indexed=True),
            _field("value", "uint256", indexed=False),
        ],
    },
    {"type": "event", "name": "Hidden", "anonymous": True, "inputs": []},
    {"type": "function", "name": "transfer", "inputs": []},
]
SENDER, RECEIVER = "0x" + "a1" * 20, "0x" + "b2" * 20


def _topic_of(address: str) -> str:
    return "0x" + "00" * 12 + address.removeprefix("0x")


def test_a_log_is_decoded_by_its_layout() -> None:
    layouts = abi.event_layouts(ERC20)
    assert list(layouts) == [TRANSFER]
    fields = layouts[TRANSFER].decode(
        [TRANSFER, _topic_of(SENDER), _topic_of(RECEIVER)], "0x" + (10**18).to_bytes(32, "big").hex()
    )
    assert fields == {"from": SENDER, "to": RECEIVER, "value": 10**18}


@pytest.mark.parametrize(
    "topics",
    [
        [TRANSFER],
        [TRANSFER, _topic_of(SENDER)],
        [TRANSFER, _topic_of(SENDER), _topic_of(RECEIVER), _topic_of(RECEIVER)],
        ["0x" + "00" * 32, _topic_of(SENDER), _topic_of(RECEIVER)],
    ],
)
def test_a_log_of_another_layout_is_refused(topics: list[str]) -> None:
    with pytest.raises(TerminalError, match="not those of Transfer"):
        abi.event_layouts(ERC20)[TRANSFER].decode(topics, "0x" + "00" * 32)


def test_topics_that_are_no_words_are_refused_even_where_their_lengths_add_up() -> None:
    shifted = [TRANSFER, _topic_of(SENDER)[:-2], _topic_of(RECEIVER) + "b2"]
    with pytest.raises(TerminalError, match="a topic of Transfer is not a word"):
        abi.event_layouts(ERC20)[TRANSFER].decode(shifted, "0x" + "00" * 32)


@pytest.mark.parametrize(
    "data", ["0x", "0x" + "00" * 31, "0x" + "00" * 64, "0x" + "zz" * 32, "0x" + "00" * 31 + "  "]
)
def test_data_that_is_not_its_words_is_refused(data: str) -> None:
    with pytest.raises(TerminalError):
        abi.event_layouts(ERC20)[TRANSFER].decode([TRANSFER, _topic_of(SENDER), _topic_of(RECEIVER)], data)
