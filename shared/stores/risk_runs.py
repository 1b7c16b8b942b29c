"""``risk_runs``: how far the present run of ``measure_risk`` is, and what all of its blocks rest on.

Two documents. ``inputs`` is written once, with the start of a run: the tick and the returns that every block
is measured with, so that a run which is resumed goes on with the same figures whatever has been published or
back-filled since. ``progress`` moves with every block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.closes import Coverage, ModelledHistory
from shared.events.prices import PriceTick
from shared.risk.house import HouseTally
from shared.risk.measurement_policy import MeasurementPolicy
from shared.risk.models import RiskModels
from shared.risk.packing import pack_history, pack_tally, unpack_history, unpack_tally
from shared.stores import database

COLLECTION = "risk_runs"
PROGRESS = f"{COLLECTION}/progress"
INPUTS = f"{COLLECTION}/inputs"


@dataclass(frozen=True, slots=True)
class RiskRun:
    """A run, by its moment.

    Accounts up to ``after`` are measured and recorded, in ``blocks`` blocks; the block up to ``until`` is
    being worked on (None: none has been begun). ``tally`` is the house's loss so far. ``read_at`` is what a
    later replacement is conditioned on.
    """

    as_of: datetime
    is_done: bool
    after: str | None
    until: str | None
    blocks: int
    accounts: int
    outside_accounts: int
    tally: HouseTally | None
    read_at: Any


@dataclass(frozen=True, slots=True)
class PinnedInputs:
    """The tick (None before the first) and the history of a run."""

    tick: PriceTick | None
    history: ModelledHistory


def encode(run: RiskRun) -> dict[str, Any]:
    """The progress document's fields."""
    return {
        "as_of": run.as_of,
        "is_done": run.is_done,
        "after": run.after,
        "until": run.until,
        "blocks": run.blocks,
        "accounts": run.accounts,
        "outside_accounts": run.outside_accounts,
        "tally": None if run.tally is None else pack_tally(run.tally),
    }


def find(client: firestore.Client) -> RiskRun | None:
    """The present or last run, or None before the first."""
    document = database.find(client, PROGRESS)
    if document is None:
        return None
    fields = document.fields
    return RiskRun(
        as_of=fields["as_of"],
        is_done=fields["is_done"],
        after=fields["after"],
        until=fields["until"],
        blocks=fields["blocks"],
        accounts=fields["accounts"],
        outside_accounts=fields["outside_accounts"],
        tally=None if fields["tally"] is None else unpack_tally(fields["tally"]),
        read_at=document.read_at,
    )


def put_inputs(commit: database.Commit, inputs: PinnedInputs) -> None:
    """Write what a run rests on, with the commit that starts it."""
    models = inputs.history.models
    commit.put(
        INPUTS,
        {
            "tick": None if inputs.tick is None else inputs.tick.encode(),
            "coverage": [_encode_coverage(coverage) for coverage in inputs.history.coverage.values()],
            "history": None if models is None else pack_history(models.history),
        },
    )


def get_inputs(client: firestore.Client, policy: MeasurementPolicy) -> PinnedInputs:
    """What the present run rests on.

    Raises:
        KeyError: no run has been started.
    """
    document = database.find(client, INPUTS)
    if document is None:
        raise KeyError(INPUTS)
    fields = document.fields
    coverage = [_decode_coverage(entry) for entry in fields["coverage"]]
    return PinnedInputs(
        None if fields["tick"] is None else PriceTick.model_validate_json(fields["tick"]),
        ModelledHistory(
            None if fields["history"] is None else RiskModels(unpack_history(fields["history"]), policy),
            {entry.asset: entry for entry in coverage},
        ),
    )


def _encode_coverage(coverage: Coverage) -> dict[str, Any]:
    return {
        "asset": coverage.asset,
        "closes": coverage.closes,
        "needed": coverage.needed,
        "first": None if coverage.first is None else coverage.first.isoformat(),
        "last": None if coverage.last is None else coverage.last.isoformat(),
        "missing_days": coverage.missing_days,
        "has_returns": coverage.has_returns,
    }


def _decode_coverage(fields: Mapping[str, Any]) -> Coverage:
    days = {
        name: None if fields[name] is None else datetime.fromisoformat(fields[name]).date()
        for name in ("first", "last")
    }
    return Coverage(**{**fields, **days})
