"""Messages that are wrong: on every topic, at every consumer, the field is named, the message is kept with
the reason and counted, and the message behind it is processed.

Nothing between here and the function is ours: the platform's push carries any bytes.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from google.cloud import firestore
from google.cloud.pubsub_v1 import SubscriberClient

from shared.events import dead_letters as names
from shared.events import topics
from shared.manifest import load_manifest
from shared.runtime.triggers import MAX_MESSAGE_BYTES
from shared.stores import contacts, dead_letters, settlement_commands
from tests.conftest import ROOT, Project
from tests.every_message import VALID
from tests.functions.conftest import Caller
from tests.messages import PAYER, now, settlement_command
from tests.servers import endpoint

CONSUMERS = [
    (function.name, topic)
    for function in load_manifest(ROOT / "functions.yaml").functions.values()
    for topic in function.topics
]

Spoil = Callable[[dict[str, Any]], Any]


def _without(name: str) -> Spoil:
    return lambda message: {key: value for key, value in message.items() if key != name}


def _with(**fields: Any) -> Spoil:
    return lambda message: message | fields


# What is done to a valid message, and the field that the reason must name.
ANYWHERE: Mapping[str, tuple[Spoil | bytes, str]] = {
    "nothing at all": (b"", "data"),
    "not JSON": (b"{", "data"),
    "not UTF-8": (b"\xff\xfe\x00", "data"),
    "a list": (b"[]", ""),
    "a number": (b"17", ""),
    "null": (b"null", ""),
    "too large": (b'{"event_id": "' + b"x" * MAX_MESSAGE_BYTES + b'"}', "data"),
    "deeper than any message": (b"[" * 100_000, "data"),
    "an unknown version": (_with(schema_version=2), "schema_version"),
    "a version of another type": (_with(schema_version="1"), "schema_version"),
    "an unknown field": (_with(colour="red"), "colour"),
    "no event id": (_without("event_id"), "event_id"),
    "an event id of another type": (_with(event_id=7), "event_id"),
    "an empty event id": (_with(event_id=""), "event_id"),
    "an event id that no document can have": (_with(event_id="a/b"), "event_id"),
}

CONTRACT_EVENTS: Mapping[str, tuple[Spoil, str]] = {
    "an unknown kind": (_with(kind="airdrop"), ""),
    "a balance that is a float": (_with(collateral_base=1.5), "collateral_base"),
    "a negative balance": (_with(collateral_base="-1"), "collateral_base"),
    "a balance above 2^256": (_with(collateral_base=str(2**256)), "collateral_base"),
    "an account that is no address": (_with(account_id="0xABC"), "account_id"),
    "a time without a zone": (_with(block_time="2026-01-01T00:00:00"), "block_time"),
    "a sequence of zero": (_with(sequence=0), "sequence"),
    "an asset that is no symbol": (_with(asset="a/b"), "asset"),
}

PER_TOPIC: Mapping[str, Mapping[str, tuple[Spoil, str]]] = {
    topics.SETTLEMENT_EVENTS: CONTRACT_EVENTS,
    topics.FINALIZED_EVENTS: {
        **CONTRACT_EVENTS,
        "what is final taken back": (
            lambda m: {"kind": "event_retracted", "event_id": "1", "revision": 1, "retracted": m},
            "",
        ),
    },
    topics.SETTLEMENT_COMMANDS: {
        "an unknown kind": (_with(kind="AIRDROP"), "kind"),
        "a hash that is none": (_with(body_hash="0xABC"), "body_hash"),
        "an argument that is no text": (_with(arguments={"amount": 1}), "arguments.amount"),
        "a deadline without a zone": (_with(deadline="2026-01-01T00:00:00"), "deadline"),
        "a command that nobody sent in": (_with(event_id="cmd_0"), "event_id"),
        "a body that is not the command's": (_with(body_hash="0" * 64), "event_id"),
    },
    topics.POSITIONS_CHANGED: {
        "positions that are no list": (_with(positions={}), "positions"),
        "a position without its asset": (_with(positions=[{"chain_id": 1}]), "positions.0"),
        "a version as text": (_with(version="1"), "version"),
    },
    topics.MARKET_PRICES: {
        "a price of zero": (lambda m: _first_mark(m, price="0"), "marks.0"),
        "a price that is not finite": (lambda m: _first_mark(m, price="NaN"), "marks.0.price"),
        "a price that is no number": (lambda m: _first_mark(m, price="dear"), "marks.0.price"),
        "no price and no reason": (lambda m: _first_mark(m, price=None, status="stale"), "marks.0"),
        "an asset twice": (lambda m: m | {"marks": [m["marks"][0]] * 2}, ""),
        "no marks": (_without("marks"), "marks"),
    },
    topics.MARGIN_ALERTS: {
        "an unknown state": (_with(state="FINE"), "state"),
        "a valuation with a part missing": (_with(valuation={"debt_usd": "1"}), "valuation"),
        "health that is not finite": (
            lambda m: m | {"valuation": m["valuation"] | {"health_pct": "Infinity"}},
            "valuation.health_pct",
        ),
    },
    topics.MARGIN_SWEEPS: {},
    topics.MARGIN_SHARDS: {
        "a shard that is not there": (_with(shard=2), ""),
        "shards that slots cannot be dealt to": (_with(shards=3), ""),
        "a tick that is wrong": (lambda m: m | {"tick": m["tick"] | {"marks": 1}}, "tick.marks"),
    },
    topics.OPERATIONS_ALERTS: {
        "an unknown kind": (_with(kind="weather"), "kind"),
        "details that are no texts": (_with(details={"tick": 1}), "details.tick"),
    },
}


def _first_mark(message: dict[str, Any], **fields: Any) -> dict[str, Any]:
    first, *others = message["marks"]
    return message | {"marks": [first | fields, *others]}


def _spoiled(topic: str, spoil: Spoil | bytes) -> bytes:
    if isinstance(spoil, bytes):
        return spoil
    return json.dumps(spoil(json.loads(VALID[topic]().encode()))).encode()


Letter = tuple[bytes, dict[str, str]]


@pytest.fixture
def letters(project: Project) -> Iterator[Callable[[str], Callable[[], list[Letter]]]]:
    """Listen to a topic's dead letters; each is its data and its attributes."""
    client = SubscriberClient()

    def listen(topic: str) -> Callable[[], list[Letter]]:
        path = client.subscription_path(project.project_id, f"letters-{topic}")
        dead = topics.dead_letter_topic(topic)
        client.create_subscription(name=path, topic=f"projects/{project.project_id}/topics/{dead}")

        def pull() -> list[Letter]:
            request = {"subscription": path, "max_messages": 100, "return_immediately": True}
            received = client.pull(request=request).received_messages
            if received:
                client.acknowledge(subscription=path, ack_ids=[each.ack_id for each in received])
            return [(each.message.data, dict(each.message.attributes)) for each in received]

        return pull

    yield listen
    client.close()


