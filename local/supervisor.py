"""Starts the platform's processes, watches them, and leaves none behind.

Every part is a process of its own in a process group of its own, writes to a log file of its own, and is
tethered to this process by the kernel (``tethered.py``), so that not even SIGKILL of the supervisor leaves
an orphan. A part that ends unasked is named at once with the tail of its log; one that was killed is started
again if its policy says so.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

TETHERED = Path(__file__).with_name("tethered.py")
TAIL_LINES = 20
_PROBE_INTERVAL_S = 0.02


@dataclass(frozen=True)
class Part:
    """One process of the platform.

    Args:
        name: what it is called in logs and errors; its log is ``<name>.log``.
        command: program and arguments.
        environment: its whole environment.
        is_ready: asks it a real question; False or an :class:`OSError` means not yet.
        restarts: True where it is started again at once when a signal ends it. One that ends by itself
            has a reason to, and would only end again.
        start_limit_s: how long it may take to become ready.
        stop_signal: what ends it cleanly.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool]
    restarts: bool = False
    start_limit_s: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM


class PartDiedError(Exception):
    """A part ended unasked, or did not become ready; the message ends with the tail of its log."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        self.name = name
        super().__init__(f"{name} {what}; the end of {log}:\n{tail(log)}")


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty)"


@dataclass
class _Running:
    """A part and its present process."""

    part: Part
    process: subprocess.Popen[bytes]
    is_stopping: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class _Request:
    """Work for the thread that owns the processes, and where its result goes."""

    work: Callable[[], None]
    result: Future[None]


class Supervisor:
    """Owns the processes of one copy of the platform.

    The kernel's tether holds for the *thread* that starts a process, so one thread starts them all and
    lives as long as the supervisor.

    Args:
        state_folder: where the logs are written; made if it is not there.
        on_death: called once for each part that ends unasked, with the error that names it.
        stop_grace_s: how long parts have to end cleanly before they are killed.
    """

    def __init__(
        self,
        state_folder: Path,
        on_death: Callable[[PartDiedError], None] | None = None,
        *,
        stop_grace_s: float = 5.0,
    ) -> None:
        self._stop_grace_s = stop_grace_s
        self._folder = state_folder
        self._on_death = on_death
        self._running: dict[str, _Running] = {}
        self._deaths: list[PartDiedError] = []
        self._restarts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._failed = threading.Event()
        self._inbox: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._owner = threading.Thread(target=self._serve, name="supervisor", daemon=True)
        state_folder.mkdir(parents=True, exist_ok=True)
        self._owner.start()

    def start(self, parts: Sequence[Part]) -> None:
        """Start parts in parallel, and return when each has answered its readiness question.

        Raises:
            PartDiedError: one ended or did not become ready in time; the others are left running.
        """
        for part in parts:
            self._ask(lambda part=part: self._spawn(part))  # type: ignore[misc]
        with ThreadPoolExecutor(max(1, len(parts))) as pool:
            waits = [pool.submit(self.wait_ready, part.name) for part in parts]
            done, _ = wait(waits, return_when=FIRST_EXCEPTION)
            for each in done:
                each.result()

    def wait_ready(self, name: str) -> None:
        """Return when a part has answered its readiness question.

        Raises:
            PartDiedError: it ended for good or did not become ready in time.
        """
        part = self._get(name).part
        deadline = time.monotonic() + part.start_limit_s
        while time.monotonic() < deadline:
            if self._failed.is_set():
                self.check()
            with contextlib.suppress(OSError):
                if part.is_ready():
                    return
            time.sleep(_PROBE_INTERVAL_S)
        raise PartDiedError(name, f"was not ready within {part.start_limit_s:g} s", self.log(name))

    def check(self) -> None:
        """Raise the first death of a part that is not started again, if there was one."""
        with self._lock:
            if self._deaths:
                raise self._deaths[0]

    def wait(self, timeout_s: float | None = None) -> None:
        """Block until a part dies for good, which is raised, or until the timeout, which is not."""
        self._failed.wait(timeout_s)
        self.check()

    def kill(self, name: str) -> None:
        """SIGKILL a part's whole process group, as a crash would; its policy decides what follows."""
        _signal_group(self._get(name).process, signal.SIGKILL)

    def restart(self, name: str) -> None:
        """Stop a part cleanly, start it again, and return when it is ready."""
        part = self._get(name).part
        self.stop_part(name)
        self.start([part])

    def stop_part(self, name: str) -> None:
        """Stop one part cleanly, or with SIGKILL if it does not end in time."""
        self._stop([self._get(name)])

    def stop(self) -> None:
        """Stop every part, cleanly where it ends in time, and leave no process behind."""
        with self._lock:
            running = list(self._running.values())
        self._stop(running)
        self._inbox.put(None)
        self._owner.join()

    def log(self, name: str) -> Path:
        """The log file of a part."""
        return self._folder / f"{name}.log"

    def process_id(self, name: str) -> int:
        """The id of a part's process, which is also that of its process group."""
        return self._get(name).process.pid

    def restart_count(self, name: str) -> int:
        """How often a part was started again after it had ended unasked."""
        return self._restarts.get(name, 0)

    @property
    def names(self) -> tuple[str, ...]:
        """The parts that were started, in that order."""
        with self._lock:
            return tuple(self._running)

    def _get(self, name: str) -> _Running:
        with self._lock:
            if name not in self._running:
                raise KeyError(f"no part is called {name!r}; there are {', '.join(self._running) or 'none'}")
            return self._running[name]

    def _stop(self, running: Sequence[_Running]) -> None:
        for each in running:
            each.is_stopping = True
            _signal_group(each.process, each.part.stop_signal)
        deadline = time.monotonic() + self._stop_grace_s
        for each in running:
            each.ended.wait(max(0.0, deadline - time.monotonic()))
            # Also where the leader ended: what it started may not have.
            _signal_group(each.process, signal.SIGKILL)
            each.ended.wait()

    def _serve(self) -> None:
        while (request := self._inbox.get()) is not None:
            try:
                request.work()
            except BaseException as error:  # noqa: BLE001 - handed to the thread that asked
                request.result.set_exception(error)
            else:
                request.result.set_result(None)

    def _ask(self, work: Callable[[], None]) -> None:
        result: Future[None] = Future()
        self._inbox.put(_Request(work, result))
        result.result()

    def _spawn(self, part: Part) -> None:
        with self.log(part.name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(TETHERED), str(os.getpid()), *part.command],
                env=dict(part.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,
            )
        running = _Running(part, process)
        with self._lock:
            self._running[part.name] = running
        threading.Thread(target=self._watch, args=[running], name=f"watch-{part.name}", daemon=True).start()

    def _watch(self, running: _Running) -> None:
        code = running.process.wait()
        running.ended.set()
        if running.is_stopping:
            return
        part = running.part
        # What the process left in its group must not outlive it.
        _signal_group(running.process, signal.SIGKILL)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        death = PartDiedError(part.name, how, self.log(part.name))
        if part.restarts and code < 0:
            self._restarts[part.name] = self._restarts.get(part.name, 0) + 1
            self._inbox.put(_Request(lambda: self._respawn(running), Future()))
        else:
            with self._lock:
                self._deaths.append(death)
            self._failed.set()
        if self._on_death is not None:
            self._on_death(death)

    def _respawn(self, ended: _Running) -> None:
        # A stop may have been asked for since the process ended.
        if not ended.is_stopping:
            self._spawn(ended.part)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
