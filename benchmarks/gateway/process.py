"""Processes of a benchmark: their environment, their start, their end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from local.supervisor import TETHERED
from shared.config import Settings, load

ROOT = Path(__file__).resolve().parents[2]


def settings_of() -> Settings:
    """The settings of this process, as the gateway has them."""
    return load(uses=("firestore", "pubsub"), settings=())


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    module: str, *arguments: str, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
    """``python -m module`` with the repository on its path, stopped at the end of the block."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "graphql")))
    program = [sys.executable, "-m", module, *arguments]
    command = [sys.executable, "-I", "-S", str(TETHERED), str(os.getpid()), *program]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, "PYTHONPATH": path},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_port(process: subprocess.Popen[str], port: int, log: Path, *, within_s: float = 30.0) -> None:
    """Wait until a process listens.

    Raises:
        RuntimeError: it ended, or did not listen in time; with the end of its log.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}:\n{log.read_text()[-2000:]}")
