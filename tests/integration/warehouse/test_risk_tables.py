"""Loads happen once, closes are read as they were known, and views show each fact once."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from shared.errors import RetryableError
from shared.warehouse import appending
from shared.warehouse import client as warehouse_client
from shared.warehouse.client import Warehouse, view_statement
from shared.warehouse.daily_closes import read_daily_closes
from shared.warehouse.loading import load_once
from shared.warehouse.rows import Row, rows_of
from tests.closes import bar
from tests.conftest import Project
from tests.messages import margin_transition, new_address, now
from tests.servers import closed_port

DAY = date(2026, 3, 1)
KNOWN = datetime(2026, 4, 1, tzinfo=UTC)


def _tables(project: Project, *names: str) -> Warehouse:
    """These tables and views of the manifest, empty; each costs the emulator a noticeable while."""
    project.provision_warehouse(*names)
    return warehouse_client.connect(project.settings("BIGQUERY_DATASET", uses=("bigquery",)))


def _select(warehouse: Warehouse, statement: str) -> list[dict[str, Any]]:
    return [dict(row) for row in warehouse.client.query(statement).result()]


def test_a_load_is_made_once_and_a_refused_one_may_be_made_again(project: Project) -> None:
    warehouse = _tables(project, "price_bars")
    rows = [bar("ETH", DAY + timedelta(days=n), 1600 + n, as_of=KNOWN) for n in range(3)]
    broken = [*rows, Row("price_bars", "x", {"asset": "ETH"})]
    with pytest.raises(RetryableError, match="BigQuery refused 4 rows of price_bars"):
        load_once(warehouse, "price_bars", broken, load_id="2026-04-01T00:00:00+00:00-0")
    assert load_once(warehouse, "price_bars", rows, load_id="2026-04-01T00:00:00+00:00-0")
    assert not load_once(warehouse, "price_bars", rows, load_id="2026-04-01T00:00:00+00:00-0")
    assert load_once(warehouse, "price_bars", rows[:1], load_id="2026-04-01T00:00:00+00:00-1")
    (counted,) = _select(warehouse, f"SELECT COUNT(*) AS n FROM `{warehouse.dataset}.price_bars`")
    assert counted["n"] == 4


def test_a_bigquery_that_is_away_fails_a_load_as_retryable_within_seconds(project: Project) -> None:
    project.setenv(BIGQUERY_EMULATOR_HOST=f"http://127.0.0.1:{closed_port()}")
    away = warehouse_client.connect(project.settings("BIGQUERY_DATASET", uses=("bigquery",)))
    started = time.monotonic()
    with pytest.raises(RetryableError, match="BigQuery did not take a load of price_bars"):
        load_once(away, "price_bars", [bar("ETH", DAY, 1600, as_of=KNOWN)], load_id="x")
    assert time.monotonic() - started < 30


def test_the_bar_written_last_before_a_moment_is_the_close(project: Project) -> None:
    warehouse = _tables(project, "price_bars")
    later = KNOWN + timedelta(hours=1)
    rows = [
        bar("ETH", DAY, "1600.000000000000000001", as_of=KNOWN - timedelta(days=9)),
        bar("ETH", DAY, 1700, as_of=KNOWN),
        bar("ETH", DAY, 9, as_of=later),
        bar("ETH", DAY, 8, as_of=KNOWN, interval="1h"),
        bar("ETH", DAY + timedelta(days=3), 1800, as_of=KNOWN),
        bar("ETH", DAY + timedelta(days=4), 1900, as_of=KNOWN),
        bar("ETH", DAY - timedelta(days=1), 1500, as_of=KNOWN),
        bar("USDC", DAY, 1, as_of=KNOWN),
        bar("USDC", DAY + timedelta(days=1), 0, as_of=KNOWN),
        bar("LINK", DAY, 15, as_of=KNOWN),
    ]
    assert appending.append(warehouse, rows) == {}

    def read(known_at: datetime) -> dict[str, list[tuple[str, float]]]:
        found = read_daily_closes(
            warehouse,
            ["ETH", "USDC", "WBTC"],
            first=DAY,
            finish=DAY + timedelta(days=4),
            known_at=known_at,
        )
        return {
            asset: list(
                zip(closes.history.dates.astype(str).tolist(), closes.history.closes.tolist(), strict=True)
            )
            for asset, closes in found.items()
        }

    assert read(KNOWN) == {
        "ETH": [("2026-03-01", 1700.0), ("2026-03-04", 1800.0)],
        "USDC": [("2026-03-01", 1.0)],
    }
    assert read(later)["ETH"][0] == ("2026-03-01", 9.0)
    assert read(KNOWN - timedelta(days=8)) == {"ETH": [("2026-03-01", 1600.0)]}
    closes = read_daily_closes(warehouse, ["ETH"], first=DAY, finish=DAY + timedelta(days=4), known_at=KNOWN)[
        "ETH"
    ]
    assert closes.missing_days == 2
    assert closes.history.closes.dtype == np.float64


def test_margin_events_are_the_transitions_of_the_history_each_once(project: Project) -> None:
    warehouse = _tables(project, "margin_history", "margin_events")
    account_id = new_address()
    event = margin_transition(account_id, 3)
    rows = [
        row
        for row in rows_of(event, topic="t", payload=event.encode(), ordering_key="", published_at=now())
        if row.table == "margin_history"
    ]
    sample = _sample(account_id, event.as_of, "1200.5", "1000", 20.05)
    for _ in range(2):
        assert appending.append(warehouse, [*rows, sample]) == {}
    (shown,) = _select(warehouse, f"SELECT * FROM `{warehouse.dataset}.margin_events`")
    assert (shown["row_id"], shown["account_id"], shown["transition_sequence"]) == (
        event.event_id,
        account_id,
        3,
    )


def test_hourly_exposures_show_the_same_kept_up_to_date_or_not(project: Project) -> None:
    warehouse = _tables(project, "margin_history", "hourly_exposures")
    """BigQuery keeps the result; here it is a plain view. Both are made of the same statement."""
    account_id, other = new_address(), new_address()
    hour = now().replace(minute=0, second=0, microsecond=0)
    minutes = [
        (account_id, 0, "100", "50", 100.0),
        (account_id, 30, "90", "50", 80.0),
        (account_id, 59, "95", "60", 58.3),
        (account_id, 60, "10", "60", -83.0),
        (other, 5, "7", "0", None),
        (other, 7, None, None, None),
    ]
    samples = [
        _sample(account, hour + timedelta(minutes=minute), held, owed, health)
        for account, minute, held, owed, health in minutes
    ]
    for _ in range(2):
        assert appending.append(warehouse, samples) == {}
    columns = (
        "account_id, hour, last_as_of, collateral_usd, debt_usd, max_collateral_usd, max_debt_usd,"
        " min_health_pct"
    )
    statement = f"SELECT {columns} FROM `{warehouse.dataset}.{{}}` ORDER BY account_id, hour"
    plain = _select(warehouse, statement.format("hourly_exposures"))
    kept = f"{warehouse.dataset}.kept_exposures"
    warehouse.client.query(
        f"CREATE MATERIALIZED VIEW `{kept}` AS {view_statement('hourly_exposures', warehouse.dataset)}"
    ).result()
    assert _select(warehouse, statement.format("kept_exposures")) == plain
    by_key = {(row["account_id"], row["hour"]): row for row in plain}
    assert len(plain) == len(by_key) == 3
    first = by_key[account_id, hour]
    assert (first["last_as_of"], float(first["collateral_usd"]), float(first["debt_usd"])) == (
        hour + timedelta(minutes=59),
        95.0,
        60.0,
    )
    assert (float(first["max_collateral_usd"]), float(first["max_debt_usd"]), first["min_health_pct"]) == (
        100.0,
        60.0,
        58.3,
    )
    assert float(by_key[other, hour]["collateral_usd"]) == 7.0


def _sample(
    account_id: str, as_of: datetime, held: str | None, owed: str | None, health: float | None
) -> Row:
    row_id = f"sample:{account_id}:{as_of.isoformat()}"
    values = {
        "row_id": row_id,
        "account_id": account_id,
        "as_of": as_of.isoformat(),
        "kind": "sample",
        "state": "HEALTHY" if held else "UNVALUED",
        "previous_state": None,
        "transition_sequence": None,
        "tick_sequence": 1,
        "collateral_usd": held,
        "debt_usd": owed,
        "health_pct": health,
    }
    return Row("margin_history", row_id, values)
