"""The models of risk that the gateway keeps: made of the warehouse's daily closes, for some minutes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

from gateway.reading import StoreReader
from shared.domain.closes import ModelledHistory, first_day_needed, model_history
from shared.domain.network import Network
from shared.risk.measurement_policy import MeasurementPolicy, measurement_policy
from shared.runtime import clock
from shared.warehouse.daily_closes import read_daily_closes

KEPT_FOR_S = 600.0
"""Closes change once a day, or when some are back-filled."""


class HistoryModels:
    """Models by the length of their history. Callers that come together share a read."""

    def __init__(self, network: Network, stores: StoreReader) -> None:
        self._assets = sorted(network.assets)
        self._stores = stores
        self._kept: dict[int, tuple[float, ModelledHistory]] = {}
        self._reading: dict[int, asyncio.Task[ModelledHistory]] = {}

    async def at(self, n_returns: int) -> ModelledHistory:
        """The models on the last ``n_returns`` daily returns.

        Raises:
            RetryableError: BigQuery did not answer.
        """
        kept = self._kept.get(n_returns)
        if kept is not None and time.monotonic() - kept[0] < KEPT_FOR_S:
            return kept[1]
        reading = self._reading.get(n_returns)
        if reading is None:
            reading = asyncio.create_task(self._read(n_returns))
            self._reading[n_returns] = reading
            reading.add_done_callback(lambda _: self._reading.pop(n_returns, None))
        return await asyncio.shield(reading)

    async def _read(self, n_returns: int) -> ModelledHistory:
        policy: MeasurementPolicy = replace(measurement_policy(), n_returns=n_returns)
        now = clock.now()
        today = now.date()
        closes = await self._stores.read_warehouse(
            read_daily_closes,
            self._assets,
            first=first_day_needed(today - timedelta(days=1), policy),
            finish=today,
            known_at=now,
        )
        history = await asyncio.to_thread(model_history, closes, self._assets, policy)
        # A history that is too short is looked for again: it may be back-filled any moment.
        if history.models is not None:
            self._kept[n_returns] = (time.monotonic(), history)
        return history
