"""The parts of a running gateway."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.authentication import KeyRing
from gateway.context import Context
from gateway.execution import Engine
from gateway.limits import Limits
from gateway.live.hub import LiveHub
from gateway.loaders import Loaders
from gateway.reading import StoreReader
from gateway.risk.history_models import HistoryModels
from gateway.schema import build_schema
from gateway.sessions import Sessions
from shared.config import Settings
from shared.domain.api_keys import ApiKey
from shared.domain.network import Network
from shared.runtime.context import load_network


@dataclass(frozen=True, slots=True)
class Gateway:
    """What every transport works with; one per process."""

    settings: Settings
    limits: Limits
    network: Network
    stores: StoreReader
    keys: KeyRing
    sessions: Sessions
    live: LiveHub
    engine: Engine
    histories: HistoryModels

    def context(self, key: ApiKey) -> Context:
        """The context of one operation."""
        return Context(
            key=key,
            limits=self.limits,
            network=self.network,
            stores=self.stores,
            live=self.live,
            loaders=Loaders(key, self.network, self.stores, self.live, self.histories),
            histories=self.histories,
        )

    async def start(self) -> None:
        """Begin to listen to the live topics.

        Raises:
            RetryableError: Pub/Sub or Firestore did not answer, or a topic does not exist.
        """
        await self.live.start(self.settings)
        self.sessions.start()

    async def stop(self) -> None:
        """End every stream and let go of everything."""
        await self.sessions.stop()
        await self.live.stop()
        self.stores.close()


def build_gateway(settings: Settings, limits: Limits | None = None) -> Gateway:
    """The parts for these settings; nothing is connected yet.

    Raises:
        ConfigurationError: the network description is wrong.
    """
    network = load_network(settings)
    bounds = limits or Limits()
    stores = StoreReader(settings)
    keys = KeyRing(stores)
    return Gateway(
        settings=settings,
        limits=bounds,
        network=network,
        stores=stores,
        keys=keys,
        sessions=Sessions(keys),
        live=LiveHub(network, stores),
        engine=Engine(build_schema(), bounds),
        histories=HistoryModels(network, stores),
    )
