"""What resolvers work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import strawberry

from gateway.limits import Limits
from gateway.reading import StoreReader
from shared.domain.api_keys import ApiKey
from shared.domain.network import Network

if TYPE_CHECKING:
    from gateway.live.hub import LiveHub
    from gateway.loaders import Loaders
    from gateway.risk.history_models import HistoryModels


@dataclass(frozen=True, slots=True)
class Context:
    """One operation: who asks, what it may ask, and where the answers come from."""

    key: ApiKey
    limits: Limits
    network: Network
    stores: StoreReader
    live: LiveHub
    loaders: Loaders
    histories: HistoryModels


Info: TypeAlias = strawberry.Info[Context, None]
