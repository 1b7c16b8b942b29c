"""Holding a lease for as long as the work under it gets on, however long a step of it takes."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from types import TracebackType

from shared.errors import RetryableError
from shared.runtime import clock
from shared.stores import database, leases

LEASE = timedelta(seconds=5)
LONGEST_SILENCE_S = 30.0
"""Work that gave no sign of life for so long hangs, and others may have the lease."""

_log = logging.getLogger(__name__)


class HeldLease:
    """A lease that is renewed beside the work, from when it is taken until the end of the block.

    Args:
        client: where leases are.
        name: what only one process may do.
        owner: who takes it.
        duration: after which it ends by itself, unless it is renewed.
        longest_silence_s: how long after the last :meth:`is_held` it is still renewed.
    """

    def __init__(
        self,
        client: database.Client,
        name: str,
        owner: str,
        *,
        duration: timedelta = LEASE,
        longest_silence_s: float = LONGEST_SILENCE_S,
    ) -> None:
        self._client = client
        self._name = name
        self._owner = owner
        self._duration = duration
        self._longest_silence_s = longest_silence_s
        self._lease: leases.Lease | None = None
        self._lock = threading.Lock()
        self._lived_at = clock.monotonic()
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew_until_ended, name=f"lease {name}", daemon=True)

    def __enter__(self) -> HeldLease:
        self._renewing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._renewing.join()
        if self._lease is not None and kind is None:
            leases.release(self._client, self._lease)

    def is_held(self) -> bool:
        """Whether no other can have it now; says also that the work is alive."""
        self._lived_at = clock.monotonic()
        lease = self._lease
        return lease is not None and lease.until - clock.now() > self._duration / 6

    def take(self) -> bool:
        """Take it, unless another has it; whether it was taken.

        Raises:
            RetryableError: Firestore failed.
        """
        with self._lock:
            self._lease = leases.acquire(
                self._client, self._name, owner=self._owner, now=clock.now(), duration=self._duration
            )
            return self._lease is not None

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(self._duration.total_seconds() / 3):
            if self._lease is None or clock.monotonic() - self._lived_at > self._longest_silence_s:
                continue
            try:
                self.take()
            except RetryableError as error:
                _log.warning("lease not renewed", extra={"lease": self._name, "reason": str(error)})
