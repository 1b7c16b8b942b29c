"""Open connections and the keys they were opened with: a key that is taken away ends them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from gateway.authentication import KeyRing
from shared.domain.api_keys import ApiKey
from shared.errors import RetryableError

CHECK_INTERVAL_S = 2.0
"""With the key ring's own memory a key is gone from every connection in under ten seconds."""

_log = logging.getLogger(__name__)

End = Callable[[str], None]
"""Ends a connection, for a reason that its client is told."""


class Sessions:
    """The connections that outlive one request, by key."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._open: dict[ApiKey, dict[object, End]] = {}
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to check keys."""
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop checking."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    @contextlib.contextmanager
    def session(self, key: ApiKey, end: End) -> Iterator[None]:
        """Have ``end`` called, while the block runs, once the key may no longer be used as it was."""
        token = object()
        self._open.setdefault(key, {})[token] = end
        try:
            yield
        finally:
            of_key = self._open[key]
            del of_key[token]
            if not of_key:
                del self._open[key]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            for key in list(self._open):
                try:
                    current = await self._keys.refresh(key)
                except RetryableError as error:
                    # Firestore being away for a moment is no reason to end every stream.
                    _log.warning(
                        "a key could not be checked", extra={"key_id": key.key_id, "error": str(error)}
                    )
                    continue
                if current is None:
                    self._end(key, "The API key is not valid any more")
                elif (current.scopes, current.accounts) != (key.scopes, key.accounts):
                    self._end(key, "The API key's permissions changed: connect again")

    def _end(self, key: ApiKey, reason: str) -> None:
        for end in list(self._open.get(key, {}).values()):
            end(reason)
