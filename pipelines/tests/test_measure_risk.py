"""The pipeline's rows are those of the block function, whatever blocks the accounts come in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from local.price_data import single_feed_prices
from pipelines.measure_risk import TABLES, HousePart, Task, account_of, build, house_lines
from shared.domain.risk_block import measure_block
from shared.events.positions import Position, PositionsChanged, positions_id
from shared.risk.measurement_policy import measurement_policy
from shared.warehouse.risk_rows import HOUSE_RISKS, rows_of_block
from tests.messages import price_tick
from tests.walks import made_up_closes

AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLOSES = measurement_policy().n_returns + 1
_SOURCES, _PRICES = single_feed_prices(31337, dict.fromkeys(("ETH", "USDC"), "0x" + "e1" * 20))
NETWORK = json.dumps(
    {
        "margin_policy": {
            "warning_pct": "50",
            "margin_call_pct": "30",
            "liquidation_pct": "15",
            "hysteresis_pct": "2",
        },
        "tick_max_age_s": 120,
        "price_sources": _SOURCES,
        "assets": {
            asset: {"collateral_factor": "1", "borrow_factor": "1", "prices": policy}
            for asset, policy in _PRICES.items()
        },
        "chains": [
            {
                "chain_id": 31337,
                "name": "anvil",
                "confirmations": 0,
                "finality": 64,
                "start_block": 0,
                "block_range": 2000,
                "vault": "0x" + "aa" * 20,
                "escrow_factory": "0x" + "bb" * 20,
                "multicall": "0x" + "ca" * 20,
                "tokens": {
                    f"0x{number:040x}": {"asset": asset, "decimals": decimals}
                    for number, (asset, decimals) in enumerate((("ETH", 18), ("USDC", 6)), start=1)
                },
            }
        ],
    }
)


def message(number: int) -> PositionsChanged:
    """An account that holds ETH and owes USDC, near its limit."""
    account_id = f"0x{number:040x}"
    return PositionsChanged(
        event_id=positions_id(account_id, 3),
        account_id=account_id,
        version=3,
        as_of=AS_OF,
        positions=(
            Position(
                chain_id=31337, asset="ETH", decimals=18, collateral_base=number * 10**18, debt_shares=0
            ),
            Position(
                chain_id=31337,
                asset="USDC",
                decimals=6,
                collateral_base=0,
                debt_shares=number * 1_550_000_000,
            ),
        ),
    )


@pytest.fixture
def task() -> Task:
    """The marks and closes of two assets."""
    last = AS_OF.date() - timedelta(days=1)
    closes = {
        asset: [
            [(last - timedelta(days=CLOSES - 1 - number)).isoformat(), close]
            for number, close in enumerate(made_up_closes(asset, CLOSES))
        ]
        for asset in ("ETH", "USDC")
    }
    tick = json.loads(price_tick(7, as_of=AS_OF, ETH="1600", USDC="1").encode())
    return Task(
        json.dumps({"as_of": AS_OF.isoformat(), "tick": tick, "closes": closes}),
        NETWORK,
    )


def read(folder: Path, table: str) -> list[dict[str, Any]]:
    """The rows that were written for a table, in order of id."""
    rows = [
        json.loads(line)
        for path in folder.glob(f"{table}-*.jsonl")
        for line in path.read_text().splitlines()
        if line
    ]
    return sorted(rows, key=lambda row: row["row_id"])


def test_blocks_on_the_direct_runner_give_the_rows_of_one_block(task: Task, tmp_path: Path) -> None:
    messages = [message(number) for number in range(1, 8)]
    blocks = tmp_path / "blocks-0.jsonl"
    lines = [
        json.dumps([json.loads(each.encode()) for each in messages[start : start + 3]])
        for start in range(0, 7, 3)
    ]
    blocks.write_text("\n".join(lines) + "\n")

    with beam.Pipeline(options=PipelineOptions(["--runner=DirectRunner"])) as pipeline:
        build(pipeline, task, blocks=str(tmp_path / "blocks-*.jsonl"), output=str(tmp_path / "out"))

    whole = measure_block(task.read(), [account_of(each) for each in messages], as_of=AS_OF.isoformat())
    expected = rows_of_block(whole, AS_OF)
    for table in TABLES:
        found = read(tmp_path / "out", table)
        assert [row["row_id"] for row in found] == sorted(row.row_id for row in expected[table])
        by_id = {row.row_id: row.values for row in expected[table]}
        for row in found:
            same = {
                name: pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
                for name, value in by_id[row["row_id"]].items()
            }
            assert row == same
    totals = [row for row in read(tmp_path / "out", HOUSE_RISKS) if row["part_kind"] == "total"]
    alone = [
        json.loads(line)
        for line in house_lines(HousePart(whole.house, len(messages), whole.outside_house), task).splitlines()
    ]
    assert [row["accounts"] for row in totals] == [7] * len(measurement_policy().levels)
    by_level = {row["level"]: row["es_usd"] for row in alone if row["part_kind"] == "total"}
    assert {row["level"]: row["es_usd"] for row in totals} == pytest.approx(by_level)
    assert all(row["es_usd"] > 0 for row in totals)
