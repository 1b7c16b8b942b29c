"""Environments of libraries that ours are measured against; none is among the project's own dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def peer_python(name: str, pins: Path) -> Path:
    """The interpreter of the environment ``.venv-<name>``, which is made unless it is there as pinned.

    Args:
        pins: requirements with hashes.

    Raises:
        subprocess.CalledProcessError: it could not be made.
    """
    environment = ROOT / f".venv-{name}"
    python, stamp = environment / "bin" / "python", environment / "installed"
    if stamp.is_file() and stamp.read_bytes() == pins.read_bytes():
        return python
    print(f"installing the peers into {environment.name}", file=sys.stderr)
    uv = [sys.executable, "-m", "uv"]
    subprocess.run(
        [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)], check=True
    )
    hashed = ["pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*uv, *hashed, "--python", str(python), "-r", str(pins)], check=True)
    stamp.write_bytes(pins.read_bytes())
    return python
