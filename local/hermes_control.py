"""Telling the local Hermes what to publish, and how to fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import urllib3

from local.price_data import PYTH_IDS
from shared.errors import FusionError

_TIMEOUT_S = 5.0


class HermesControlError(FusionError):
    """The local Hermes did not do what it was told."""


class HermesControl:
    """The control endpoints of a local Hermes at a base address."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(retries=False, timeout=_TIMEOUT_S)

    def publish(self, prices: Mapping[str, Decimal], *, age_s: int = 0) -> None:
        """Publish prices by asset, which claim to be so many seconds old."""
        self.publish_by_id({PYTH_IDS[asset]: price for asset, price in prices.items()}, age_s=age_s)

    def publish_by_id(self, prices: Mapping[str, Decimal], *, age_s: int = 0) -> None:
        """Publish prices by Pyth's price id."""
        said = {each: {"price": format(price, "f"), "age_s": age_s} for each, price in prices.items()}
        self._put("/control/prices", said)

    def set_faults(self, faults: Mapping[str, float]) -> None:
        """Change faults (see ``local.hermes_server``)."""
        self._put("/control", faults)

    def counts(self) -> dict[str, int]:
        """What was served so far."""
        answer = self._pool.request("GET", f"{self._url}/control")
        counts: dict[str, int] = json.loads(answer.data)["counts"]
        return counts

    def _put(self, path: str, body: Mapping[str, Any]) -> None:
        answer = self._pool.request("PUT", f"{self._url}{path}", body=json.dumps(body))
        if answer.status != 200:
            raise HermesControlError(f"Hermes answered {answer.status} to {path}: {answer.data!r}")
