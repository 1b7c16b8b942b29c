"""The services that the platform talks to, on this machine: Google's Firestore and Pub/Sub emulators, a
BigQuery emulator and an EVM node (anvil).

``running_emulators`` starts a choice of them for a test session. ``python -m local.emulators archive`` makes
the class-data archives with which the two Java emulators start in a third of the time; it does nothing when
they are there.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from local import bigquery_emulator
from local.ports import free_ports
from local.prerequisites import EmulatorJars, PrerequisiteError, emulator_jars
from local.supervisor import Part, Supervisor

CHAIN_ID = 31337
"""The chain id that Foundry's and Hardhat's local nodes use."""

EmulatorName = Literal["firestore", "pubsub", "bigquery", "anvil"]
NAMES: tuple[EmulatorName, ...] = ("firestore", "pubsub", "bigquery", "anvil")

STATES_KEPT = 256
"""Blocks whose state a node knows: deeper than any finality here."""

_CONTRACTS = Path(__file__).resolve().parent.parent / "contracts"
_JAVA_OPTIONS = ("-Duser.language=en", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_PROBE_TIMEOUT_S = 5.0
_ARCHIVE_LIMIT_S = 60.0


@dataclass(frozen=True)
class EmulatorHosts:
    """Where each emulator listens; reading one that was not started raises :class:`LookupError`."""

    ports: Mapping[EmulatorName, int]

    def _host(self, name: EmulatorName) -> str:
        if name not in self.ports:
            raise LookupError(f"the {name} emulator was not started; these were: {', '.join(self.ports)}")
        return f"127.0.0.1:{self.ports[name]}"

    @property
    def firestore(self) -> str:
        """``host:port`` of Firestore."""
        return self._host("firestore")

    @property
    def pubsub(self) -> str:
        """``host:port`` of Pub/Sub."""
        return self._host("pubsub")

    @property
    def bigquery(self) -> str:
        """Base URL of BigQuery."""
        return f"http://{self._host('bigquery')}"

    @property
    def rpc(self) -> str:
        """URL of the chain node."""
        return f"http://{self._host('anvil')}"

    def environment(self) -> dict[str, str]:
        """The settings that point a process at the emulators that were started."""
        values: dict[str, str] = {}
        if "firestore" in self.ports:
            values["FIRESTORE_EMULATOR_HOST"] = self.firestore
        if "pubsub" in self.ports:
            values["PUBSUB_EMULATOR_HOST"] = self.pubsub
        if "bigquery" in self.ports:
            values["BIGQUERY_EMULATOR_HOST"] = self.bigquery
        if "anvil" in self.ports:
            values["RPC_URLS"] = f"{CHAIN_ID}={self.rpc}"
        return values


def base_environment() -> dict[str, str]:
    """What every process inherits: where programs and files are, and nothing that configures the platform."""
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "JAVA_HOME", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in names if name in os.environ}


def emulator_parts(
    ports: Mapping[EmulatorName, int], state_folder: Path, *, block_interval_s: float | None = None
) -> list[Part]:
    """The emulators that have a port here, ready to be started.

    Args:
        ports: the port of each emulator that is wanted.
        state_folder: where BigQuery keeps its files.
        block_interval_s: seconds between the chain's blocks; None mines one per transaction.

    Raises:
        PrerequisiteError: a wanted emulator is not installed; the message has the command that installs it.
    """
    makers: Mapping[EmulatorName, Callable[[int], Part]] = {
        "firestore": _firestore,
        "pubsub": _pubsub,
        "bigquery": lambda port: _bigquery(port, state_folder / "bigquery"),
        "anvil": lambda port: anvil_part(port, block_interval_s=block_interval_s),
    }
    return [makers[name](port) for name, port in ports.items()]


@contextmanager
def running_emulators(
    state_folder: Path,
    names: Sequence[EmulatorName] = NAMES,
    *,
    block_interval_s: float | None = None,
) -> Iterator[EmulatorHosts]:
    """Start emulators in parallel on free ports, and stop them in the end.

    Each writes ``<state_folder>/<name>.log``. They end with the calling process, however it ends.

    Raises:
        PrerequisiteError: one is not installed.
        PartDiedError: one did not start; the message has the tail of its log.
    """
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    state_folder = state_folder.resolve()
    parts = emulator_parts(ports, state_folder, block_interval_s=block_interval_s)
    supervisor = Supervisor(state_folder)
    try:
        supervisor.start(parts)
        yield EmulatorHosts(ports)
    finally:
        supervisor.stop()


def _firestore(port: int) -> Part:
    command = _firestore_command(emulator_jars(), port, _archive_options(emulator_jars().firestore))
    url = f"http://127.0.0.1:{port}/v1/projects/ready/databases/(default)/documents/ready"
    return Part("firestore", command, base_environment(), lambda: answers(url))


def _firestore_command(jars: EmulatorJars, port: int, options: Sequence[str]) -> list[str]:
    # The archive names no main class.
    main = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
    jar = str(jars.firestore)
    return [_java(), *_JAVA_OPTIONS, *options, "-cp", jar, main, "--host=127.0.0.1", f"--port={port}"]


def _pubsub(port: int) -> Part:
    command = _pubsub_command(emulator_jars(), port, _archive_options(emulator_jars().pubsub))
    url = f"http://127.0.0.1:{port}/v1/projects/ready/topics"
    return Part("pubsub", command, base_environment(), lambda: answers(url))


def _pubsub_command(jars: EmulatorJars, port: int, options: Sequence[str]) -> list[str]:
    jar = str(jars.pubsub)
    return [_java(), *_JAVA_OPTIONS, *options, "-jar", jar, "--host=127.0.0.1", f"--port={port}"]


def _bigquery(port: int, data_folder: Path) -> Part:
    command = bigquery_emulator.command(port=port, data_folder=data_folder)
    url = f"http://127.0.0.1:{port}/bigquery/v2/projects/ready/datasets"
    return Part("bigquery", command, base_environment(), lambda: answers(url))


def anvil_part(
    port: int,
    *,
    name: str = "anvil",
    block_interval_s: float | None = None,
    states_kept: int | None = STATES_KEPT,
    fork: tuple[str, int] | None = None,
) -> Part:
    """A node to be started: a chain of its own, or one that goes on from a block of another node's.

    Args:
        states_kept: of how many blocks the state is known, no reorganisation being deeper; None for the
            newest only, with which a hundred thousand blocks take seconds.
        fork: the other node's URL, and the last block that both have.
    """
    mining = [] if block_interval_s is None else ["--block-time", f"{block_interval_s:g}"]
    command = [
        str(anvil_program()),
        *("--host", "127.0.0.1"),
        *("--port", str(port)),
        *("--chain-id", str(CHAIN_ID)),
        "--auto-impersonate",
        # Seeding puts thousands of transactions into one request and one block.
        "--no-request-size-limit",
        *("--gas-limit", "1000000000"),
        # So that a transaction with a gas price of zero costs nothing, and balances can be held exact.
        *("--gas-price", "0", "--block-base-fee-per-gas", "0"),
        *("--order", "fifo"),
        # The contracts' own. Later ones keep 8,191 block hashes in a contract, whose whole trie anvil builds
        # anew with every block: a long chain then takes 15 ms a block instead of 0.3.
        *("--hardfork", "cancun"),
        # Older states would go to the home folder's disk, gigabytes of them, and each takes memory for every
        # account that there is.
        *("--prune-history", *([] if states_kept is None else [str(states_kept)])),
        *([] if fork is None else ["--fork-url", fork[0], "--fork-block-number", str(fork[1])]),
        *mining,
    ]
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    return Part(name, command, base_environment(), lambda: answers(f"http://127.0.0.1:{port}", request))


def anvil_program() -> Path:
    """The node's program, as its npm package ships it for this machine.

    Raises:
        PrerequisiteError: the packages of ``contracts/`` are not installed.
    """
    found = sorted(_CONTRACTS.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))
    if not found:
        raise PrerequisiteError("The chain node (anvil) is not installed: npm ci --prefix contracts")
    return found[0]


def answers(url: str, body: Any = None) -> bool:
    """True where a service answers this request with success; False where it answers with an error.

    Raises:
        OSError: nothing listens there yet.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_TIMEOUT_S):  # noqa: S310 - our own
            return True
    except urllib.error.HTTPError:
        return False


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        raise PrerequisiteError("Java is not installed: sudo apt-get install openjdk-17-jre-headless")
    return java


