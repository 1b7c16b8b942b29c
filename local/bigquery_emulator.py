"""The BigQuery emulator (local-bigquery), in a virtual environment of its own.

Its dependencies are many and its versions its own, so it never shares the project's environment.
``python -m local.bigquery_emulator install`` makes the environment from pinned hashes; again, it does
nothing until a pin changes.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from local.prerequisites import PrerequisiteError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().parent / "bigquery-emulator"
ENVIRONMENT = ROOT / ".venv-bigquery"
PYTHON = ENVIRONMENT / "bin" / "python"

STAMP = ENVIRONMENT / "installed"
_DEPENDENCIES = FOLDER / "requirements.txt"
_EMULATOR = FOLDER / "local-bigquery.txt"


def command(*, port: int, data_folder: Path) -> list[str]:
    """The command that serves the emulator on a port of this machine.

    Raises:
        PrerequisiteError: it is not installed, or not as pinned.
    """
    if not is_installed():
        raise PrerequisiteError(
            "The BigQuery emulator is not installed as pinned: "
            f"{sys.executable} -m local.bigquery_emulator install"
        )
    # The gRPC port is for the Storage API, which nothing of ours uses: any free one.
    return [
        str(PYTHON),
        str(FOLDER / "launch.py"),
        *("--host", "127.0.0.1"),
        *("--port", str(port)),
        *("--grpc-port", "0"),
        *("--data-dir", str(data_folder)),
    ]


def is_installed() -> bool:
    """True where the environment holds exactly what is pinned."""
    return PYTHON.exists() and STAMP.is_file() and STAMP.read_text() == _pins()


def install() -> None:
    """Make the environment, unless it is there as pinned."""
    if is_installed():
        return
    uv = [sys.executable, "-m", "uv"]
    subprocess.run(
        [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)], check=True
    )
    install_hashed = [
        *uv,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--python",
        str(PYTHON),
    ]
    subprocess.run([*install_hashed, "-r", str(_DEPENDENCIES)], check=True)
    # It is a pure wheel that declares 3.13: asked for as such, it installs into any interpreter.
    subprocess.run([*install_hashed, "--python-version", "3.13", "-r", str(_EMULATOR)], check=True)
    # Compiled here once, so that no start pays for it; two modules cannot be, and are compiled rewritten.
    subprocess.run([str(PYTHON), "-m", "compileall", "-qq", str(ENVIRONMENT / "lib")], check=False)
    STAMP.write_text(_pins())


def _pins() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for file in (_DEPENDENCIES, _EMULATOR):
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit("usage: python -m local.bigquery_emulator install")
    install()
