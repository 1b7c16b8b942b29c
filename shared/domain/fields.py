"""Reading a document of fields, naming the path of whatever is missing, unknown or of a wrong type."""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal, InvalidOperation
from typing import Any

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")


class NetworkError(ValueError):
    """The network description is wrong; the message names the path of the field."""


class FieldReader:
    """Reads one JSON object; every reading takes its field, and raises NetworkError with the field's path."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise NetworkError(f"{path or 'document'} must be an object")
        self._value = dict(value)
        self._path = path

    def _take(self, key: str) -> Any:
        if key not in self._value:
            raise NetworkError(f"{self.path(key)} is missing")
        return self._value.pop(key)

    def path(self, key: str) -> str:
        """The path of a field of this object."""
        return f"{self._path}.{key}" if self._path else key

    def integer(self, key: str, *, least: int = 0, most: int | None = None) -> int:
        """An integer within its bounds."""
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise NetworkError(f"{self.path(key)} must be an integer of at least {least}, got {value!r}")
        if most is not None and value > most:
            raise NetworkError(f"{self.path(key)} must be at most {most}, got {value!r}")
        return value

    def peek(self, key: str) -> Any:
        """A field as it is, without taking it; None where it is missing."""
        return self._value.get(key)

    def text(self, key: str) -> str:
        """Text that is not empty."""
        value = self._take(key)
        if not isinstance(value, str) or not value:
            raise NetworkError(f"{self.path(key)} must be a non-empty string, got {value!r}")
        return value

    def address(self, key: str) -> str:
        """An address in lower case."""
        return checked_address(self.text(key), self.path(key))

    def decimal(self, key: str) -> Decimal:
        """A decimal number of at least 0, written as text."""
        value = self.text(key)
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise NetworkError(f"{self.path(key)} must be a decimal number, got {value!r}") from None
        if not number.is_finite() or number < 0:
            raise NetworkError(f"{self.path(key)} must be finite and not negative, got {value!r}")
        return number

    def positive(self, key: str) -> Decimal:
        """A decimal number above zero."""
        number = self.decimal(key)
        if number <= 0:
            raise NetworkError(f"{self.path(key)} must be greater than 0, got {number}")
        return number

    def factor(self, key: str) -> Decimal:
        """A fraction above 0 and at most 1."""
        number = self.decimal(key)
        if not 0 < number <= 1:
            raise NetworkError(f"{self.path(key)} must be greater than 0 and at most 1, got {number}")
        return number

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            raise NetworkError(f"{self.path(key)} must be true or false, got {value!r}")
        return value

    def choice(self, key: str, options: Collection[str]) -> str:
        """One of several words."""
        value = self.text(key)
        if value not in options:
            raise NetworkError(f"{self.path(key)} must be one of {', '.join(options)}, got {value!r}")
        return value

    def is_null(self, key: str) -> bool:
        """Whether a field is null, which takes it; a field that is missing is an error."""
        if self._value.get(key, self) is not None:
            return False
        self._take(key)
        return True

    def object(self, key: str) -> FieldReader:
        """An object."""
        return FieldReader(self._take(key), self.path(key))

    def objects(self, key: str) -> list[FieldReader]:
        """A list of objects that is not empty."""
        value = self._take(key)
        if not isinstance(value, list) or not value:
            raise NetworkError(f"{self.path(key)} must be a non-empty list")
        return [FieldReader(item, f"{self.path(key)}.{index}") for index, item in enumerate(value)]

    def remaining(self) -> list[str]:
        """The fields that nobody has read."""
        return list(self._value)

    def finish(self) -> None:
        """Refuse what nobody has read."""
        if self._value:
            raise NetworkError(f"{self.path(next(iter(self._value)))} is not known")


def checked_address(value: str, path: str) -> str:
    """An address in lower case.

    Raises:
        NetworkError: it is none; the message names the path.
    """
    if not _ADDRESS.fullmatch(value):
        raise NetworkError(f"{path} must be an address in lower case, got {value!r}")
    return value
