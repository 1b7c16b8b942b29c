"""Processes are watched, named when they die, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from local.environment import ROOT, process_environment
from local.supervisor import Part, PartDiedError, Supervisor
from tests.eventually import eventually
from tests.integration.local.conftest import is_alive


def script(
    name: str, code: str, *, restarts: bool = False, is_ready: Callable[[], bool] = lambda: True
) -> Part:
    """A part that runs a line of Python."""
    return Part(name, [sys.executable, "-u", "-c", code], process_environment({}), is_ready, restarts)


FOREVER = "import time; print('up'); time.sleep(600)"


def test_a_part_that_ends_before_it_is_ready_is_named_with_the_tail_of_its_log(
    supervisor: Supervisor,
) -> None:
    failing = script("pricing", "print('no rate for ETH'); raise SystemExit(3)", is_ready=lambda: False)
    with pytest.raises(
        PartDiedError, match=r"pricing ended with exit code 3(.|\n)*no rate for ETH"
    ) as caught:
        supervisor.start([script("steady", FOREVER), failing])
    assert caught.value.name == "pricing"


def test_a_part_that_dies_later_is_told_at_once(tmp_path: Path) -> None:
    told: list[PartDiedError] = []
    supervisor = Supervisor(tmp_path, on_death=told.append)
    try:
        supervisor.start([script("steady", FOREVER), script("other", FOREVER)])
        eventually(lambda: "up" in supervisor.log("steady").read_text())
        supervisor.kill("steady")
        with pytest.raises(PartDiedError, match=r"steady was killed by signal 9(.|\n)*up"):
            supervisor.wait(10)
        assert [each.name for each in told] == ["steady"]
        assert is_alive(supervisor.process_id("other"))
    finally:
        supervisor.stop()


def test_a_part_that_never_answers_is_given_up(supervisor: Supervisor) -> None:
    silent = Part(
        "silent", [sys.executable, "-c", FOREVER], process_environment({}), lambda: False, start_limit_s=0.2
    )
    with pytest.raises(PartDiedError, match=r"silent was not ready within 0\.2 s"):
        supervisor.start([silent])


def test_a_killed_part_is_started_again_if_its_policy_says_so(supervisor: Supervisor) -> None:
    supervisor.start([script("function", FOREVER, restarts=True)])
    first = supervisor.process_id("function")
    supervisor.kill("function")
    eventually(lambda: supervisor.process_id("function") != first)
    assert is_alive(supervisor.process_id("function"))
    assert not is_alive(first)
    assert supervisor.restart_count("function") == 1
    supervisor.check()


def test_a_part_that_gives_up_by_itself_is_not_started_again(supervisor: Supervisor) -> None:
    supervisor.start(
        [script("function", "raise SystemExit('GOOGLE_CLOUD_PROJECT is not set')", restarts=True)]
    )
    with pytest.raises(PartDiedError, match="GOOGLE_CLOUD_PROJECT is not set"):
        supervisor.wait(10)
    assert supervisor.restart_count("function") == 0


def test_stopping_ends_what_a_part_has_started(supervisor: Supervisor) -> None:
    child = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid); sys.stdin.close(); "
    supervisor.start([script("parent", child + FOREVER)])
    log = supervisor.log("parent")
    eventually(lambda: "up" in log.read_text())
    grandchild = int(log.read_text().split()[0])
    assert is_alive(grandchild)
    supervisor.stop_part("parent")
    eventually(lambda: not is_alive(grandchild))


def test_a_part_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, stop_grace_s=0.2)
    supervisor.start(
        [script("stubborn", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + FOREVER)]
    )
    eventually(lambda: "up" in supervisor.log("stubborn").read_text())
    process = supervisor.process_id("stubborn")
    supervisor.stop()
    assert not is_alive(process)


def test_restarting_gives_a_new_process(supervisor: Supervisor) -> None:
    supervisor.start([script("gateway", FOREVER)])
    first = supervisor.process_id("gateway")
    supervisor.restart("gateway")
    assert supervisor.process_id("gateway") != first
    supervisor.check()


def test_an_unknown_part_is_named(supervisor: Supervisor) -> None:
    supervisor.start([script("gateway", FOREVER)])
    with pytest.raises(KeyError, match="no part is called 'gatway'; there are gateway"):
        supervisor.kill("gatway")


OWNER = """
import sys
from pathlib import Path
from local.environment import ROOT, process_environment
from local.emulators import answers
from local.ports import free_ports
from local.supervisor import Part, Supervisor

folder = Path(sys.argv[1])
(port,) = free_ports(1)
functions = Part(
    "functions",
    [sys.executable, "-m", "local.functions_host", "--manifest", str(folder / "functions.yaml"),
     "--source", str(folder / "main.py"), "--port", str(port)],
    process_environment({}),
    lambda: answers(f"http://127.0.0.1:{port}/ready"),
)
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
steady = Part("steady", sleep, process_environment({}), lambda: True)
supervisor = Supervisor(folder / "state")
supervisor.start([functions, steady])
print(port, flush=True)
supervisor.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_its_supervisor(number: signal.Signals, hosted_functions: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(hosted_functions)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert owner.stdout is not None
        port = int(owner.stdout.readline())
        # A request that is in hand must not keep its worker either.
        holding = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/functions/hold/')",
            ],
            stderr=subprocess.DEVNULL,
        )
        eventually((hosted_functions / "held").exists)
        started = psutil.Process(owner.pid).children(recursive=True)
        # Two parts, and gunicorn's worker.
        assert len(started) == 3
        owner.send_signal(number)
        owner.wait(10)
        eventually(lambda: not [each for each in started if is_alive(each.pid)])
        assert holding.wait(10) != 0
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close() if owner.stdout else None


def test_each_part_has_a_log_of_its_own(supervisor: Supervisor) -> None:
    supervisor.start([script("one", "print('from one')"), script("two", FOREVER)])
    eventually(lambda: "from one" in supervisor.log("one").read_text())
    assert "from one" not in supervisor.log("two").read_text()
