"""Back-fills recorded risk: the blocks of ``measure_risk``, for positions of the past, on Dataflow or here.

    python -m pipelines.measure_risk --inputs INPUTS.json --network NETWORK.json \
        --blocks 'gs://…/blocks-*.jsonl' --output gs://…/risk [--runner DataflowRunner …]

One element is one block of accounts, never one account: a block is a line of JSON, a list of
``positions.changed.v1`` messages (the archive keeps each payload in ``events``), each account's last one
before the moment. INPUTS.json holds ``as_of``, ``tick`` (a ``market.prices.v1`` message) and ``closes``
([day, close] pairs by asset). What comes out is a file of JSON lines per table, to be loaded with ``bq
load``; rows have the ids that ``measure_risk`` gives them, by which readers take each once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from shared.domain.closes import Closes, model_history
from shared.domain.market import Market
from shared.domain.network import parse_network
from shared.domain.positions import Account, Position, position_key
from shared.domain.risk_block import Inputs, measure_block
from shared.events.positions import PositionsChanged
from shared.events.prices import PriceTick
from shared.risk.house import HouseTally, measure_tally
from shared.risk.measurement_policy import RiskMethod, measurement_policy
from shared.risk.stress import historical_stress_scenarios
from shared.warehouse.risk_rows import (
    HOUSE_RISKS,
    HOUSE_SHORTFALLS,
    MARGIN_REQUIREMENTS,
    PORTFOLIO_RISKS,
    STRESS_TEST_RESULTS,
    HouseRun,
    rows_of_block,
    rows_of_house,
)
from shared.warehouse.rows import Row

TABLES = (PORTFOLIO_RISKS, MARGIN_REQUIREMENTS, STRESS_TEST_RESULTS, HOUSE_SHORTFALLS)
HOUSE_PART = "house_part"


@dataclass(frozen=True)
class Task:
    """The texts that a worker makes its inputs of; small enough to be sent with the code."""

    inputs: str
    network: str

    @property
    def as_of(self) -> datetime:
        """The moment that is measured."""
        return datetime.fromisoformat(json.loads(self.inputs)["as_of"])

    def read(self) -> Inputs:
        """Marks and models, the same on every worker."""
        document = json.loads(self.inputs)
        network, policy = parse_network(self.network), measurement_policy()
        tick = PriceTick.model_validate_json(json.dumps(document["tick"]))
        assets = sorted(network.assets)
        closes = {
            asset: Closes.of(asset, [(date.fromisoformat(day), close) for day, close in days])
            for asset, days in document["closes"].items()
        }
        market = Market.at(
            network,
            tick.usable_marks_at(self.as_of, network.tick_max_age_s),
            indexes=tick.borrow_indexes,
            tick_sequence=tick.sequence,
            as_of=tick.as_of,
        )
        return Inputs(
            network, market, model_history(closes, assets, policy), policy, historical_stress_scenarios()
        )


@dataclass(frozen=True)
class HousePart:
    """What a block, or several, cost the house."""

    tally: HouseTally | None
    accounts: int
    outside: int

    def __add__(self, other: HousePart) -> HousePart:
        tallies = [part.tally for part in (self, other) if part.tally is not None]
        tally = sum(tallies[1:], tallies[0]) if tallies else None
        return HousePart(tally, self.accounts + other.accounts, self.outside + other.outside)


class MeasureBlock(beam.DoFn):  # type: ignore[misc]
    """A line of accounts to the rows of each table, one text a table, and the block's part of the house."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task
        self._inputs: Inputs | None = None

    def setup(self) -> None:
        """Once a worker: reading closes and making models costs more than a block's overhead."""
        self._inputs = self._task.read()

    def process(self, element: str) -> Iterator[Any]:
        """Measure one block."""
        if self._inputs is None:
            raise RuntimeError("setup was not called")
        accounts = [
            account_of(PositionsChanged.model_validate_json(json.dumps(message)))
            for message in json.loads(element)
        ]
        as_of = self._task.as_of
        block = measure_block(self._inputs, accounts, as_of=as_of.isoformat())
        for table, rows in rows_of_block(block, as_of).items():
            if rows:
                yield beam.pvalue.TaggedOutput(table, lines(rows))
        part = HousePart(block.house, len(accounts), block.outside_house)
        yield beam.pvalue.TaggedOutput(HOUSE_PART, part)


def account_of(event: PositionsChanged) -> Account:
    """The account that a message tells of."""
    held = [
        Position(p.chain_id, p.asset, p.decimals, p.collateral_base, p.debt_shares, sequence=0)
        for p in event.positions
    ]
    return Account(
        event.account_id, event.version, event.as_of, {position_key(p.chain_id, p.asset): p for p in held}
    )


def house_lines(part: HousePart, task: Task) -> str:
    """The rows of ``house_risks`` of the whole book."""
    inputs, as_of = task.read(), task.as_of
    models = inputs.history.models
    if models is None or part.tally is None:
        reason = "; ".join(inputs.history.shortfalls(inputs.market.assets)) or "there is no account"
        return lines(rows_of_house(inputs, HouseRun((), reason, part.accounts, part.outside), as_of))
    scenarios = models.scenarios(RiskMethod.FILTERED)
    risks = tuple(
        measure_tally(part.tally, scenarios, level, as_of=as_of.isoformat()) for level in inputs.policy.levels
    )
    return lines(rows_of_house(inputs, HouseRun(risks, None, part.accounts, part.outside), as_of))


def lines(rows: Sequence[Row]) -> str:
    """Rows as JSON lines."""
    return "\n".join(json.dumps(row.values) for row in rows)


def _sum(parts: Iterable[HousePart]) -> HousePart:
    return sum(parts, HousePart(None, 0, 0))


def build(pipeline: beam.Pipeline, task: Task, *, blocks: str, output: str) -> None:
    """Add the back-fill to a pipeline: ``blocks`` is a pattern of files, ``output`` a prefix."""
    measured = (
        pipeline
        | "read blocks" >> beam.io.ReadFromText(blocks)
        # A file of blocks would otherwise be one worker's.
        | "spread" >> beam.Reshuffle()
        | "measure" >> beam.ParDo(MeasureBlock(task)).with_outputs(*TABLES, HOUSE_PART)
    )
    for table in TABLES:
        _ = measured[table] | f"write {table}" >> beam.io.WriteToText(
            f"{output}/{table}", file_name_suffix=".jsonl"
        )
    _ = (
        measured[HOUSE_PART]
        | "add up the house" >> beam.CombineGlobally(_sum)
        | "measure the house" >> beam.Map(house_lines, task)
        | f"write {HOUSE_RISKS}" >> beam.io.WriteToText(f"{output}/{HOUSE_RISKS}", file_name_suffix=".jsonl")
    )


def main() -> None:
    """Run on the runner that the remaining arguments name."""
    parser = argparse.ArgumentParser(description="Back-fill recorded risk")
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--blocks", required=True)
    parser.add_argument("--output", required=True)
    own, others = parser.parse_known_args()
    task = Task(own.inputs.read_text(), own.network.read_text())
    with beam.Pipeline(options=PipelineOptions(others, save_main_session=False)) as pipeline:
        build(pipeline, task, blocks=own.blocks, output=own.output)


if __name__ == "__main__":
    main()
