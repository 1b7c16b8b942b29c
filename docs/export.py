"""Writes the pages and schemas that repeat what the code says: ``python -m docs.export``.

``docs/functions.md`` and ``docs/settings.md`` come from ``functions.yaml`` and ``shared/config.py``,
``docs/events/<topic>.json`` from the message models. A test compares all of them with what is committed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from docs import cost
from shared.config import BASE, EMULATOR_HOSTS, SPECS
from shared.events.registry import ADAPTERS
from shared.manifest import Function, Manifest, load_manifest

ROOT = Path(__file__).parents[1]
COMMAND = "python -m docs.export"
GATEWAY = "gateway"

_GENERATED = f"<!-- Written by `{COMMAND}`. Edit the source that the page names, then run it again. -->"

_SETTINGS_HEAD = """# Settings

Source: `shared/config.py`, and `functions.yaml` for who needs what.

There are no defaults. A process checks all of its settings before it listens: it names every one that is
missing or malformed, refuses an emulator in a deployed service (`K_SERVICE`) and in the environments
`staging` and `production`, and requires one for every service it uses in `local` and `test`.
"""


def documents(manifest: Manifest) -> dict[str, str]:
    """Every generated document's text by its path below the repository."""
    found = {"docs/functions.md": functions_page(manifest), "docs/settings.md": settings_page(manifest)}
    found["docs/cost.md"] = f"{_GENERATED}\n{cost.page(manifest)}"
    found.update({f"docs/events/{topic}.json": schema(topic) for topic in ADAPTERS})
    return found


def schema(topic: str) -> str:
    """The JSON Schema of a topic's messages."""
    body = ADAPTERS[topic].json_schema(mode="validation")
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": topic, **body}
    return json.dumps(document, indent=2) + "\n"


def functions_page(manifest: Manifest) -> str:
    """Every deployed function and topic, from the manifest."""
    functions = _table(
        ("function", "does", "triggered by", "publishes", "memory", "timeout", "concurrency × instances"),
        (
            (
                f"[`{function.name}`](../{_source(function)})",
                function.purpose,
                _triggers(manifest, function),
                _listed(function.publishes) if function.publishes else "nothing",
                f"{function.memory_mb} MB",
                f"{function.timeout_s} s",
                f"{function.concurrency} × {function.max_instances}",
            )
            for function in manifest.functions.values()
        ),
    )
    topics = _table(
        ("topic", "message", "ordered by", "published by", "taken by"),
        (
            (
                f"[`{topic.name}`](events/{topic.name}.json)",
                f"`{topic.message}`",
                topic.ordering_key or "nothing",
                _listed(_publishers(manifest, topic.name)),
                _listed(_consumers(manifest, topic.name)),
            )
            for topic in manifest.topics.values()
        ),
    )
    return (
        f"{_GENERATED}\n# Functions and topics\n\nSource: `functions.yaml`.\n\n{functions}\n## Topics\n\n"
        f"Each has a dead-letter topic `<name>.dead`, which `record_dead_letter` keeps.\n\n{topics}"
    )


def settings_page(manifest: Manifest) -> str:
    """Every environment variable, from ``shared/config.py``, with who needs it."""
    rows = (
        (
            f"`{name}`",
            spec.purpose,
            f"`{spec.example}`",
            "yes" if spec.secret else "no",
            _needed_by(manifest, name),
        )
        for name, spec in SPECS.items()
    )
    table = _table(("variable", "what it is", "example", "secret", "needed by"), rows)
    return f"{_GENERATED}\n{_SETTINGS_HEAD}\n{table}"


def _source(function: Function) -> str:
    return f"{function.module.replace('.', '/')}.py"


def _triggers(manifest: Manifest, function: Function) -> str:
    cron_of = {entry.topic: entry.schedule for entry in manifest.schedules.values()}
    causes = [
        f"`{topic}` (schedule `{cron_of[topic]}`)" if topic in cron_of else f"`{topic}`"
        for topic in function.topics
    ]
    causes += [f"schedule `{cron}`" for cron in function.schedules]
    if function.pulls:
        causes.append(f"and pulls {_listed(function.pulls)}")
    if function.receives_dead_letters:
        causes.append("every dead-letter topic")
    if function.http_access is not None:
        causes.append(f"HTTP ({function.http_access})")
    return "<br>".join(causes)


def _publishers(manifest: Manifest, topic: str) -> list[str]:
    found = [function.name for function in manifest.functions.values() if topic in function.publishes]
    clock = [f"schedule {entry.name}" for entry in manifest.schedules.values() if entry.topic == topic]
    return found + clock


def _consumers(manifest: Manifest, topic: str) -> list[str]:
    found = [
        function.name
        for function in manifest.functions.values()
        if topic in function.topics or topic in function.pulls
    ]
    return [*found, GATEWAY] if topic in manifest.gateway.subscribes else found


def _needed_by(manifest: Manifest, setting: str) -> str:
    if setting in BASE:
        return "every process"
    declared: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
        **{name: (function.uses, function.settings) for name, function in manifest.functions.items()},
        GATEWAY: (manifest.gateway.uses, manifest.gateway.settings),
    }
    service = {host: service for service, host in EMULATOR_HOSTS.items()}.get(setting)
    if service is not None:
        users = [name for name, (uses, _) in declared.items() if service in uses]
        return f"in `local` and `test`: {_listed(users)}"
    return _listed(name for name, (_, settings) in declared.items() if setting in settings)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def main() -> None:
    """Write every document; remove the schema of a topic that is gone."""
    written = documents(load_manifest(ROOT / "functions.yaml"))
    for place, text in written.items():
        (ROOT / place).write_text(text, encoding="utf-8")
    for left in (ROOT / "docs/events").glob("*.json"):
        if left.relative_to(ROOT).as_posix() not in written:
            left.unlink()
    sys.stdout.write(f"{len(written)} documents written\n")


if __name__ == "__main__":
    main()
