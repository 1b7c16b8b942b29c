"""The contract ABI as far as our contracts use it: static words.

Source: the Contract ABI specification, https://docs.soliditylang.org/en/latest/abi-spec.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from Crypto.Hash import keccak

from shared.errors import TerminalError

WORD = 32


def keccak256(data: bytes) -> bytes:
    """Keccak-256, as Ethereum uses it (not NIST's SHA3-256)."""
    return keccak.new(digest_bits=256, data=data).digest()


@lru_cache(maxsize=64)
def selector(signature: str) -> str:
    """A function's selector, ``0x`` and 8 hexadecimal digits, of ``name(type,…)``."""
    return "0x" + keccak256(signature.encode())[:4].hex()


@lru_cache(maxsize=64)
def topic(signature: str) -> str:
    """An event's first topic, ``0x`` and 64 hexadecimal digits, of ``Name(type,…)``."""
    return "0x" + keccak256(signature.encode()).hex()


def unsigned(word: bytes) -> int:
    """A uintN."""
    return int.from_bytes(word, "big")


def signed(word: bytes) -> int:
    """An intN."""
    return int.from_bytes(word, "big", signed=True)


def address(word: bytes) -> str:
    """An address, in lower case.

    Raises:
        TerminalError: the upper twelve bytes are not zero.
    """
    if any(word[:12]):
        raise TerminalError(f"0x{word.hex()} is not an address")
    return "0x" + word[12:].hex()


def words(data: str, count: int) -> list[bytes]:
    """The words of ABI-encoded static data.

    Raises:
        TerminalError: the data is not hexadecimal or has another number of words.
    """
    try:
        raw = bytes.fromhex(data.removeprefix("0x"))
    except ValueError as error:
        raise TerminalError(f"{data!r} is not hexadecimal") from error
    if len(raw) != count * WORD:
        raise TerminalError(f"{len(raw)} bytes where {count} words were due")
    return [raw[start : start + WORD] for start in range(0, len(raw), WORD)]


_READERS = {"address": address, "bool": lambda word: bool(unsigned(word))}


def _reader(kind: str) -> Any:
    if kind.startswith("uint"):
        return unsigned
    if kind.startswith("int"):
        return signed
    return _READERS[kind]


@dataclass(frozen=True, slots=True)
class EventLayout:
    """How an event's fields lie in its topics and data."""

    name: str
    topic: str
    indexed: tuple[tuple[str, Any], ...]
    plain: tuple[tuple[str, Any], ...]

    def decode(self, topics: Sequence[str], data: str) -> dict[str, Any]:
        """The fields of a log by name.

        Raises:
            TerminalError: the log does not have this layout.
        """
        if len(topics) != len(self.indexed) + 1 or topics[0] != self.topic:
            raise TerminalError(f"the log's topics are not those of {self.name}")
        if len(data) != 2 + len(self.plain) * 2 * WORD:
            raise TerminalError(f"{len(data) // 2 - 1} bytes where {len(self.plain)} words were due")
        if any(len(word) != 2 + 2 * WORD for word in topics):
            raise TerminalError(f"a topic of {self.name} is not a word")
        # In one piece, since taking logs apart is most of what reading a chain costs.
        laid_out = words("".join([word[2:] for word in topics[1:]]) + data[2:], self.count)
        return {name: read(word) for (name, read), word in zip(self.fields, laid_out, strict=True)}

    @property
    def fields(self) -> tuple[tuple[str, Any], ...]:
        """Names and readers, in the order of topics and data."""
        return (*self.indexed, *self.plain)

    @property
    def count(self) -> int:
        """How many fields there are."""
        return len(self.indexed) + len(self.plain)


def event_layouts(contract_abi: Sequence[Mapping[str, Any]]) -> dict[str, EventLayout]:
    """The layouts of a contract's events by first topic; all their fields must be static."""
    layouts: dict[str, EventLayout] = {}
    for entry in contract_abi:
        if entry["type"] != "event" or entry.get("anonymous"):
            continue
        signature = f"{entry['name']}({','.join(field['type'] for field in entry['inputs'])})"
        layout = EventLayout(
            name=entry["name"],
            topic=topic(signature),
            indexed=tuple(
                (field["name"], _reader(field["type"])) for field in entry["inputs"] if field["indexed"]
            ),
            plain=tuple(
                (field["name"], _reader(field["type"])) for field in entry["inputs"] if not field["indexed"]
            ),
        )
        layouts[layout.topic] = layout
    return layouts
