"""Calls of the synchronous stores, warehouse and runtime, each in a worker thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from shared.config import Settings
from shared.stores import database
from shared.warehouse import client as warehouse

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_THREADS = 16


class StoreReader:
    """Reads Firestore and BigQuery without holding up the event loop.

    The clients are the process's own for these settings; the threads end with :meth:`close`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store-reader")

    async def read(
        self,
        function: Callable[Concatenate[Any, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call a function of ``shared.stores`` with the Firestore client as its first argument."""
        client = database.connect(self._settings)
        return await self._run(partial(function, client, *args, **kwargs))

    async def read_warehouse(
        self,
        function: Callable[Concatenate[Any, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call a function of ``shared.warehouse`` with the warehouse as its first argument."""
        connected = await self._run(partial(warehouse.connect, self._settings))
        return await self._run(partial(function, connected, *args, **kwargs))

    async def apply(
        self,
        function: Callable[Concatenate[Settings, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call a function of ``shared.runtime`` that changes something, with the settings as its first
        argument."""
        return await self._run(partial(function, self._settings, *args, **kwargs))

    async def _run(self, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """End the threads once their calls have returned."""
        self._threads.shutdown(wait=True, cancel_futures=True)
