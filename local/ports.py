"""Free TCP ports of this machine."""

from __future__ import annotations

import random
import socket

# Below the kernel's ephemeral range, so that no outgoing connection takes a port between the moment it is
# found free and the moment its server listens on it.
_LOWEST, _HIGHEST = 20_000, 32_000


def free_ports(count: int) -> list[int]:
    """Distinct ports that nothing listens on; drawn at random, so that two copies rarely draw the same.

    Raises:
        OSError: none is left.
    """
    draw = random.SystemRandom()
    tried: set[int] = set()
    found: list[int] = []
    while len(found) < count:
        if len(tried) == _HIGHEST - _LOWEST:
            raise OSError(f"fewer than {count} ports between {_LOWEST} and {_HIGHEST} are free")
        port = draw.randrange(_LOWEST, _HIGHEST)
        if port not in tried and _is_free(port):
            found.append(port)
        tried.add(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
