"""The contract ABI as far as our contracts use it: static words.

Source: the Contract ABI specification, https://docs.soliditylang.org/en/latest/abi-spec.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from Crypto.Hash import keccak

from shared.errors import TerminalError

WORD = 32
_ADDRESS_PADDING = bytes(12)
_TOPIC_LENGTH = 2 + 2 * WORD


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
    if word[:12] != _ADDRESS_PADDING:
        raise TerminalError(f"0x{word.hex()} is not an address")
    return "0x" + word[12:].hex()


def _bytes(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError as error:
        raise TerminalError(f"{digits!r} is not hexadecimal") from error


def words(data: str, count: int) -> list[bytes]:
    """The words of ABI-encoded static data.

    Raises:
        TerminalError: the data is not hexadecimal or has another number of words.
    """
    raw = _bytes(data.removeprefix("0x"))
    if len(raw) != count * WORD:
        raise TerminalError(f"{len(raw)} bytes where {count} words were due")
    return [raw[start : start + WORD] for start in range(0, len(raw), WORD)]


def _truth(word: bytes) -> bool:
    return bool(unsigned(word))


def _reader(kind: str) -> Callable[[bytes], Any]:
    if kind.startswith("uint"):
        return unsigned
    if kind.startswith("int"):
        return signed
    return {"address": address, "bool": _truth}[kind]


class EventLayout:
    """How an event's fields lie in its topics and data.

    Args:
        name: the event's.
        first_topic: the hash of its signature.
        indexed: names and types of the fields in the topics behind it.
        plain: names and types of the fields in the data.

    Raises:
        KeyError: a type that is not one static word.
    """

    def __init__(
        self,
        name: str,
        first_topic: str,
        indexed: Sequence[tuple[str, str]],
        plain: Sequence[tuple[str, str]],
    ) -> None:
        self.name = name
        self.topic = first_topic
        fields = (*indexed, *plain)
        self._topic_count = 1 + len(indexed)
        self._plain_count = len(plain)
        self._names = tuple(field for field, _ in fields)
        self._words = Struct(f"{WORD}s" * len(fields))
        readers = [_reader(kind) for _, kind in fields]
        self._readers = [(index, read) for index, read in enumerate(readers) if read is not unsigned]

    def decode(self, topics: Sequence[str], data: str) -> dict[str, Any]:
        """The fields of a log by name.

        Raises:
            TerminalError: the log does not have this layout.
        """
        if len(topics) != self._topic_count or topics[0] != self.topic:
            raise TerminalError(f"the log's topics are not those of {self.name}")
        if len(data) != 2 + self._plain_count * 2 * WORD:
            raise TerminalError(f"{len(data) // 2 - 1} bytes where {self._plain_count} words were due")
        for each in topics:
            if len(each) != _TOPIC_LENGTH:
                raise TerminalError(f"a topic of {self.name} is not a word")
        # All words in one piece, and as numbers first, since most are: taking logs apart is most of what
        # reading a chain costs.
        raw = _bytes("".join([each[2:] for each in topics[1:]]) + data[2:])
        if len(raw) != self._words.size:
            raise TerminalError(f"a word of {self.name} has gaps")
        laid_out = self._words.unpack(raw)
        values: list[Any] = list(map(int.from_bytes, laid_out))
        for index, read in self._readers:
            values[index] = read(laid_out[index])
        return dict(zip(self._names, values, strict=True))


def event_layouts(contract_abi: Sequence[Mapping[str, Any]]) -> dict[str, EventLayout]:
    """The layouts of a contract's events by first topic; all their fields must be static."""
    layouts: dict[str, EventLayout] = {}
    for entry in contract_abi:
        if entry["type"] != "event" or entry.get("anonymous"):
            continue
        signature = f"{entry['name']}({','.join(field['type'] for field in entry['inputs'])})"
        layout = EventLayout(
            entry["name"],
            topic(signature),
            indexed=[(field["name"], field["type"]) for field in entry["inputs"] if field["indexed"]],
            plain=[(field["name"], field["type"]) for field in entry["inputs"] if not field["indexed"]],
        )
        layouts[layout.topic] = layout
    return layouts
