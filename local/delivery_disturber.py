"""A proxy between Pub/Sub and the functions that does what Pub/Sub may do: deliver twice, late, out of order.

``PUT /control {"duplicate_fraction": 0.2, "delay_fraction": 0.2, "lost_ack_fraction": 0.05}``; ``GET
/control`` has the settings and what was done.
"""

from __future__ import annotations

import argparse
import threading
import time

from local.forwarding import ProxiedAnswer, ProxiedRequest, Proxy, serve


class DeliveryDisturber(Proxy):
    """Passes pushes on, some of them twice, late, or with the acknowledgement lost.

    A second delivery comes up to ``max_delay_s`` after the first and so overtakes, or is overtaken by, the
    messages behind it; a lost acknowledgement makes Pub/Sub deliver again by its own retry policy.
    """

    def __init__(self, upstream: str, seed: int) -> None:
        super().__init__(
            upstream,
            seed,
            {
                "duplicate_fraction": 0.0,
                "delay_fraction": 0.0,
                "lost_ack_fraction": 0.0,
                "max_delay_s": 2.0,
            },
        )

    def answer(self, request: ProxiedRequest) -> ProxiedAnswer:
        """Pass one push on, disturbed."""
        self.count("deliveries")
        if self.draw() < self.setting("duplicate_fraction"):
            self.count("duplicate")
            again = threading.Timer(self._delay_s(), self.forward, [request])
            again.daemon = True
            again.start()
        if self.draw() < self.setting("delay_fraction"):
            self.count("delay")
            time.sleep(self._delay_s())
        answer = self.forward(request)
        if self.draw() < self.setting("lost_ack_fraction"):
            self.count("lost_ack")
            return ProxiedAnswer(503, {"Content-Type": "text/plain"}, b"injected loss of the answer")
        return answer

    def _delay_s(self) -> float:
        return self.draw() * self.setting("max_delay_s")


def main() -> None:
    """Serve the proxy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    serve(DeliveryDisturber(options.upstream, options.seed), options.port)


if __name__ == "__main__":
    main()
