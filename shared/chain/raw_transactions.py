"""Type 2 transactions as bytes.

Sources: EIP-2718 (typed envelopes), EIP-1559 (the fields of type 2), and RLP as in the Yellow Paper's
appendix B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.chain.abi import keccak256
from shared.domain.fees import Fees

TRANSFER_GAS = 21_000
"""What a transfer to an account without code uses."""

_TYPE = b"\x02"
_SHORT = 55


@dataclass(frozen=True, slots=True)
class Signature:
    """An ECDSA signature on secp256k1; ``y_parity`` is 0 or 1, ``s`` at most half the curve's order."""

    r: int
    s: int
    y_parity: int


@dataclass(frozen=True, slots=True)
class UnsignedTransaction:
    """The fields of a type 2 transaction without an access list."""

    chain_id: int
    nonce: int
    fees: Fees
    gas_limit: int
    to: str
    value_base: int
    data: str

    def signing_hash(self) -> bytes:
        """The 32 bytes that are signed."""
        return keccak256(_TYPE + rlp(self._fields()))

    def raw(self, signature: Signature) -> bytes:
        """The signed transaction's bytes."""
        return _TYPE + rlp(
            [*self._fields(), _number(signature.y_parity), _number(signature.r), _number(signature.s)]
        )

    def _fields(self) -> list[Item]:
        return [
            _number(self.chain_id),
            _number(self.nonce),
            _number(self.fees.max_priority_fee_wei),
            _number(self.fees.max_fee_wei),
            _number(self.gas_limit),
            bytes.fromhex(self.to.removeprefix("0x")),
            _number(self.value_base),
            bytes.fromhex(self.data.removeprefix("0x")),
            [],
        ]


Item = bytes | Sequence["Item"]


def rlp(item: Item) -> bytes:
    """A string of bytes, or a list of items, in RLP."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _headed(0x80, item)
    return _headed(0xC0, b"".join(map(rlp, item)))


def _headed(offset: int, payload: bytes) -> bytes:
    if len(payload) <= _SHORT:
        return bytes([offset + len(payload)]) + payload
    size = _number(len(payload))
    return bytes([offset + _SHORT + len(size)]) + size + payload


def _number(value: int) -> bytes:
    """An integer without leading zeros; zero is the empty string."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def transaction_hash(raw: bytes) -> str:
    """The hash by which a signed transaction is known."""
    return "0x" + keccak256(raw).hex()
