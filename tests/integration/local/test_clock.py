"""The clock calls and publishes by cron, and tries again what failed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.clock import Job, JobError, backoffs_s, follow, next_due, run_once
from local.emulators import EmulatorHosts
from local.provision import provision_messaging
from shared.manifest import ScheduleRetry, load_manifest
from tests.eventually import eventually
from tests.integration.local.conftest import recorded

NOON = datetime(2026, 3, 1, 12, 0, 20, tzinfo=UTC)
RETRY = ScheduleRetry(count=4, min_backoff_s=20)


def test_due_moments_follow_the_cron_expression() -> None:
    assert next_due("* * * * *", NOON) == datetime(2026, 3, 1, 12, 1, tzinfo=UTC)
    assert next_due("30 4 * * 1", NOON) == datetime(2026, 3, 2, 4, 30, tzinfo=UTC)
    # An expression is in UTC, wherever the moment is written.
    tokyo = NOON.astimezone(datetime.fromisoformat("2026-03-01T00:00+09:00").tzinfo)
    assert next_due("0 13 * * *", tokyo) == datetime(2026, 3, 1, 13, tzinfo=UTC)


def test_pauses_double_up_to_a_minute() -> None:
    assert backoffs_s(RETRY) == [20, 40, 60, 60]


class StoppedError(Exception):
    """The test has seen enough."""


class Time:
    """A clock that only the job and its pauses move."""

    def __init__(self) -> None:
        self.now = NOON
        self.runs: list[tuple[datetime, datetime]] = []

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=max(0.0, seconds))

    def job(self, lasts_s: float, *, runs: int) -> Job:
        """A job of this length that ends the test after so many runs."""

        def run(due: datetime) -> None:
            if len(self.runs) == runs:
                raise StoppedError
            self.runs.append((due, self.now))
            self.pause(lasts_s)

        return Job("window", "* * * * *", run, RETRY)


def test_it_runs_at_once_and_then_by_the_minute() -> None:
    time = Time()
    with pytest.raises(StoppedError):
        follow(time.job(5, runs=3), lambda: time.now, time.pause)
    minute = NOON.replace(second=0)
    assert [started for _, started in time.runs] == [
        NOON,
        minute + timedelta(minutes=1),
        minute + timedelta(minutes=2),
    ]


def test_a_run_that_is_due_during_another_follows_it_without_a_gap() -> None:
    time = Time()
    with pytest.raises(StoppedError):
        follow(time.job(55, runs=4), lambda: time.now, time.pause)
    assert [(started - NOON).total_seconds() for _, started in time.runs] == [0, 55, 110, 165]
    # Each due moment is run once.
    assert [due.minute for due, _ in time.runs] == [0, 1, 2, 3]


def test_only_the_last_of_several_missed_moments_is_made_up_for() -> None:
    time = Time()
    with pytest.raises(StoppedError):
        follow(time.job(200, runs=2), lambda: time.now, time.pause)
    (_, second) = time.runs
    assert second[0] == datetime(2026, 3, 1, 12, 3, tzinfo=UTC)
    assert second[1] == NOON + timedelta(seconds=200)


def test_it_gives_up_after_the_retries_that_the_manifest_allows() -> None:
    pauses: list[float] = []
    attempts: list[datetime] = []

    def fail(due: datetime) -> None:
        attempts.append(due)
        raise JobError("answered 503")

    assert run_once(Job("window", "* * * * *", fail, RETRY), NOON, pauses.append) is False
    assert attempts == [NOON] * 5
    assert pauses == [20, 40, 60, 60]


def test_functions_are_called_as_cloud_scheduler_calls_them(
    emulators: EmulatorHosts, start: Callable[..., str], hosted_functions: Path
) -> None:
    project = f"test-{uuid.uuid4().hex[:12]}"
    manifest_file = hosted_functions / "functions.yaml"
    functions_url = start(
        "functions",
        *("-m", "local.functions_host", "--port", "{port}", "--manifest", manifest_file),
        *("--source", hosted_functions / "main.py"),
        ready="/ready",
    )
    provision_messaging(
        load_manifest(manifest_file),
        project=project,
        pubsub_host=emulators.pubsub,
        push_base_url=functions_url,
    )
    before = datetime.now(UTC)
    start(
        "clock",
        *("-m", "local.clock", "--manifest", manifest_file, "--functions-url", functions_url),
        ready=None,
        environment={"GOOGLE_CLOUD_PROJECT": project, "PUBSUB_EMULATOR_HOST": emulators.pubsub},
    )
    # The first call fails, and is tried again without waiting for the minute.
    eventually(lambda: len(recorded(hosted_functions, "ticked")) == 2)
    failed, succeeded = recorded(hosted_functions, "ticked")
    assert succeeded["X-Cloudscheduler"] == "true"
    assert succeeded["X-Cloudscheduler-Jobname"] == "tick"
    assert succeeded["User-Agent"] == "Google-Cloud-Scheduler"
    due = succeeded["X-Cloudscheduler-Scheduletime"]
    assert due == failed["X-Cloudscheduler-Scheduletime"]
    assert before <= datetime.fromisoformat(due) <= datetime.now(UTC)
    # The schedule that publishes does so by itself.
    (swept,) = eventually(lambda: recorded(hosted_functions, "recorded"))
    assert swept["data"] == '{"event_id": "sweep"}'
