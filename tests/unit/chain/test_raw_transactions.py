"""Type 2 transactions: RLP as specified, and bytes that a node recognises (tests/functions has the node)."""

from __future__ import annotations

import pytest

from shared.chain.abi import keccak256
from shared.chain.raw_transactions import Signature, UnsignedTransaction, rlp, transaction_hash
from shared.domain.fees import Fees

# The examples of https://ethereum.org/en/developers/docs/data-structures-and-encoding/rlp/
EXAMPLES: list[tuple[object, str]] = [
    (b"dog", "83646f67"),
    ([b"cat", b"dog"], "c88363617483646f67"),
    (b"", "80"),
    ([], "c0"),
    (b"\x00", "00"),
    (b"\x0f", "0f"),
    (b"\x04\x00", "820400"),
    ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
    (
        b"Lorem ipsum dolor sit amet, consectetur adipisicing elit",
        "b8384c6f72656d20697073756d20646f6c6f722073697420616d65742c20636f6e73656374657475722061646970697369"
        "63696e6720656c6974",
    ),
]


@pytest.mark.parametrize(("item", "encoded"), EXAMPLES)
def test_rlp_is_that_of_the_published_examples(item: object, encoded: str) -> None:
    assert rlp(item).hex() == encoded  # type: ignore[arg-type]


def test_long_payloads_say_how_long_their_length_is() -> None:
    assert rlp(b"a" * 1024)[:3].hex() == "b90400"
    assert rlp([b"a" * 1024])[:3].hex() == "f90403"


def test_a_transaction_has_its_fields_in_the_order_of_the_proposal() -> None:
    unsigned = UnsignedTransaction(1, 0, Fees(100, 2), 21_000, "0x" + "11" * 20, value_base=0, data="0x")
    fields = "0180026482520894" + "11" * 20 + "8080c0"
    payload = bytes([0xC0 + len(fields) // 2]) + bytes.fromhex(fields)
    assert unsigned.signing_hash() == keccak256(b"\x02" + payload)
    raw = unsigned.raw(Signature(r=1, s=2, y_parity=0))
    signed = fields + "800102"
    assert raw == b"\x02" + bytes([0xC0 + len(signed) // 2]) + bytes.fromhex(signed)
    assert transaction_hash(raw) == "0x" + keccak256(raw).hex()