def _record(call: Caller, topic: str, letter: Letter) -> None:
    """Deliver a dead letter as its push subscription does."""
    data, attributes = letter
    body = {
        "subscription": f"projects/p/subscriptions/record_dead_letter--{topic}.dead",
        "message": {
            "data": base64.b64encode(data).decode(),
            "messageId": uuid.uuid4().hex,
            "publishTime": now().isoformat(),
            "attributes": attributes,
        },
    }
    assert call.request("record_dead_letter", body).status == 200


@pytest.mark.parametrize(("function", "topic"), CONSUMERS)
def test_a_wrong_message_is_kept_with_the_reason_and_counted_and_the_next_is_processed(
    call: Caller,
    project: Project,
    store: firestore.Client,
    letters: Callable[[str], Callable[[], list[Letter]]],
    function: str,
    topic: str,
) -> None:
    kept = letters(topic)
    cases = {
        name: (_spoiled(topic, spoil), field)
        for name, (spoil, field) in {**ANYWHERE, **PER_TOPIC[topic]}.items()
    }
    for name, (data, field) in cases.items():
        attributes = {"event_id": "e", "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}

        assert call.push(function, topic, data, message_id=name, attributes=attributes).acknowledged, name

        (letter,) = kept()
        assert letter[0] == data, name
        found = letter[1]
        # A message of several kinds names the kind that was tried before the field.
        assert field in found[names.FIELD], (name, found)
        assert found[names.REASON], name
        assert len(found[names.REASON].encode()) <= 1_024, name
        assert found[names.FUNCTION] == function
        assert found[names.SOURCE_TOPIC] == topic
        assert found[names.SOURCE_MESSAGE_ID] == name
        assert found.items() >= attributes.items()
        _record(call, topic, letter)
    assert dead_letters.count_open(store) == len(cases)
    recorded = {letter.message_id: letter for letter, _ in dead_letters.list_open(store, limit=100)}
    for name, (data, field) in cases.items():
        assert recorded[name].data == data[:900_000]
        assert field in str(recorded[name].field)
        assert recorded[name].function == function

    if function == "submit_settlement_command":
        command = settlement_command()
        fields = settlement_commands.encode(command)
        store.document(settlement_commands.path(command.command_id)).set(fields)
    if function == "notify":
        with endpoint() as hook:
            for recipient in (PAYER, contacts.OPERATIONS):
                webhook = contacts.WebhookEndpoint(hook.url, "whsec_" + "a" * 32)
                contact = contacts.Contact(recipient, None, webhook)
                store.document(contacts.path(recipient)).set(contacts.encode(contact))
            assert call.push(function, topic, VALID[topic]()).acknowledged
            assert len(hook.received) == 1
    else:
        assert call.push(function, topic, VALID[topic]()).acknowledged
    assert kept() == []


@pytest.mark.parametrize(("function", "topic"), CONSUMERS)
def test_a_message_of_a_topic_that_is_not_the_functions_is_kept_as_a_dead_letter(
    call: Caller, letters: Callable[[str], Callable[[], list[Letter]]], function: str, topic: str
) -> None:
    """A subscription that was made by hand, to the wrong function."""
    foreign = topics.DELIVERIES
    kept = letters(foreign)
    assert topic != foreign
    assert call.push(function, foreign, VALID[foreign]()).acknowledged
    ((_, attributes),) = kept()
    assert attributes[names.FIELD] == "topic"
    assert attributes[names.REASON] == f"messages of topic {foreign!r} are not for this function"


@pytest.mark.parametrize(("function", "topic"), CONSUMERS)
def test_a_push_without_data_is_refused_until_pubsub_keeps_it_as_a_dead_letter(
    call: Caller, project: Project, store: firestore.Client, function: str, topic: str
) -> None:
    """The framework answers it with 400 before any code of ours runs; record_dead_letter takes it."""
    message = {"messageId": "1", "publishTime": now().isoformat(), "attributes": {"a": "b"}}
    status = call.push_body(function, topic, {"subscription": f"{function}--{topic}", "message": message})
    assert status == 400
    source = {"CloudPubSubDeadLetterSourceSubscription": f"{function}--{topic}"}
    body = {
        "subscription": f"projects/p/subscriptions/record_dead_letter--{topic}.dead",
        "message": message | {"attributes": source},
    }
    assert call.request("record_dead_letter", body).status == 200
    ((letter, _),) = dead_letters.list_open(store, limit=10)
    assert (letter.function, letter.topic, letter.data) == (function, topic, b"")


HTTP_FUNCTIONS = [
    function.name
    for function in load_manifest(ROOT / "functions.yaml").functions.values()
    if not function.topics and not function.receives_dead_letters
]


@pytest.mark.parametrize("function", HTTP_FUNCTIONS)
@pytest.mark.parametrize("body", [b"{", b"\xff", b"[1,"])
def test_an_http_function_names_the_body_that_is_no_json(call: Caller, function: str, body: bytes) -> None:
    outcome = call.request(function, body)
    assert outcome.status == 400
    assert outcome.body == {"error": "the request body is not JSON", "field": "body"}


@pytest.mark.parametrize("function", HTTP_FUNCTIONS)
@pytest.mark.parametrize("time", ["yesterday", "2026-01-01T00:00:00"])
def test_a_schedule_time_that_is_none_is_refused(call: Caller, function: str, time: str) -> None:
    outcome = call.request(function, headers={"X-CloudScheduler-ScheduleTime": time})
    assert outcome.status == 400
    assert outcome.body["field"] == "X-CloudScheduler-ScheduleTime"
