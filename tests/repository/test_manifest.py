"""functions.yaml, main.py's table, what the code declares and what its docstrings say are one fact."""

from __future__ import annotations

import ast
import re
from importlib import import_module

import pytest

import main
from shared.config import BASE, EMULATOR_HOSTS, SPECS
from shared.events import topics
from shared.events.registry import ADAPTERS
from shared.manifest import Function, load_manifest
from shared.runtime.triggers import declaration_of
from tests.repository.sources import ROOT, Module, modules

MANIFEST = load_manifest(ROOT / "functions.yaml")
PARTS = ("Trigger", "Reads", "Writes", "Publishes")

every_function = pytest.mark.parametrize(
    "function", MANIFEST.functions.values(), ids=[function.name for function in MANIFEST.functions.values()]
)


def _module(function: Function) -> Module:
    return Module(function.module, ROOT / f"{function.module.replace('.', '/')}.py")


def _shell(function: Function) -> list[Module]:
    """A function's module, and the modules of the package in ``shared.runtime`` that is its body, if any."""
    own = _module(function)
    bodies = {
        node.module.rpartition(".")[0]
        for node in ast.walk(own.tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.count(".") == 3
    }
    return [own, *(each for each in modules("shared") if each.name.rpartition(".")[0] in bodies)]


def _parts(docstring: str) -> dict[str, str]:
    """The text behind ``Trigger:`` and so on, each up to the next of them or an empty line."""
    pattern = rf"^({'|'.join(PARTS)}): (.*?)(?=^(?:{'|'.join(PARTS)}): |^$|\Z)"
    return dict(re.findall(pattern, docstring, re.MULTILINE | re.DOTALL))


def _topics_in(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+\.[a-z]+\.v[0-9]+", text))


def test_the_table_of_main_is_the_manifest() -> None:
    assert {name: function.module for name, function in MANIFEST.functions.items()} == main.FUNCTIONS


def test_every_function_module_is_deployed() -> None:
    written = {
        module.name
        for module in modules("functions")
        if module.path.name != "__init__.py" and module.docstring
    }
    assert written == {function.module for function in MANIFEST.functions.values()}


@every_function
def test_the_code_declares_what_the_manifest_says(function: Function) -> None:
    declared = declaration_of(getattr(import_module(function.module), function.name))
    assert declared.name == function.name
    assert declared.uses == function.uses
    assert declared.settings == function.settings
    assert declared.topics == function.topics


@every_function
def test_the_file_is_named_as_the_function(function: Function) -> None:
    assert function.module.rpartition(".")[2] == function.name


@every_function
def test_the_docstring_says_trigger_reads_writes_and_publishes(function: Function) -> None:
    parts = _parts(_module(function).docstring)
    assert tuple(parts) == PARTS


@every_function
def test_the_docstring_names_the_topics_that_trigger(function: Function) -> None:
    trigger = _parts(_module(function).docstring)["Trigger"]
    assert _topics_in(trigger) == set(function.topics)
    assert ("Cloud Scheduler" in trigger) == bool(function.schedules)
    assert ("HTTP" in trigger) == (function.http_access is not None or function.receives_dead_letters)


@every_function
def test_the_docstring_names_the_topics_that_are_published(function: Function) -> None:
    published = _parts(_module(function).docstring)["Publishes"]
    if not function.publishes:
        assert published.strip() == "nothing."
    elif _topics_in(published):
        assert _topics_in(published) == set(function.publishes)
    else:
        # Whatever the outbox or the dead letters hold: any topic that something announces.
        assert function.name in {"relay_outbox", "replay_dead_letters"}


def _announced(constants: dict[str, str], announcing: list[Module]) -> set[str]:
    return {
        constants[ast.unparse(argument)]
        for module in announcing
        for call in ast.walk(module.tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith((".announce", "OutboundMessage"))
        for argument in call.args[:1]
        if ast.unparse(argument) in constants
    }


@every_function
def test_the_code_names_exactly_the_topics_it_publishes(function: Function) -> None:
    if function.name in {"relay_outbox", "replay_dead_letters"}:
        return
    constants = {
        f"topics.{name}": value
        for name, value in vars(topics).items()
        if isinstance(value, str) and name.isupper()
    }
    own, *body = _shell(function)
    # A function that announces nothing by itself has its body in a package of shared.runtime.
    named = _announced(constants, [own]) or _announced(constants, body)
    assert named == set(function.publishes)


def test_whatever_is_announced_can_be_swept_and_whatever_is_taken_can_be_replayed() -> None:
    announced = {
        topic
        for function in MANIFEST.functions.values()
        for topic in function.publishes
        if function.name not in {"relay_outbox", "replay_dead_letters"}
    } | set(MANIFEST.gateway.publishes)
    # These go out without an outbox: the sweep or tick that they are of is delivered again.
    repeated = {topics.MARGIN_SAMPLES, topics.MARGIN_SHARDS}
    assert set(MANIFEST.functions["relay_outbox"].publishes) == announced - repeated
    assert set(MANIFEST.functions["replay_dead_letters"].publishes) == set(MANIFEST.topics)


def test_the_constants_are_the_topics_of_the_manifest() -> None:
    constants = {
        value for name, value in vars(topics).items() if name.isupper() and name != "DEAD_LETTER_SUFFIX"
    }
    assert constants == set(MANIFEST.topics) == set(ADAPTERS)


@pytest.mark.parametrize("topic", MANIFEST.topics)
def test_the_registry_decodes_the_message_that_the_manifest_names(topic: str) -> None:
    module, _, name = MANIFEST.topics[topic].message.partition(":")
    message = getattr(import_module(module), name)
    assert ADAPTERS[topic]._type == message


@pytest.mark.parametrize("topic", MANIFEST.topics)
def test_every_topic_has_a_publisher_and_a_consumer(topic: str) -> None:
    scheduled = [schedule.topic for schedule in MANIFEST.schedules.values()]
    functions = [
        function
        for function in MANIFEST.functions.values()
        if function.name not in {"relay_outbox", "replay_dead_letters"}
    ]
    assert topic in [
        *scheduled,
        *MANIFEST.gateway.publishes,
        *(each for function in functions for each in function.publishes),
    ]
    # Every event of it is on another topic already, which is archived: it is there for consumers outside.
    if topic != topics.FINALIZED_EVENTS:
        assert any(topic in (*function.topics, *function.pulls) for function in functions)


@pytest.mark.parametrize("schedule", MANIFEST.schedules.values(), ids=lambda schedule: schedule.name)
def test_a_scheduled_body_is_a_message_of_its_topic(schedule: object) -> None:
    topic, body = schedule.topic, dict(schedule.body)  # type: ignore[attr-defined]
    assert ADAPTERS[topic].validate_python(body).event_id == body["event_id"]


def test_every_setting_is_needed_by_someone() -> None:
    needed = {*BASE, *EMULATOR_HOSTS.values(), *MANIFEST.gateway.settings}
    for function in MANIFEST.functions.values():
        needed |= set(function.settings)
    assert needed == set(SPECS)


@every_function
def test_a_function_fits_its_limits(function: Function) -> None:
    assert function.ack_deadline_s <= 600, "Pub/Sub allows ten minutes at most"
    assert function.topics == () or function.ack_deadline_s >= function.timeout_s, (
        "a message would be delivered again while it is still being worked on"
    )


def test_ordered_topics_say_what_orders_them() -> None:
    unordered = {topic.name for topic in MANIFEST.topics.values() if topic.ordering_key is None}
    ordered_calls = {
        ast.unparse(call.args[0])
        for module in (*modules("functions"), *modules("shared"))
        for call in ast.walk(module.tree)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func).endswith(".announce")
        and any(keyword.arg == "ordering_key" for keyword in call.keywords)
    }
    assert {getattr(topics, name.removeprefix("topics.")) for name in ordered_calls} == (
        set(MANIFEST.topics) - unordered
    )
