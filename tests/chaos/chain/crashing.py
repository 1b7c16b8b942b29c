"""A relay that dies, without a word, at the N-th of the points at which it waits for something outside.

``python -m tests.chaos.chain.crashing N``: relays for a few looks and ends with 0, or dies with 9 on the way.
A point is the entry to, or the return from, a call of a node, of Firestore or of Pub/Sub.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from types import FrameType
from typing import Any

from shared.errors import RetryableError
from shared.runtime.relay.working import begin
from tests.chaos.chain.relays import new_context

# The functions of ours that wait for something outside, by file and name.
WAITS = {
    ("rpc.py", "_post"),
    ("database.py", "find"),
    ("database.py", "query"),
    ("database.py", "apply"),
    ("database.py", "delete_all"),
    ("publisher.py", "publish"),
}
LOOKS = 3
DIED = 9


def main() -> int:
    """Relay until the point comes."""
    last = int(sys.argv[1])
    points = itertools.count(1)

    def watch(frame: FrameType, event: str, _argument: Any) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        if (os.path.basename(code.co_filename), code.co_name) in WAITS and next(points) == last:  # noqa: PTH119
            os._exit(DIED)

    threading.setprofile(watch)
    sys.setprofile(watch)
    step = begin(new_context())
    for _ in range(LOOKS):
        try:
            step()
        except RetryableError as error:
            print(error, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
