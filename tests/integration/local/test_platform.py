"""The whole platform starts from nothing, works, recovers from a kill, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from local.platform import OWN_PARTS, Platform, PlatformOptions
from tests.eventually import eventually
from tests.integration.local.conftest import ask, ask_json, is_alive


def test_a_part_that_cannot_start_is_named_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = Platform(PlatformOptions(state_folder=tmp_path / "state", log_level="LOUD"))
    # Two of them refuse, each as soon as what it needs is there; the first death is told.
    refusal = r"(functions|gateway) ended with exit code(.|\n)*LOG_LEVEL must be"
    with pytest.raises(Exception, match=refusal), platform:
        pass
    started = [platform.supervisor.process_id(name) for name in platform.part_names]
    assert started
    assert not [each for each in started if is_alive(each)]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A disturbed platform, so that its own processes are started again when they are killed."""
    folder = tmp_path_factory.mktemp("platform") / "state"
    with Platform(PlatformOptions(state_folder=folder, disturbed=True)) as running:
        yield running
        started = [running.supervisor.process_id(name) for name in running.part_names]
        started += [child.pid for each in started for child in psutil.Process(each).children(recursive=True)]
        assert all(is_alive(each) for each in started)
    left = [each for each in started if is_alive(each)]
    assert not left, "stopping the platform must leave nothing behind"


def health(platform: Platform) -> dict[str, Any]:
    """What the deployed health function says."""
    _, body = ask(f"{platform.urls.functions}/functions/health/")
    found: dict[str, Any] = json.loads(body)
    return found


def tick(platform: Platform) -> int:
    """The number of the last price tick that the gateway has heard of."""
    _, body = ask(f"{platform.urls.gateway}/health")
    return int(json.loads(body)["tick_sequence"] or 0)


def test_everything_works(platform: Platform) -> None:
    assert set(OWN_PARTS) < set(platform.part_names)
    eventually(lambda: health(platform).get("healthy"), within_s=30)
    first = eventually(lambda: tick(platform))
    eventually(lambda: tick(platform) > first)
    platform.check()


def test_the_clock_brings_killed_functions_back_to_work(platform: Platform) -> None:
    before = eventually(lambda: tick(platform))
    process = platform.supervisor.process_id("functions")
    platform.kill("functions")
    eventually(lambda: platform.supervisor.process_id("functions") != process)
    platform.wait_ready("functions")
    assert not is_alive(process)
    # By a retry, well before the next minute's run.
    eventually(lambda: tick(platform) > before + 2, within_s=30)


def test_functions_reach_the_chain_and_are_reached_through_the_proxies(platform: Platform) -> None:
    eventually(lambda: ask_json(f"{platform.urls.chain_proxy}/control")["counts"].get("requests"))
    eventually(lambda: ask_json(f"{platform.urls.push_proxy}/control")["counts"].get("deliveries"))
