"""What a sink has received: an append-only file, so that a restart keeps it, with repeats counted."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Self


class Journal:
    """Numbered records, each with the identity by which a repeat is recognised.

    A record is in the file before :meth:`append` returns, and so outlives the process. Its ``repeats`` is
    how often its identity had been received before it. A context manager, which closes the file.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._records: list[dict[str, Any]] = []
        self._seen: dict[str, int] = {}
        self._load(path)
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def append(self, identity: str, record: dict[str, Any]) -> dict[str, Any]:
        """Keep a record, with its ``number`` (from 1) and its ``repeats``."""
        with self._lock:
            kept = {
                "number": len(self._records) + 1,
                "identity": identity,
                "repeats": self._seen.get(identity, 0),
                **record,
            }
            self._file.write(json.dumps(kept).encode() + b"\n")
            self._index(kept)
            return kept

    def after(self, number: int) -> list[dict[str, Any]]:
        """The records after this number, in order of arrival."""
        with self._lock:
            return self._records[number:]

    def get(self, number: int) -> dict[str, Any] | None:
        """One record, or None."""
        with self._lock:
            return self._records[number - 1] if 1 <= number <= len(self._records) else None

    @property
    def repeat_count(self) -> int:
        """How many records repeat an identity received before."""
        with self._lock:
            return len(self._records) - len(self._seen)

    def _index(self, record: dict[str, Any]) -> None:
        self._records.append(record)
        self._seen[record["identity"]] = record["repeats"] + 1

    def _load(self, path: Path) -> None:
        if not path.exists():
            return
        content = path.read_bytes()
        # A kill may have cut the last line short: it was never acknowledged, and is dropped.
        whole = content[: content.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._index(json.loads(line))
        if len(whole) != len(content):
            with path.open("r+b") as file:
                file.truncate(len(whole))
