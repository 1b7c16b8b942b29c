"""A proxy before the chain node that fails a fraction of the requests, as real nodes do.

``PUT /control {"failing_fraction": 0.5}``; ``GET /control`` has the settings and what was injected.
"""

from __future__ import annotations

import argparse
import time

from local.forwarding import CONNECTION_RESET, ProxiedAnswer, ProxiedRequest, Proxy, serve

FAULTS = ("server_error", "rate_limit", "timeout", "reset", "malformed")


class FaultProxy(Proxy):
    """Fails ``failing_fraction`` of the requests, each kind of fault equally often.

    A timeout holds the request for ``hold_s`` and then breaks the connection; a malformed answer is the
    node's own, cut in half.
    """

    def __init__(self, upstream: str, seed: int) -> None:
        super().__init__(upstream, seed, {"failing_fraction": 0.0, "hold_s": 5.0})

    def answer(self, request: ProxiedRequest) -> ProxiedAnswer:
        """Pass a request on, or fail it."""
        self.count("requests")
        if self.draw() >= self.setting("failing_fraction"):
            return self.forward(request)
        fault = FAULTS[int(self.draw() * len(FAULTS))]
        self.count(fault)
        if fault == "server_error":
            return ProxiedAnswer(500, {"Content-Type": "text/plain"}, b"injected server error")
        if fault == "rate_limit":
            return ProxiedAnswer(429, {"Retry-After": "1"}, b"injected rate limit")
        if fault == "timeout":
            time.sleep(self.setting("hold_s"))
            return CONNECTION_RESET
        if fault == "reset":
            return CONNECTION_RESET
        whole = self.forward(request)
        body = whole.body or b""
        return ProxiedAnswer(whole.status, whole.headers, body[: len(body) // 2])


def main() -> None:
    """Serve the proxy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    serve(FaultProxy(options.upstream, options.seed), options.port)


if __name__ == "__main__":
    main()
