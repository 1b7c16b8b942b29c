"""``functions.yaml`` as typed records: what is deployed, parsed once and checked for what it refers to.

Pure: no environment, no client. The local platform, the tests and the documentation read it; a deployed
function does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from shared.errors import FusionError
from shared.events.topics import dead_letter_topic

_STRICT = ConfigDict(extra="forbid")


class ManifestError(FusionError):
    """The manifest is wrong; the message names the path of each offending field."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("functions.yaml:\n" + "\n".join(f"  - {problem}" for problem in problems))


@dataclass(frozen=True)
class MessageRetry:
    """How Pub/Sub delivers again what was not acknowledged, and when it gives up."""

    __pydantic_config__ = _STRICT

    min_backoff_s: float
    max_backoff_s: float
    max_delivery_attempts: int


@dataclass(frozen=True)
class ScheduleRetry:
    """How often Cloud Scheduler calls again after a failure; the pause doubles from ``min_backoff_s``."""

    __pydantic_config__ = _STRICT

    count: int
    min_backoff_s: float


@dataclass(frozen=True)
class TopicTrigger:
    """Messages of a topic are pushed to the function."""

    __pydantic_config__ = _STRICT

    topic: str


@dataclass(frozen=True)
class ScheduleTrigger:
    """Cloud Scheduler calls the function; a unix-cron expression in UTC."""

    __pydantic_config__ = _STRICT

    schedule: str


@dataclass(frozen=True)
class DeadLetterTrigger:
    """Every dead-letter topic's messages are pushed to the function."""

    __pydantic_config__ = _STRICT

    dead_letters: Literal["all"]


@dataclass(frozen=True)
class HttpTrigger:
    """People and systems call the function."""

    __pydantic_config__ = _STRICT

    http: Literal["operator", "public"]


Trigger = TopicTrigger | ScheduleTrigger | DeadLetterTrigger | HttpTrigger
TRIGGERS: Mapping[str, type[Trigger]] = {
    "topic": TopicTrigger,
    "schedule": ScheduleTrigger,
    "dead_letters": DeadLetterTrigger,
    "http": HttpTrigger,
}


@dataclass(frozen=True)
class Function:
    """One deployed function, with the manifest's defaults filled in."""

    __pydantic_config__ = _STRICT

    name: str
    module: str
    purpose: str
    triggers: tuple[Trigger, ...]
    runtime: str
    memory_mb: int
    timeout_s: int
    concurrency: int
    max_instances: int
    retry: MessageRetry
    ack_deadline_s: int
    schedule_retry: ScheduleRetry
    uses: tuple[Literal["firestore", "pubsub", "bigquery"], ...]
    settings: tuple[str, ...]
    publishes: tuple[str, ...]
    pulls: tuple[str, ...] = ()
    worker: bool = False
    """Whether it may also run as a process that goes on until it is told to end."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics that are pushed to it."""
        return tuple(trigger.topic for trigger in self.triggers if isinstance(trigger, TopicTrigger))

    @property
    def schedules(self) -> tuple[str, ...]:
        """Cron expressions that it is called by."""
        return tuple(trigger.schedule for trigger in self.triggers if isinstance(trigger, ScheduleTrigger))

    @property
    def receives_dead_letters(self) -> bool:
        """True where every dead-letter topic is pushed to it."""
        return any(isinstance(trigger, DeadLetterTrigger) for trigger in self.triggers)

    @property
    def http_access(self) -> Literal["operator", "public"] | None:
        """Who may call it over HTTP; None where nobody may."""
        return next((trigger.http for trigger in self.triggers if isinstance(trigger, HttpTrigger)), None)


@dataclass(frozen=True)
class Topic:
    """A topic: the message it carries (``module:name``) and what its messages are ordered by."""

    __pydantic_config__ = _STRICT

    name: str
    message: str
    ordering_key: str | None = None

    @property
    def dead_letter(self) -> str:
        """The topic that keeps what could not be processed."""
        return dead_letter_topic(self.name)


@dataclass(frozen=True)
class Schedule:
    """A message that Cloud Scheduler publishes itself; ``body`` is its constant JSON object."""

    __pydantic_config__ = _STRICT

    name: str
    schedule: str
    topic: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Gateway:
    """The one service that is not a function."""

    __pydantic_config__ = _STRICT

    uses: tuple[Literal["firestore", "pubsub", "bigquery"], ...]
    settings: tuple[str, ...]
    publishes: tuple[str, ...]
    subscribes: tuple[str, ...]


@dataclass(frozen=True)
class IndexField:
    """One field of a composite index: sorted, or (``contains``) an array whose elements are looked up."""

    __pydantic_config__ = _STRICT

    name: str
    mode: Literal["asc", "desc", "contains"]


@dataclass(frozen=True)
class Index:
    """A composite Firestore index."""

    __pydantic_config__ = _STRICT

    collection: str
    fields: tuple[IndexField, ...]


@dataclass(frozen=True)
class Expiration:
    """A collection whose documents Firestore deletes some time after the moment in one of their fields."""

    __pydantic_config__ = _STRICT

    collection: str
    field: str


@dataclass(frozen=True)
class Column:
    """A column of a BigQuery table."""

    __pydantic_config__ = _STRICT

    name: str
    type: Literal["STRING", "TIMESTAMP", "INT64", "NUMERIC", "BIGNUMERIC", "FLOAT64", "BOOL", "DATE"]
    mode: Literal["REQUIRED", "NULLABLE", "REPEATED"]


