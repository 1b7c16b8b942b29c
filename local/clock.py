"""Plays Cloud Scheduler from the manifest: calls functions and publishes messages by cron, with retries.

A job never overlaps itself: a run that is due while the one before is still in hand begins right after it.
Every job also runs once at start, so that a platform started at second 1 does not idle until the minute.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import urllib3
from cronsim import CronSim

from shared.manifest import Manifest, ScheduleRetry, load_manifest

_USER_AGENT = "Google-Cloud-Scheduler"
_MAX_BACKOFF_S = 60.0
_ANSWER_MARGIN_S = 15.0


@dataclass(frozen=True)
class Job:
    """One schedule: when, what to do at that moment, and how often to try again.

    ``run`` raises :class:`JobError` where the attempt failed.
    """

    name: str
    schedule: str
    run: Callable[[datetime], None]
    retry: ScheduleRetry


class JobError(Exception):
    """An attempt failed; the message says how."""


def next_due(schedule: str, after: datetime) -> datetime:
    """The first moment of a cron expression (UTC) that is later than ``after``.

    Raises:
        cronsim.CronSimError: the expression is wrong.
    """
    return next(CronSim(schedule, after.astimezone(UTC)))


def backoffs_s(retry: ScheduleRetry) -> list[float]:
    """The pauses before each retry: doubling, at most a minute."""
    return [min(_MAX_BACKOFF_S, retry.min_backoff_s * 2**attempt) for attempt in range(retry.count)]


def jobs(manifest: Manifest, *, project: str, functions_url: str, pubsub_host: str) -> list[Job]:
    """Every job of the manifest."""
    pool = urllib3.PoolManager(maxsize=16, retries=False)

    def call(name: str, timeout_s: float) -> Callable[[datetime], None]:
        def run(due: datetime) -> None:
            headers = {
                "User-Agent": _USER_AGENT,
                "X-CloudScheduler": "true",
                "X-CloudScheduler-JobName": name,
                "X-CloudScheduler-ScheduleTime": _rfc3339(due),
                "Content-Type": "application/octet-stream",
            }
            _post(pool, f"{functions_url}/functions/{name}/", b"", headers, timeout_s)

        return run

    def publish(topic: str, body: bytes) -> Callable[[datetime], None]:
        url = f"http://{pubsub_host}/v1/projects/{project}/topics/{topic}:publish"
        request = json.dumps({"messages": [{"data": base64.b64encode(body).decode()}]}).encode()

        def run(_due: datetime) -> None:
            _post(pool, url, request, {"Content-Type": "application/json"}, _ANSWER_MARGIN_S)

        return run

    called = [
        Job(
            function.name,
            schedule,
            call(function.name, function.timeout_s + _ANSWER_MARGIN_S),
            function.schedule_retry,
        )
        for function in manifest.functions.values()
        for schedule in function.schedules
    ]
    published = [
        Job(
            schedule.name,
            schedule.schedule,
            publish(schedule.topic, json.dumps(dict(schedule.body)).encode()),
            ScheduleRetry(count=5, min_backoff_s=1),
        )
        for schedule in manifest.schedules.values()
    ]
    return called + published


def follow(job: Job, now: Callable[[], datetime], pause: Callable[[float], None]) -> None:
    """Run a job at once and then at every due moment, for ever."""
    due = now()
    while True:
        run_once(job, due, pause)
        due = max(next_due(job.schedule, due), _latest_due(job.schedule, now()))
        pause((due - now()).total_seconds())


def run_once(job: Job, due: datetime, pause: Callable[[float], None]) -> bool:
    """Run a job for one due moment, with its retries; False where every attempt failed."""
    pauses = backoffs_s(job.retry)
    for attempt in range(len(pauses) + 1):
        try:
            job.run(due)
        except JobError as error:
            _log(job.name, due, f"attempt {attempt + 1} failed: {error}")
        else:
            _log(job.name, due, "done")
            return True
        if attempt < len(pauses):
            pause(pauses[attempt])
    return False


def _latest_due(schedule: str, at: datetime) -> datetime:
    """The last due moment not later than ``at``: of several missed ones, only that is made up for."""
    return next(CronSim(schedule, at.astimezone(UTC) + timedelta(seconds=1), reverse=True))


def _post(
    pool: urllib3.PoolManager, url: str, body: bytes, headers: dict[str, str], timeout_s: float
) -> None:
    try:
        answer = pool.request("POST", url, body=body, headers=headers, timeout=timeout_s)
    except urllib3.exceptions.HTTPError as error:
        raise JobError(f"{url}: {error}") from error
    if not 200 <= answer.status < 300:
        raise JobError(f"{url} answered {answer.status}: {answer.data[:200]!r}")


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _log(job: str, due: datetime, what: str) -> None:
    print(
        json.dumps({"time": _rfc3339(datetime.now(UTC)), "job": job, "due": _rfc3339(due), "message": what})
    )


def main() -> None:
    """Follow every job of a manifest until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--functions-url", required=True)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    every = jobs(
        load_manifest(options.manifest),
        project=os.environ["GOOGLE_CLOUD_PROJECT"],
        functions_url=options.functions_url,
        pubsub_host=os.environ["PUBSUB_EMULATOR_HOST"],
    )
    threads = [
        threading.Thread(target=follow, args=[job, lambda: datetime.now(UTC), _pause], name=job.name)
        for job in every
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _pause(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)


if __name__ == "__main__":
    main()
