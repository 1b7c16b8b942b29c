"""Relays at work in threads of this process, without the lease that keeps them apart."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime

from shared import config
from shared.errors import RetryableError
from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.relay.working import begin
from shared.stores import database, outbox


def new_context() -> Context:
    """An invocation of the relay in the project that the environment names."""
    settings = config.load(
        uses=("firestore", "pubsub"), settings=("NETWORK_FILE", "RPC_URLS", "RELAY_INTERVAL_S")
    )
    return Context(
        "relay_chain_events",
        settings,
        datetime.now(UTC),
        clock.new_id(),
        f"00-{clock.new_id()}-{'1' * 16}-01",
    )


_SWEPT_TOGETHER = 50


class Relays:
    """Relays that race each other, and a sweep of the outbox behind them."""

    def __init__(self, count: int) -> None:
        self.context = new_context()
        self.failures: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._relay, daemon=True) for _ in range(count)]

    def __enter__(self) -> Relays:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _relay(self) -> None:
        step = begin(self.context)
        while not self._stopping.is_set():
            try:
                if step():
                    continue
            except RetryableError as error:
                lost = "a document changed" in str(error)
                self.failures["conflict" if lost else "failure"] += 1
            self._stopping.wait(self.context.settings.relay_interval_s)


def sweep(context: Context) -> int:
    """Publish what crashes left in the outbox; how many announcements."""
    client = database.connect(context.settings)
    swept = 0
    while True:
        left, _ = outbox.list_before(client, clock.now(), limit=_SWEPT_TOGETHER)
        swept += outbox.publish(client, publisher.connect(context.settings), left)
        if len(left) < _SWEPT_TOGETHER:
            return swept
