"""The same events by web3.py's ``get_logs`` and ``process_log``: run by :mod:`benchmarks.chain.reading`.

    python -m benchmarks.chain.web3_peer URL VAULT ABI.json FIRST LAST BLOCKS

In an environment of its own (``web3-peer/requirements.txt``), so it imports nothing of the project but the
timing. Prints the number of events and the CPU time.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.measure import timed


def main() -> int:
    """Read and decode a range, so many blocks at a time."""
    url, vault, abi_file, first, last, blocks = sys.argv[1:]
    web3 = import_module("web3")
    chain = web3.Web3(web3.HTTPProvider(url, request_kwargs={"timeout": 60}))
    abi = json.loads(Path(abi_file).read_bytes())
    event = chain.eth.contract(address=web3.Web3.to_checksum_address(vault), abi=abi).events.PositionChanged()
    topic = web3.Web3.to_hex(web3.Web3.keccak(text=_signature(abi)))
    events = 0

    def read() -> None:
        nonlocal events
        for start in range(int(first), int(last) + 1, int(blocks)):
            logs = chain.eth.get_logs(
                {
                    "address": event.address,
                    "topics": [topic],
                    "fromBlock": start,
                    "toBlock": min(int(last), start + int(blocks) - 1),
                }
            )
            events += len([event.process_log(log) for log in logs])

    timing = timed(read)
    print(json.dumps({"events": events, "cpu_s": timing.cpu_s, "wall_s": timing.wall_s}))
    return 0


def _signature(abi: list[dict[str, object]]) -> str:
    (found,) = [each for each in abi if (each["type"], each.get("name")) == ("event", "PositionChanged")]
    inputs = found["inputs"]
    if not isinstance(inputs, list):
        raise SystemExit("PositionChanged has no inputs")
    return f"PositionChanged({','.join(str(each['type']) for each in inputs)})"


if __name__ == "__main__":
    sys.exit(main())
