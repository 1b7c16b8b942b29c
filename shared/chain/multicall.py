"""Many read-only calls in one, through Multicall3's ``aggregate3``.

Source: https://www.multicall3.com, deployed at 0xca11bde05977b3631167028862be2a173976ca11 on most chains.
Everything is read at one block, and a provider that bills by the call bills one.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.chain import abi
from shared.errors import TerminalError

_AGGREGATE3 = abi.selector("aggregate3((address,bool,bytes)[])")


def encode(calls: Sequence[tuple[str, str]]) -> str:
    """The call data of ``aggregate3`` for calls of (address, data); each may fail by itself."""
    bodies: list[str] = []
    for target, data in calls:
        raw = data.removeprefix("0x")
        padded = raw + "0" * (-len(raw) % 64)
        bodies.append(
            f"{target.removeprefix('0x'):0>64}{1:064x}{3 * abi.WORD:064x}{len(raw) // 2:064x}{padded}"
        )
    heads: list[str] = []
    offset = abi.WORD * len(calls)
    for body in bodies:
        heads.append(f"{offset:064x}")
        offset += len(body) // 2
    return "".join([_AGGREGATE3, f"{abi.WORD:064x}", f"{len(calls):064x}", *heads, *bodies])


def decode(answer: str, count: int) -> list[bytes | None]:
    """What each call returned, in order; None where it reverted.

    Raises:
        TerminalError: the answer is not that of ``aggregate3`` for this many calls.
    """
    try:
        raw = bytes.fromhex(answer.removeprefix("0x"))
    except ValueError as error:
        raise TerminalError("the multicall's answer is not hexadecimal") from error
    base = _number(raw, 0)
    if _number(raw, base) != count:
        raise TerminalError(f"the multicall answered {_number(raw, base)} of {count} calls")
    base += abi.WORD
    results: list[bytes | None] = []
    for index in range(count):
        start = base + _number(raw, base + index * abi.WORD)
        data = start + _number(raw, start + abi.WORD)
        length = _number(raw, data)
        if data + abi.WORD + length > len(raw):
            raise TerminalError("the multicall's answer is cut off")
        results.append(raw[data + abi.WORD : data + abi.WORD + length] if _number(raw, start) else None)
    return results


def _number(raw: bytes, position: int) -> int:
    word = raw[position : position + abi.WORD]
    if len(word) != abi.WORD:
        raise TerminalError("the multicall's answer is cut off")
    return abi.unsigned(word)
