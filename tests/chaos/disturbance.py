"""What goes wrong, and the counts of it."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from typing import Any

import urllib3

from local.platform import Platform

FAILING_REQUESTS = 0.5
DELIVERIES = {"duplicate_fraction": 0.15, "delay_fraction": 0.25, "lost_ack_fraction": 0.03}
_KILL_AFTER_S = (5.0, 12.0)
_KILLED = ("functions", "functions", "functions", "gateway")


class Disturbance:
    """Fails half of the chain node's requests, duplicates and reorders deliveries, and kills our processes.

    The kills are drawn from ``seed``; which work they hit depends on the machine, as it does in production.
    """

    def __init__(self, platform: Platform, seed: int) -> None:
        self._platform = platform
        self._draw = random.Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._kill_at_random, name="killer", daemon=True)
        self.kills: Counter[str] = Counter()

    def start(self) -> None:
        """Begin."""
        _control(self._platform.urls.chain_proxy, {"failing_fraction": FAILING_REQUESTS, "hold_s": 1.0})
        _control(self._platform.urls.push_proxy, DELIVERIES)
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until everything that was killed answers again."""
        self._stopping.set()
        self._thread.join()
        _control(self._platform.urls.chain_proxy, {"failing_fraction": 0.0})
        _control(self._platform.urls.push_proxy, dict.fromkeys(DELIVERIES, 0.0))
        for name in dict.fromkeys(_KILLED):
            self._platform.wait_ready(name)

    def counts(self) -> dict[str, Any]:
        """What was injected."""
        return {
            "kills": dict(self.kills),
            "chain_requests": _injected(self._platform.urls.chain_proxy),
            "deliveries": _injected(self._platform.urls.push_proxy),
        }

    def _kill_at_random(self) -> None:
        while not self._stopping.wait(self._draw.uniform(*_KILL_AFTER_S)):
            name = self._draw.choice(_KILLED)
            self._platform.kill(name)
            self.kills[name] += 1


def _control(url: str, values: dict[str, float]) -> None:
    response = urllib3.request("PUT", f"{url}/control", body=json.dumps(values), timeout=10.0)
    if response.status >= 300:
        raise RuntimeError(f"{url} did not take {values}: {response.status} {response.data!r}")


def _injected(url: str) -> dict[str, int]:
    answer: dict[str, Any] = json.loads(urllib3.request("GET", f"{url}/control", timeout=10.0).data)
    counts: dict[str, int] = answer["counts"]
    return counts
