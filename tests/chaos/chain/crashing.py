"""A relay that dies, without a word, at the N-th of the points at which it waits for something outside.

``python -m tests.chaos.chain.crashing``: for each number that comes on a line of its input, a fresh process
relays for a few looks, and dies at that point or comes through; where it died, or nothing, is the line that
answers. A point is the entry to, or the return from, a call of a node, of Firestore or of Pub/Sub.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

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
_LOOKS = 3
_DIED = 9
_ROOT = Path(__file__).resolve().parents[3]


class Crashes:
    """Processes that die where they are told. Their modules are read once, before each is forked off."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.chain.crashing"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def die_at(self, point: int) -> str | None:
        """Where a relay died at this point; None where it came through.

        Raises:
            RuntimeError: it ended in another way.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(point, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise RuntimeError(f"a relay that should die at point {point} ended otherwise: {answer!r}")
        return None if answer == "through" else answer


def _relay(last: int, place: int) -> None:
    """Relay until the point comes, in a process of its own; says at ``place`` where it died."""
    points = itertools.count(1)

    def watch(frame: FrameType, event: str, _argument: Any) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        name = (os.path.basename(code.co_filename), code.co_name)  # noqa: PTH119
        if name in WAITS and next(points) == last:
            os.write(place, f"{event} of {name[0].removesuffix('.py')}.{name[1]}".encode())
            os._exit(_DIED)

    threading.setprofile(watch)
    sys.setprofile(watch)
    step = begin(new_context())
    for _ in range(_LOOKS):
        try:
            step()
        except RetryableError as error:
            print(error, file=sys.stderr)


def main() -> int:
    """Fork a relay for each point, until the input ends."""
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                _relay(int(line), writing)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading) as said:
            place = said.read()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        answer = {0: "through", _DIED: place}.get(code, f"error {code}")
        print(answer, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
