"""What repeats the code is current, and what points somewhere points at something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.export import COMMAND, documents
from shared.config import SPECS
from shared.manifest import load_manifest
from tests.repository.sources import ROOT, project_files

GENERATED = documents(load_manifest(ROOT / "functions.yaml"))
PAGES = [path for path in project_files() if path.suffix == ".md"]


@pytest.mark.parametrize("place", GENERATED)
def test_a_generated_document_is_current(place: str) -> None:
    path = ROOT / place
    assert path.is_file(), f"run `{COMMAND}` and commit {place}"
    assert path.read_text(encoding="utf-8") == GENERATED[place], f"run `{COMMAND}` and commit {place}"


def test_no_schema_is_left_of_a_topic_that_is_gone() -> None:
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/events").glob("*.json")}
    assert kept == {place for place in GENERATED if place.endswith(".json")}


def test_every_setting_is_documented() -> None:
    page = GENERATED["docs/settings.md"]
    assert [name for name in SPECS if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [
        target.partition("#")[0]
        for target in re.findall(r"\]\(([^)\s]+)\)", text)
        if not re.match(r"[a-z]+:", target) and not target.startswith("#")
    ]
    named = re.findall(r"`((?:shared|functions|docs|tests|contracts|local|graphql)/[\w./-]+\.\w+)`", text)
    gone = [target for target in links if not (page.parent / target).exists()]
    gone += [place for place in named if not (ROOT / place).exists() and not (page.parent / place).exists()]
    assert not gone


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_a_page_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)\b", " ".join(re.findall(r"`[^`\n]+`", page.read_text()))))
    assert named <= targets
