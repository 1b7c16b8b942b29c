"""API keys presented by clients, checked against Firestore with a short memory."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.errors import UnauthenticatedError
from gateway.reading import StoreReader
from shared.domain.api_keys import ApiKey, matches, split_key
from shared.stores import api_keys

REMEMBERED_FOR_S = 4.0
"""A disabled key stops working within this time; it also bounds reads to one per key and interval."""

_MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    key: ApiKey | None
    read_at_s: float


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key of a request's headers (names in lower case): ``X-API-Key``, else a bearer token."""
    if key := headers.get("x-api-key"):
        return key.strip()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


class KeyRing:
    """Checks presented keys. What Firestore said of a key is remembered for a few seconds."""

    def __init__(self, stores: StoreReader) -> None:
        self._stores = stores
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._reading: dict[str, asyncio.Task[ApiKey | None]] = {}

    async def authenticate(self, presented: str | None) -> ApiKey:
        """The key that a client presented.

        Raises:
            UnauthenticatedError: it is missing, malformed, unknown, disabled or expired.
            RetryableError: Firestore did not answer.
        """
        parts = split_key(presented) if presented else None
        if parts is None:
            raise UnauthenticatedError(presented=bool(presented))
        key_id, secret = parts
        key = await self._find(key_id)
        if key is None or not matches(key, secret) or not key.valid_at(datetime.now(UTC)):
            raise UnauthenticatedError(presented=True)
        return key

    async def refresh(self, key: ApiKey) -> ApiKey | None:
        """The key as it is now; None where it may no longer be used or its secret was replaced."""
        current = await self._find(key.key_id)
        if current is None or current.secret_hash != key.secret_hash:
            return None
        return current if current.valid_at(datetime.now(UTC)) else None

    async def _find(self, key_id: str) -> ApiKey | None:
        known = self._known.get(key_id)
        if known is not None and time.monotonic() - known.read_at_s < REMEMBERED_FOR_S:
            return known.key
        reading = self._reading.get(key_id)
        if reading is None:
            reading = asyncio.create_task(self._read(key_id))
            self._reading[key_id] = reading
            reading.add_done_callback(lambda _: self._reading.pop(key_id, None))
        return await asyncio.shield(reading)

    async def _read(self, key_id: str) -> ApiKey | None:
        # The age counts from before the read, or a slow one would stretch the promise.
        read_at_s = time.monotonic()
        key = await self._stores.read(api_keys.find, key_id)
        self._known[key_id] = _Known(key, read_at_s)
        self._known.move_to_end(key_id)
        while len(self._known) > _MAX_REMEMBERED:
            self._known.popitem(last=False)
        return key
