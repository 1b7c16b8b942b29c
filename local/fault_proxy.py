"""A proxy before the chain node that fails a fraction of the requests, and lies in others, as real nodes do.

``PUT /control {"failing_fraction": 0.5, "lying_fraction": 0.1, "most_blocks": 100}``; ``GET /control`` has
the settings and what was injected.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local.forwarding import CONNECTION_RESET, ProxiedAnswer, ProxiedRequest, Proxy, serve

REFUSALS = (
    "query exceeds max block range {most}",
    "eth_getLogs is limited to a {most} range",
    "query returned more than 10000 results",
    "Internal server error. Forwarder error: 1000.",
)
FAULTS = ("server_error", "rate_limit", "timeout", "reset", "malformed")


class FaultProxy(Proxy):
    """Fails ``failing_fraction`` of the requests, each kind of fault equally often.

    A timeout holds the request for ``hold_s`` and then breaks the connection; a malformed answer is the
    node's own, cut in half. ``lying_fraction`` of the rest are answered wrongly, each in a way that its calls
    allow: no logs, some of the logs, logs that were removed, receipts without one of their logs or none at
    all, a block of another fork, none or an older one, the id of another chain. ``fork_fraction`` of them
    are answered, whatever they ask, by the node at ``fork``, whose chain is another one. ``most_blocks`` is
    the longest range of logs that is answered, in the words of some provider (0: any).
    """

    def __init__(self, upstream: str, seed: int, fork: str | None = None) -> None:
        settings = {
            "failing_fraction": 0.0,
            "hold_s": 5.0,
            "lying_fraction": 0.0,
            "fork_fraction": 0.0,
            "most_blocks": 0.0,
        }
        super().__init__(upstream, seed, settings)
        self._other = None if fork is None else FaultProxy(fork, seed)

    def answer(self, request: ProxiedRequest) -> ProxiedAnswer:
        """Pass a request on, or fail it."""
        self.count("requests")
        if self.draw() >= self.setting("failing_fraction"):
            return self._of_other_fork(request) or self._refused_range(request) or self._truly_or_not(request)
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

    def _of_other_fork(self, request: ProxiedRequest) -> ProxiedAnswer | None:
        if self._other is None or self.draw() >= self.setting("fork_fraction"):
            return None
        self.count("answer_of_another_fork")
        return self._other.forward(request)

    def _truly_or_not(self, request: ProxiedRequest) -> ProxiedAnswer:
        whole = self.forward(request)
        return self._lie(request, whole) if self.draw() < self.setting("lying_fraction") else whole

    def _refused_range(self, request: ProxiedRequest) -> ProxiedAnswer | None:
        most = int(self.setting("most_blocks"))
        calls = _calls(request)
        if not most or len(calls) != 1 or calls[0]["method"] != "eth_getLogs":
            return None
        (query,) = calls[0]["params"]
        if int(query["toBlock"], 16) - int(query["fromBlock"], 16) < most:
            return None
        self.count("refused_range")
        message = REFUSALS[int(self.draw() * len(REFUSALS))].format(most=most)
        error = {"code": -32602, "message": message}
        body = json.dumps([{"jsonrpc": "2.0", "id": calls[0]["id"], "error": error}])
        return ProxiedAnswer(200, {"Content-Type": "application/json"}, body.encode())

    def _lie(self, request: ProxiedRequest, whole: ProxiedAnswer) -> ProxiedAnswer:
        calls = _calls(request)
        if whole.status != 200 or whole.body is None or not calls:
            return whole
        answers = json.loads(whole.body)
        if not isinstance(answers, list):
            return whole
        methods = {call["id"]: call["method"] for call in calls}
        liable = [a for a in answers if a.get("result") and methods.get(a["id"]) in LIES]
        if not liable:
            return whole
        chosen = liable[int(self.draw() * len(liable))]
        lies = LIES[methods[chosen["id"]]]
        name, lie = lies[int(self.draw() * len(lies))]
        if not lie(chosen["result"], self.draw()):
            return whole
        if name in _WHOLLY:
            chosen["result"] = _WHOLLY[name]
        self.count(name)
        return ProxiedAnswer(200, whole.headers, json.dumps(answers).encode())


def _calls(request: ProxiedRequest) -> list[dict[str, Any]]:
    try:
        calls = json.loads(request.body)
    except ValueError:
        return []
    return calls if isinstance(calls, list) else []


def _is_there(result: Any, _drawn: float) -> bool:
    return bool(result)


def _removed(result: Any, drawn: float) -> bool:
    result[int(drawn * len(result))]["removed"] = True
    return True


def _receipts_of_other_fork(result: Any, drawn: float) -> bool:
    result[int(drawn * len(result))]["blockHash"] = "0x" + f"{int(drawn * 2**53):064x}"
    return True


def _older(result: Any, drawn: float) -> bool:
    number = int(result["number"], 16)
    result["number"] = hex(int(drawn * number))
    return True


def _without_one(result: Any, drawn: float) -> bool:
    del result[int(drawn * len(result))]
    return True


def _receipts_without_one(result: Any, drawn: float) -> bool:
    full = [receipt for receipt in result if receipt["logs"]]
    if not full:
        return False
    full[int(drawn * len(full))]["logs"].pop()
    return True


def _other_fork(result: Any, drawn: float) -> bool:
    result["hash"] = "0x" + f"{int(drawn * 2**53):064x}"
    return True


def _logs_of_other_fork(result: Any, drawn: float) -> bool:
    result[int(drawn * len(result))]["blockHash"] = "0x" + f"{int(drawn * 2**53):064x}"
    return True


LIES: Mapping[str, Sequence[tuple[str, Callable[[Any, float], bool]]]] = {
    "eth_getLogs": (
        ("empty_logs", _is_there),
        ("partial_logs", _without_one),
        ("logs_of_another_fork", _logs_of_other_fork),
        ("removed_logs", _removed),
    ),
    "eth_getBlockReceipts": (
        ("partial_receipts", _receipts_without_one),
        ("no_receipts", _is_there),
        ("receipts_of_another_fork", _receipts_of_other_fork),
    ),
    "eth_getBlockByNumber": (
        ("block_of_another_fork", _other_fork),
        ("no_block", _is_there),
        ("older_block", _older),
    ),
    "eth_chainId": (("another_chain", _is_there),),
}
_WHOLLY: Mapping[str, Any] = {"empty_logs": [], "no_receipts": None, "no_block": None, "another_chain": "0x1"}


def main() -> None:
    """Serve the proxy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--fork", help="a node whose chain is another one")
    options = parser.parse_args()
    serve(FaultProxy(options.upstream, options.seed, options.fork), options.port)


if __name__ == "__main__":
    main()
