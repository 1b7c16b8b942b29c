"""Calls of our contracts, encoded from their committed ABIs.

Arguments are given by name as text and checked against the ABI's types; the components of a struct are given
beside the other arguments, by their own names. Source: the Contract ABI specification,
https://docs.soliditylang.org/en/latest/abi-spec.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from shared.chain.abi import WORD, selector
from shared.errors import FusionError

_ABI_FOLDER = Path(__file__).parents[2] / "contracts" / "abi"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,77}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_MAX_BYTES = 4_096


class ArgumentError(FusionError):
    """An argument of a call cannot be used; names it."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name} {reason}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value of a call and its ABI type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a contract. ``parameters`` are the values that it takes, structs laid flat."""

    name: str
    selector: str
    payable: bool
    parameters: tuple[Parameter, ...]


@lru_cache(maxsize=32)
def read_abi(contract: str) -> Sequence[Mapping[str, Any]]:
    """A contract's committed ABI."""
    entries: list[Mapping[str, Any]] = json.loads((_ABI_FOLDER / f"{contract}.json").read_bytes())
    return entries


@lru_cache(maxsize=64)
def find_function(contract: str, name: str) -> Function:
    """A function of a contract by name.

    Raises:
        LookupError: the contract has none of that name, or several, or one whose types are not encoded here.
    """
    found = [entry for entry in read_abi(contract) if entry["type"] == "function" and entry["name"] == name]
    if len(found) != 1:
        raise LookupError(f"{contract} has {len(found)} functions called {name}")
    (entry,) = found
    inputs = entry["inputs"]
    signature = f"{name}({','.join(map(_type_name, inputs))})"
    return Function(
        name, selector(signature), entry["stateMutability"] == "payable", tuple(_flat(inputs, contract))
    )


def _type_name(entry: Mapping[str, Any]) -> str:
    kind: str = entry["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(_type_name, entry['components']))}){kind.removeprefix('tuple')}"


def _flat(inputs: Sequence[Mapping[str, Any]], contract: str, inside: bool = False) -> Iterator[Parameter]:
    for entry in inputs:
        kind: str = entry["type"]
        if kind == "tuple":
            yield from _flat(entry["components"], contract, inside=True)
        elif kind.endswith("]") or (inside and kind in ("bytes", "string")):
            raise LookupError(f"{contract}: the type {kind} of {entry['name']} is not encoded here")
        else:
            yield Parameter(entry["name"], kind)


def canonical(parameter: Parameter, text: str) -> str:
    """An argument in the one form that equal values share.

    Raises:
        ArgumentError: it is not a value of the parameter's type.
    """
    kind = parameter.type
    if kind == "address":
        if not _ADDRESS.fullmatch(text):
            raise ArgumentError(parameter.name, "must be an address: 0x and 40 hexadecimal digits")
        return text.lower()
    if kind.startswith("uint"):
        bits = int(kind.removeprefix("uint"))
        if not _NUMBER.fullmatch(text) or int(text) >= 2**bits:
            raise ArgumentError(
                parameter.name, f"must be an integer from 0 to 2^{bits} - 1, as decimal digits"
            )
        return text
    if kind == "bool":
        if text not in ("true", "false"):
            raise ArgumentError(parameter.name, "must be true or false")
        return text
    if kind.startswith("bytes"):
        size = kind.removeprefix("bytes")
        if not _HEX.fullmatch(text) or (len(text) - 2) // 2 > _MAX_BYTES:
            raise ArgumentError(parameter.name, f"must be 0x and up to {_MAX_BYTES} bytes in hexadecimal")
        if size and len(text) != 2 + 2 * int(size):
            raise ArgumentError(parameter.name, f"must be 0x and {size} bytes in hexadecimal")
        return text.lower()
    raise LookupError(f"the type {kind} of {parameter.name} is not encoded here")


def encode_call(function: Function, arguments: Mapping[str, str]) -> str:
    """The data of a call, ``0x`` and hexadecimal.

    Raises:
        ArgumentError: an argument is missing or is not of its type.
    """
    heads: list[bytes | None] = []
    tails: list[bytes] = []
    for parameter in function.parameters:
        if parameter.name not in arguments:
            raise ArgumentError(parameter.name, "is missing")
        value = canonical(parameter, arguments[parameter.name])
        if parameter.type == "bytes":
            raw = bytes.fromhex(value[2:])
            tails.append(len(raw).to_bytes(WORD, "big") + _padded(raw))
            heads.append(None)
        else:
            heads.append(_word(parameter.type, value))
    place = WORD * len(heads)
    encoded = bytearray()
    following = iter(tails)
    for head in heads:
        if head is None:
            encoded += place.to_bytes(WORD, "big")
            place += len(next(following))
        else:
            encoded += head
    return function.selector + (bytes(encoded) + b"".join(tails)).hex()


def _word(kind: str, value: str) -> bytes:
    if kind == "address":
        return bytes.fromhex(value[2:]).rjust(WORD, b"\0")
    if kind == "bool":
        return int(value == "true").to_bytes(WORD, "big")
    if kind.startswith("bytes"):
        return _padded(bytes.fromhex(value[2:]))
    return int(value).to_bytes(WORD, "big")


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % WORD)
