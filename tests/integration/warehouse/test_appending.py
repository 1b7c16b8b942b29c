"""Rows go into BigQuery as they are, repeats are read once, and a refused row is told with the reason."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.errors import RetryableError
from shared.events import topics
from shared.events.base import Event
from shared.manifest import load_manifest
from shared.warehouse import appending, margin_history
from shared.warehouse import client as warehouse_client
from shared.warehouse.client import Warehouse
from shared.warehouse.history_pages import HistoryPage
from shared.warehouse.rows import Row, rows_of
from tests.conftest import ROOT, Project
from tests.every_message import VALID
from tests.messages import margin_samples, margin_transition, new_address, now, price_tick
from tests.servers import closed_port

# Final events are the settlement's again, under the same ids: a table has each once.
NOT_ARCHIVED = {topics.MARGIN_SWEEPS, topics.MARGIN_SHARDS, topics.FINALIZED_EVENTS}


def _connect(project: Project) -> Warehouse:
    return warehouse_client.connect(project.settings("BIGQUERY_DATASET", uses=("bigquery",)))


def _tables(project: Project, *names: str) -> Warehouse:
    """These tables, empty; each costs the emulator a noticeable while."""
    project.provision_warehouse(*names)
    return _connect(project)


def _rows(event: Event, topic: str = "t") -> list[Row]:
    return rows_of(event, topic=topic, payload=event.encode(), ordering_key="", published_at=now())


def _read(warehouse: Warehouse, table: str) -> list[dict[str, Any]]:
    statement = f"SELECT * FROM `{warehouse.dataset}.{table}`"
    return [dict(row) for row in warehouse.client.query(statement).result()]


def test_the_rows_of_every_message_are_taken(project: Project) -> None:
    warehouse = _tables(project, "events", "margin_history", "marks")
    archived = sorted(set(VALID) - NOT_ARCHIVED)
    events = {topic: VALID[topic]() for topic in archived}
    for topic, event in events.items():
        assert appending.append(warehouse, _rows(event, topic)) == {}, topic
    written = {row["topic"]: row for row in _read(warehouse, "events")}
    assert sorted(written) == archived
    for topic, event in events.items():
        assert (written[topic]["event_id"], written[topic]["ordering_key"]) == (event.event_id, None)
        assert json.loads(written[topic]["payload"]) == json.loads(event.encode())


def test_history_is_read_back_exactly_by_page_and_each_row_once(project: Project) -> None:
    warehouse = _tables(project, "events", "margin_history")
    account_id = new_address()
    start = now().replace(microsecond=123456)
    transitions = [
        margin_transition(account_id, number, as_of=start + timedelta(seconds=number // 2))
        for number in range(1, 6)
    ]
    rows = [row for transition in transitions for row in _rows(transition)]
    rows += _rows(margin_transition(new_address(), 1, as_of=start))
    # A crash between writing and acknowledging writes everything twice.
    for _ in range(2):
        assert appending.append(warehouse, rows) == {}

    def page(after: Any, limit: int) -> list[margin_history.HistoryRow]:
        wanted = HistoryPage(account_id, start, start + timedelta(seconds=10), after, limit)
        return margin_history.list_page(warehouse, wanted)

    everything = page(None, 99)
    assert [row.row_id for row in everything] == [transition.event_id for transition in transitions]
    first = everything[0]
    assert (first.as_of, first.kind, first.state, first.previous_state) == (
        start,
        "transition",
        "MARGIN_CALL",
        "HEALTHY",
    )
    assert (first.collateral_usd, first.debt_usd, first.health_pct) == (
        Decimal("1200.5"),
        Decimal(1000),
        20.05,
    )
    place = (everything[1].as_of, everything[1].row_id)
    assert page(place, 2) == everything[2:4]
    assert page((everything[-1].as_of, everything[-1].row_id), 2) == []


def test_samples_of_unvalued_accounts_have_no_amounts(project: Project) -> None:
    warehouse = _tables(project, "events", "margin_history")
    event = margin_samples()
    assert appending.append(warehouse, _rows(event)) == {}
    wanted = HistoryPage(
        event.samples[1].account_id, event.as_of, event.as_of + timedelta(seconds=1), None, 9
    )
    (row,) = margin_history.list_page(warehouse, wanted)
    assert (row.state, row.collateral_usd, row.health_pct, row.transition_sequence) == (
        "UNVALUED",
        None,
        None,
        None,
    )


def test_a_price_keeps_nine_digits_behind_the_point_rounded_half_even(project: Project) -> None:
    warehouse = _tables(project, "events", "marks")
    appending.append(warehouse, _rows(price_tick(1, ETH="0.0000000015", USDC="0.0000000025")))
    prices = {row["asset"]: row["price"] for row in _read(warehouse, "marks")}
    assert prices == {"ETH": Decimal("2E-9"), "USDC": Decimal("2E-9")}


def test_a_row_that_is_refused_is_told_and_the_others_are_written(project: Project) -> None:
    warehouse = _tables(project, "events", "marks")
    good = _rows(price_tick(1, ETH="1600", USDC="1"))
    bad = _rows(price_tick(2, ETH="1" + "0" * 40, USDC="1"))

    refused = appending.append(warehouse, [*good, *bad])

    assert set(refused) == {"tick:000000000002:ETH"}
    assert refused["tick:000000000002:ETH"].startswith("marks: ")
    assert {row["row_id"] for row in _read(warehouse, "marks")} == {
        "tick:000000000001:ETH",
        "tick:000000000001:USDC",
        "tick:000000000002:USDC",
    }


def test_more_than_one_request_holds_is_written_in_several(project: Project) -> None:
    warehouse = _tables(project, "events")
    rows = [
        Row(
            "events",
            f"e{number}",
            {
                "event_id": f"e{number}",
                "topic": "t",
                "occurred_at": now().isoformat(),
                "ordering_key": None,
                "payload": "x" * 900_000,
            },
        )
        for number in range(15)
    ]
    assert appending.append(warehouse, rows) == {}
    assert {row["event_id"] for row in _read(warehouse, "events")} == {f"e{number}" for number in range(15)}


def test_tables_are_listed(project: Project) -> None:
    project.provision_warehouse()
    declared = load_manifest(ROOT / "functions.yaml").warehouse
    assert set(warehouse_client.list_tables(_connect(project))) == {*declared.tables, *declared.views}


def test_a_dataset_that_does_not_exist_is_told(project: Project) -> None:
    nothing = _connect(project)
    with pytest.raises(RetryableError, match="BigQuery did not list the tables"):
        warehouse_client.list_tables(nothing)
    with pytest.raises(RetryableError, match="BigQuery did not take rows of events"):
        appending.append(nothing, _rows(VALID[topics.DELIVERIES]()))


def test_a_bigquery_that_is_away_fails_every_call_as_retryable_within_seconds(project: Project) -> None:
    project.setenv(BIGQUERY_EMULATOR_HOST=f"http://127.0.0.1:{closed_port()}")
    away = _connect(project)
    started = time.monotonic()
    with pytest.raises(RetryableError, match="BigQuery did not take rows"):
        appending.append(away, _rows(VALID[topics.DELIVERIES]()))
    assert time.monotonic() - started < 15
