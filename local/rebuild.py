"""Replays the log of contract events into a fresh project, and proves that it makes the live documents.

    python -m local.rebuild --into PROJECT [--wait-s 60]

The settings are those of the live project, from the environment. The log is the archive's: every event and
every retraction as it was announced. Each is handed to ``apply_settlement_event``'s own handler in PROJECT,
which must have the topics and no document of the projection; on emulators the topics are made. Every document
is then compared byte for byte with the live one, without what counts deliveries instead of events
(:data:`OF_DELIVERY`).

What is archived meanwhile is replayed too; where the archive stays behind the live documents for longer than
``--wait-s``, they differ. Ends with 0 where nothing does.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from functions.settlement.apply_settlement_event import apply_settlement_event
from local.provision import provision_messaging
from shared.config import Settings, load
from shared.errors import ConfigurationError, FusionError, TerminalError
from shared.events import topics
from shared.events.settlement import AnyContractEvent, EventRetracted, SettlementEvent
from shared.manifest import load_manifest
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.relay.announcing import ordering_key
from shared.runtime.triggers import child_traceparent, decode_message
from shared.stores import accounts, database, projection
from shared.warehouse import client as warehouse
from shared.warehouse.event_log import iter_payloads

OF_DELIVERY: Mapping[str, frozenset[str]] = {
    # How many reports changed the account, and the latest block of one that did: a report that comes after a
    # newer one changes nothing, so both depend on the order in which messages came.
    accounts.COLLECTION: frozenset({"version", "as_of"}),
}
_WRITE_TIME = "updated_at"
_MESSAGES: TypeAdapter[AnyContractEvent | EventRetracted] = TypeAdapter(SettlementEvent)
# What is deployed, without the trigger around it.
_handle = inspect.unwrap(apply_settlement_event)
_SUBJECTS_AT_ONCE = 8
_LOOK_EVERY_S = 2.0
_MOST_NAMED = 20
_MANIFEST = Path(__file__).resolve().parent.parent / "functions.yaml"


class RebuildError(FusionError):
    """The rebuilding cannot begin."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was replayed and how it compares.

    ``refused`` messages are ones that the handler takes for wrong, live and here. ``digest`` is the SHA-256
    of all live documents; ``differing`` names those that are not the same in both projects.
    """

    events: int
    refused: int
    documents: int
    digest: str
    differing: tuple[str, ...]


def rebuild(live: Settings, target: Settings, *, wait_s: float) -> Outcome:
    """Replay the live project's log into the target's, and compare what comes of it.

    Raises:
        RebuildError: the target already has documents, or is the live project.
        RetryableError: Firestore, Pub/Sub or BigQuery failed.
    """
    if live.project == target.project:
        raise RebuildError(f"{target.project} is the live project: name another one")
    live_store, target_store = database.connect(live), database.connect(target)
    there = [name for name in projection.COLLECTIONS if projection.list_documents(target_store, name)]
    if there:
        raise RebuildError(f"{target.project} has {', '.join(there)}: name a fresh project")
    replay = _Replay(live, target)
    gives_up_at = time.monotonic() + wait_s
    while True:
        replay.go_on()
        wanted, made = _bytes(live_store), _bytes(target_store)
        differing = sorted(name for name in wanted.keys() | made.keys() if wanted.get(name) != made.get(name))
        if not differing or time.monotonic() >= gives_up_at:
            break
        time.sleep(_LOOK_EVERY_S)
    digest = hashlib.sha256()
    for name in sorted(wanted):
        digest.update(name.encode() + b"\0" + wanted[name] + b"\0")
    return Outcome(replay.events, replay.refused, len(wanted), digest.hexdigest(), tuple(differing))


class _Replay:
    """The log of one project, as far as it has been handed to the handler in another."""

    def __init__(self, live: Settings, target: Settings) -> None:
        self.events = 0
        self.refused = 0
        self._warehouse = warehouse.connect(live)
        self._target = target
        self._replayed: set[bytes] = set()

    def go_on(self) -> None:
        """Replay what the archive has and was not replayed yet."""
        by_subject: dict[str, list[AnyContractEvent | EventRetracted]] = {}
        for payload in iter_payloads(self._warehouse, topics.SETTLEMENT_EVENTS):
            key = hashlib.sha256(payload).digest()
            if key in self._replayed:
                continue
            self._replayed.add(key)
            event: Any = decode_message(payload, _MESSAGES)
            reported = event.retracted if isinstance(event, EventRetracted) else event
            by_subject.setdefault(ordering_key(reported), []).append(event)
        with ThreadPoolExecutor(_SUBJECTS_AT_ONCE) as subjects:
            for applied, refused in subjects.map(self._apply, by_subject.values()):
                self.events += applied
                self.refused += refused

    def _apply(self, events: Iterable[AnyContractEvent | EventRetracted]) -> tuple[int, int]:
        applied = refused = 0
        for event in events:
            context = Context(
                function=apply_settlement_event.__name__,
                settings=self._target,
                as_of=clock.now(),
                invocation_id=clock.new_id(),
                traceparent=child_traceparent(None),
            )
            try:
                _handle(event, context)
                applied += 1
            except TerminalError:
                refused += 1
        return applied, refused


def _bytes(store: database.Client) -> dict[str, bytes]:
    """Every document's fields by path, in one form of writing."""
    found: dict[str, bytes] = {}
    for collection in projection.COLLECTIONS:
        left_out = OF_DELIVERY.get(collection, frozenset()) | {_WRITE_TIME}
        for document in projection.list_documents(store, collection):
            fields = {name: value for name, value in document.fields.items() if name not in left_out}
            found[f"{collection}/{document.id}"] = orjson.dumps(fields, _plain, orjson.OPT_SORT_KEYS)
    return found


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in a document")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", required=True, metavar="PROJECT")
    parser.add_argument("--wait-s", type=float, default=60.0)
    options = parser.parse_args(arguments)
    try:
        live = load(uses=("firestore", "pubsub", "bigquery"), settings=("BIGQUERY_DATASET",))
        target = load(
            uses=("firestore", "pubsub"), environ={**os.environ, "GOOGLE_CLOUD_PROJECT": options.into}
        )
        emulator = target.emulated_hosts.get("pubsub")
        if emulator is not None:
            manifest = load_manifest(_MANIFEST)
            provision_messaging(manifest, project=target.project, pubsub_host=emulator, push_base_url=None)
        outcome = rebuild(live, target, wait_s=options.wait_s)
    except (ConfigurationError, FusionError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"replayed {outcome.events} messages, {outcome.refused} refused")
    print(f"{outcome.documents} documents, SHA-256 {outcome.digest}")
    for name in outcome.differing[:_MOST_NAMED]:
        print(f"differs: {name}")
    verdict = f"{len(outcome.differing)} documents differ" if outcome.differing else "equal byte for byte"
    print(f"{target.project} and {live.project}: {verdict}")
    return 1 if outcome.differing else 0


if __name__ == "__main__":
    sys.exit(main())