def _archive_file(jar: Path) -> Path:
    """Where this archive's classes are kept, prepared for this Java; another jar or Java has another."""
    java = Path(_java()).resolve()
    identity = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in (jar, java)]
    digest = hashlib.sha256(repr((identity, platform.machine(), _JAVA_OPTIONS)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fusion-prime"
    return cache / f"{jar.stem}-{digest}.jsa"


def _archive_options(jar: Path) -> list[str]:
    archive = _archive_file(jar)
    # Without one it starts all the same, later by a second.
    return [f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"] if archive.exists() else []


def make_archives() -> None:
    """Make the class-data archives that are not there: start each emulator, ask it something, stop it."""
    jars = emulator_jars()
    ports = free_ports(2)
    recordings: list[tuple[Part, Path, Path]] = []
    for part, jar, command, port in (
        (_firestore(ports[0]), jars.firestore, _firestore_command, ports[0]),
        (_pubsub(ports[1]), jars.pubsub, _pubsub_command, ports[1]),
    ):
        archive = _archive_file(jar)
        if not archive.exists():
            # Beside it, so that it is moved into place in one step.
            made = archive.with_suffix(f".{os.getpid()}")
            recording = command(jars, port, [f"-XX:ArchiveClassesAtExit={made}"])
            recordings.append((replace(part, command=recording), made, archive))
    if not recordings:
        return
    recordings[0][2].parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fusion-prime-") as folder:
        supervisor = Supervisor(Path(folder), stop_grace_s=_ARCHIVE_LIMIT_S)
        try:
            supervisor.start([part for part, _, _ in recordings])
        finally:
            supervisor.stop()
    for _, made, archive in recordings:
        if made.exists():
            made.replace(archive)


if __name__ == "__main__":
    if sys.argv[1:] != ["archive"]:
        sys.exit("usage: python -m local.emulators archive")
    make_archives()