@dataclass(frozen=True)
class Table:
    """A BigQuery table, partitioned by day of ``partition`` and clustered."""

    __pydantic_config__ = _STRICT

    name: str
    description: str
    partition: str
    cluster: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class View:
    """A view of the tables, defined in ``shared/warehouse/views/<name>.sql``.

    ``materialized``: BigQuery keeps its result and refreshes it as its tables grow; it shows the same.
    """

    __pydantic_config__ = _STRICT

    name: str
    description: str
    materialized: bool


@dataclass(frozen=True)
class Warehouse:
    """The dataset that holds the history."""

    __pydantic_config__ = _STRICT

    dataset: str
    tables: Mapping[str, Table]
    views: Mapping[str, View]


@dataclass(frozen=True)
class Manifest:
    """Everything that is deployed."""

    __pydantic_config__ = _STRICT

    topics: Mapping[str, Topic]
    functions: Mapping[str, Function]
    schedules: Mapping[str, Schedule]
    gateway: Gateway
    indexes: tuple[Index, ...]
    expirations: tuple[Expiration, ...]
    warehouse: Warehouse


_MANIFEST = TypeAdapter(Manifest)


def subscription_id(function: str, topic: str) -> str:
    """The id of a function's subscription to a topic, pushed or pulled."""
    return f"{function}--{topic}"


def load_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        ManifestError: naming every field that is wrong.
    """
    return parse_manifest(path.read_text(encoding="utf-8"))


def parse_manifest(text: str) -> Manifest:
    """The manifest in a YAML text.

    Raises:
        ManifestError: naming every field that is wrong, or naming something that does not exist.
    """
    try:
        # libyaml's parser: the pure Python one takes a tenth of a second.
        document = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ManifestError([f"is not YAML: {error}"]) from error
    if not isinstance(document, dict):
        raise ManifestError(["must be a mapping"])
    try:
        manifest = _MANIFEST.validate_python(_expand(document))
    except ValidationError as error:
        raise ManifestError(
            [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        ) from error
    problems = [*_reference_problems(manifest), *_table_problems(manifest)]
    if problems:
        raise ManifestError(problems)
    return manifest


def _expand(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with names and defaults written out, and short notations taken apart."""
    expanded = {key: value for key, value in document.items() if key != "defaults"}
    defaults = _mapping(document.get("defaults", {}), "defaults")
    expanded["topics"] = _named(document, "topics")
    expanded["schedules"] = _named(document, "schedules")
    expanded["functions"] = {
        name: {**defaults, **function, "triggers": _triggers(function, f"functions.{name}.triggers")}
        for name, function in _named(document, "functions").items()
    }
    expanded["indexes"] = [
        {**index, "fields": [_split(field, ("name", "mode"), "indexes") for field in index["fields"]]}
        for index in document.get("indexes", [])
    ]
    expanded["expirations"] = document.get("expirations", [])
    warehouse = _mapping(document.get("warehouse"), "warehouse")
    expanded["warehouse"] = {
        **warehouse,
        "tables": {
            name: {
                **table,
                "columns": [
                    _split(f"{column} {kind}", ("name", "type", "mode"), f"warehouse.tables.{name}.columns")
                    for column, kind in table.get("columns", {}).items()
                ],
            }
            for name, table in _named(warehouse, "tables").items()
        },
        "views": _named(warehouse, "views") if "views" in warehouse else {},
    }
    return expanded


def _mapping(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ManifestError([f"{path}: must be a mapping"])
    return value


def _named(document: Mapping[str, Any], section: str) -> dict[str, dict[str, Any]]:
    entries = _mapping(document.get(section), section)
    return {
        str(name): {**_mapping(entry, f"{section}.{name}"), "name": str(name)}
        for name, entry in entries.items()
    }


def _triggers(function: Mapping[str, Any], path: str) -> list[Any]:
    triggers = []
    for number, trigger in enumerate(function.get("triggers", [])):
        kinds = [key for key in _mapping(trigger, f"{path}.{number}") if key in TRIGGERS]
        if len(kinds) != 1:
            raise ManifestError([f"{path}.{number}: must be one of {', '.join(TRIGGERS)}"])
        try:
            triggers.append(TypeAdapter(TRIGGERS[kinds[0]]).validate_python(trigger))
        except ValidationError as error:
            first = error.errors()[0]
            raise ManifestError(
                [f"{path}.{number}.{'.'.join(map(str, first['loc']))}: {first['msg']}"]
            ) from error
    return triggers


def _split(text: Any, names: tuple[str, ...], path: str) -> dict[str, str]:
    words = str(text).split()
    if len(words) != len(names):
        raise ManifestError([f"{path}: {text!r} must be {' '.join(f'<{name}>' for name in names)}"])
    return dict(zip(names, words, strict=True))


def _reference_problems(manifest: Manifest) -> list[str]:
    referred = [
        (f"functions.{function.name}.{kind}", topic)
        for function in manifest.functions.values()
        for kind, topics in (
            ("triggers", function.topics),
            ("pulls", function.pulls),
            ("publishes", function.publishes),
        )
        for topic in topics
    ]
    referred += [
        (f"schedules.{schedule.name}.topic", schedule.topic) for schedule in manifest.schedules.values()
    ]
    referred += [("gateway.subscribes", topic) for topic in manifest.gateway.subscribes]
    referred += [("gateway.publishes", topic) for topic in manifest.gateway.publishes]
    return [
        f"{path}: {topic!r} is not among the topics"
        for path, topic in referred
        if topic not in manifest.topics
    ]


def _table_problems(manifest: Manifest) -> list[str]:
    return [
        f"warehouse.tables.{table.name}: {column!r} is not among the columns"
        for table in manifest.warehouse.tables.values()
        for column in (table.partition, *table.cluster)
        if column not in {each.name for each in table.columns}
    ]
