"""The command that holds a network description against published registries, over HTTP and from a file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.deployment import ASSETS
from shared.domain.feed_registry import FeedRegistryError
from shared.domain.network import parse_network
from shared.providers.feed_registry import read_registry
from tests.conftest import network_document
from tests.servers import Answer, Endpoint, Received, endpoint

NEW = {asset.asset: f"0x{number:040x}" for number, asset in enumerate(ASSETS, 0xE0)}
OLD = {asset: f"0x{number:040x}" for number, asset in enumerate(NEW, 0xA0)}
LISTED = [{"name": f"{asset} / USD", "proxyAddress": feed, "heartbeat": 1200} for asset, feed in NEW.items()]


@pytest.fixture
def registry() -> Iterator[Endpoint]:
    """Publishes the newer feeds."""

    def decide(request: Received) -> Answer:
        return Answer(200, json.dumps(LISTED).encode()) if request.path == "/feeds.json" else Answer(404)

    with endpoint(decide) as served:
        yield served


@pytest.fixture
def description(tmp_path: Path, registry: Endpoint) -> Path:
    """A network of one Chainlink feed per asset, each at its older address."""
    document: dict[str, Any] = network_document(**OLD)
    document["price_sources"]["chainlink"]["registry"] = f"{registry.url}/feeds.json"
    path = tmp_path / "network.json"
    path.write_text(json.dumps(document))
    return path


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.refresh_feeds", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_differences_are_told_and_written_only_where_asked(description: Path) -> None:
    before = description.read_text()
    looked = _run(description)
    assert (looked.returncode, description.read_text()) == (1, before)
    assert f"assets.ETH.prices.quotes.chainlink.feed: {OLD['ETH']} is {NEW['ETH']}" in looked.stdout
    written = _run(description, "--write")
    assert (written.returncode, written.stdout) == (0, looked.stdout)
    quotations = {
        name: asset.prices.quotations["chainlink"]
        for name, asset in parse_network(description.read_text()).assets.items()
    }
    assert {name: quotation.feed for name, quotation in quotations.items()} == NEW
    assert {quotation.heartbeat_s for quotation in quotations.values()} == {1200}
    again = _run(description, "--write")
    assert (again.returncode, again.stdout) == (0, "")


def test_a_file_stands_in_for_the_registry_and_a_missing_feed_changes_nothing(
    description: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(LISTED[1:]))
    before = description.read_text()
    refused = _run(description, "--from", f"chainlink={saved}", "--write")
    assert (refused.returncode, description.read_text()) == (2, before)
    assert "the registry does not list 'ETH / USD'" in refused.stderr


def test_a_registry_that_is_not_there_is_named(registry: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(FeedRegistryError, match="answered HTTP 404"):
        read_registry(f"{registry.url}/elsewhere.json")
    with pytest.raises(FeedRegistryError, match="No such file"):
        read_registry(str(tmp_path / "none.json"))
