"""What one invocation of a function knows about itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from shared.config import Settings
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from shared.domain.network import Network


@dataclass(frozen=True, slots=True)
class Context:
    """One invocation.

    ``as_of`` is the moment of its trigger: a message's publish time, a schedule's time, a request's
    arrival. ``invocation_id`` is unique, and the owner of whatever the invocation leases. ``topic`` is
    that of its message; None where it is a request.
    """

    function: str
    settings: Settings
    as_of: datetime
    invocation_id: str
    traceparent: str
    topic: str | None = None

    @property
    def network(self) -> Network:
        """The network description."""
        return load_network(self.settings)


@lru_cache(maxsize=16)
def load_network(settings: Settings) -> Network:
    """The network description of these settings, read once per process.

    Raises:
        ConfigurationError: the file is wrong; the message names the path of the field.
    """
    # Imported here: a function that does not need the network must not pay for its import.
    from shared.domain.fields import NetworkError  # noqa: PLC0415
    from shared.domain.network import parse_network  # noqa: PLC0415

    try:
        return parse_network(settings.network_file.read_bytes())
    except NetworkError as error:
        raise ConfigurationError([f"NETWORK_FILE {settings.network_file}: {error}"]) from error
