"""A block's receipts, proven by its header.

A header commits to its receipts by the root of a Merkle-Patricia trie: whoever gives other receipts, or
leaves one log out, cannot give that root. Sources: Ethereum Yellow Paper, appendices B (RLP) and D (trie);
EIP-2718 (typed receipts); for type 0x7e, the OP Stack specification, "Deposit Receipt".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.chain.abi import keccak256
from shared.chain.rpc import ProviderError, quantity

Rlp = "bytes | Sequence[Rlp]"
_EMPTY_ROOT = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
_OP_DEPOSIT = 0x7E


def rlp(item: Any) -> bytes:
    """The recursive length prefix encoding of bytes, or of a list of what it encodes."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _prefixed(0x80, item)
    return _prefixed(0xC0, b"".join(map(rlp, item)))


def _prefixed(offset: int, payload: bytes) -> bytes:
    if len(payload) < 56:
        return bytes([offset + len(payload)]) + payload
    length = _big_endian(len(payload))
    return bytes([offset + 55 + len(length)]) + length + payload


def _big_endian(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def trie_root(values: Sequence[bytes]) -> str:
    """The root (``0x`` hexadecimal) of the trie that has each value under the RLP of its index."""
    if not values:
        return _EMPTY_ROOT
    pairs = sorted((_nibbles(rlp(_big_endian(index))), value) for index, value in enumerate(values))
    return "0x" + keccak256(rlp(_node(pairs, 0))).hex()


def _nibbles(key: bytes) -> tuple[int, ...]:
    return tuple(half for byte in key for half in (byte >> 4, byte & 15))


def _node(pairs: Sequence[tuple[tuple[int, ...], bytes]], depth: int) -> Any:
    """The structural node of sorted pairs that share their first ``depth`` nibbles."""
    first, last = pairs[0][0], pairs[-1][0]
    if len(pairs) == 1:
        return [_compact(first[depth:], leaf=True), pairs[0][1]]
    shared = depth
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_compact(first[depth:shared], leaf=False), _reference(_node(pairs, shared))]
    children: list[Any] = []
    for nibble in range(16):
        below = [pair for pair in pairs if len(pair[0]) > depth and pair[0][depth] == nibble]
        children.append(_reference(_node(below, depth + 1)) if below else b"")
    here = [value for key, value in pairs if len(key) == depth]
    return [*children, here[0] if here else b""]


def _reference(node: Any) -> Any:
    encoded = rlp(node)
    return node if len(encoded) < 32 else keccak256(encoded)


def _compact(nibbles: Sequence[int], *, leaf: bool) -> bytes:
    flag = (2 if leaf else 0) + len(nibbles) % 2
    halves = [flag, *nibbles] if len(nibbles) % 2 else [flag, 0, *nibbles]
    return bytes(halves[i] << 4 | halves[i + 1] for i in range(0, len(halves), 2))


def receipts_root(receipts: Sequence[Mapping[str, Any]]) -> str:
    """The root that a header must have for these receipts (as a node's JSON gives them, in order)."""
    return trie_root([_encoded(receipt) for receipt in receipts])


def _encoded(receipt: Mapping[str, Any]) -> bytes:
    status = bytes.fromhex(receipt["root"][2:]) if "root" in receipt else _number(receipt["status"])
    logs = [
        [_data(log["address"]), [_data(topic) for topic in log["topics"]], _data(log["data"])]
        for log in receipt["logs"]
    ]
    body: list[Any] = [status, _number(receipt["cumulativeGasUsed"]), _data(receipt["logsBloom"]), logs]
    kind = quantity(receipt.get("type", "0x0"))
    if kind == _OP_DEPOSIT:
        body += [
            _number(receipt[name]) for name in ("depositNonce", "depositReceiptVersion") if name in receipt
        ]
    return rlp(body) if kind == 0 else bytes([kind]) + rlp(body)


def _number(value: Any) -> bytes:
    return _big_endian(quantity(value))


def _data(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def proven_logs(receipts: Any, *, block_hash: str, root: str) -> list[dict[str, Any]]:
    """Every log of a block, in order, if these are the receipts that its header commits to.

    Raises:
        ProviderError: they are not.
    """
    try:
        matches = isinstance(receipts, list) and receipts_root(receipts) == root
        logs: list[dict[str, Any]] = [log for receipt in receipts or () for log in receipt["logs"]]
        misplaced = any(
            log["blockHash"] != block_hash or quantity(log["logIndex"]) != index
            for index, log in enumerate(logs)
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProviderError(f"malformed receipts of block {block_hash}: {error!r}") from error
    if not matches or misplaced:
        raise ProviderError(f"the receipts of block {block_hash} are not those that its header commits to")
    return logs
