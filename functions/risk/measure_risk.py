"""Measures every account's risk, once a day, in blocks.

Trigger: every minute by Cloud Scheduler; HTTP, for an operator who wants a run now.
Reads: ``risk_runs``, ``accounts``, the latest of ``price_ticks``; BigQuery ``price_bars``.
Writes: BigQuery ``portfolio_risks``, ``margin_requirements``, ``stress_test_results``,
``house_shortfalls``, ``house_risks``; ``risk_runs`` per block.
Publishes: nothing.

A run is started when the last one began on an earlier day, and goes on, minute by minute, until every account
is measured. What it rests on (tick, history) is kept with its start. A block is announced in the progress
before it is measured, is loaded under job ids that follow from the run and the block, and moves the progress
after that: whichever line a crash hits, the block is done again and BigQuery takes it once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain.closes import first_day_needed, model_history
from shared.domain.market import Market
from shared.domain.positions import Account
from shared.domain.risk_block import Inputs, measure_block
from shared.errors import TerminalError
from shared.risk.house import TalliedRisk, measure_tally
from shared.risk.measurement_policy import MeasurementPolicy, RiskMethod, measurement_policy
from shared.risk.stress import historical_stress_scenarios
from shared.risk.tail import BY_PARTITION
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.stores import accounts, database, leases, risk_runs, ticks
from shared.stores.risk_runs import PinnedInputs, RiskRun
from shared.warehouse import client as warehouse
from shared.warehouse.daily_closes import read_daily_closes
from shared.warehouse.loading import load_once
from shared.warehouse.risk_rows import HOUSE_RISKS, HouseRun, rows_of_block, rows_of_house

LEASE = timedelta(seconds=120)
"""Longer than a block takes. A crash costs no more than this before another instance goes on."""

_ACCOUNTS_PER_READ = 1000

_log = logging.getLogger(__name__)


@http_function(
    uses=("firestore", "bigquery"),
    settings=("NETWORK_FILE", "BIGQUERY_DATASET", "RISK_BLOCK_ACCOUNTS", "WINDOW_S"),
)
def measure_risk(request: Request, context: Context) -> Response:
    """Start the run that is due, or go on with the one that is not done, until the window ends.

    An operator's body ``{"as_of": …}`` names the run to go on with; without it a new one is started where
    the last is done.
    """
    window_ends = clock.monotonic() + context.settings.window_s
    client = database.connect(context.settings)
    wanted = _wanted(request.body)
    lease = leases.acquire(
        client, context.function, owner=context.invocation_id, now=clock.now(), duration=LEASE
    )
    if lease is None:
        return Response({"state": "another invocation is measuring"})
    try:
        run = _current_run(client, context, wanted, is_asked=request.body is not None)
        inputs = None if run.is_done else _inputs(client, context, run)
        while inputs is not None and not run.is_done:
            run = _measure_next(client, context, run, inputs)
            if clock.monotonic() >= window_ends:
                break
            lease = leases.acquire(
                client, context.function, owner=context.invocation_id, now=clock.now(), duration=LEASE
            )
            if lease is None:
                break
    finally:
        if lease is not None:
            leases.release(client, lease)
    return Response(
        {
            "as_of": run.as_of.isoformat(),
            "state": "done" if run.is_done else "running",
            "accounts": run.accounts,
            "blocks": run.blocks,
        }
    )


def _wanted(body: Any) -> datetime | None:
    if body is None:
        return None
    if not isinstance(body, dict) or set(body) - {"as_of"}:
        raise TerminalError("the body may have the one field as_of", field="body")
    if "as_of" not in body:
        return None
    try:
        moment = datetime.fromisoformat(body["as_of"])
    except (TypeError, ValueError) as error:
        raise TerminalError(f"{body['as_of']!r} is not a time", field="as_of") from error
    if moment.tzinfo is None:
        raise TerminalError(f"{body['as_of']!r} has no time zone", field="as_of")
    return moment


def _current_run(
    client: database.Client, context: Context, wanted: datetime | None, *, is_asked: bool
) -> RiskRun:
    """The run to work on; a new one where one is due or asked for.

    Raises:
        TerminalError: the run that is asked for is not the present one.
    """
    policy = measurement_policy()
    run = risk_runs.find(client)
    if wanted is not None:
        if run is None or wanted != run.as_of:
            last = "there was none" if run is None else f"the last is of {run.as_of.isoformat()}"
            raise TerminalError(
                f"no run of {wanted.isoformat()} can be gone on with ({last}); accounts are measured as they "
                "are, so leave as_of out to start one now",
                field="as_of",
            )
        return run
    if run is not None and (not run.is_done or (not is_asked and not _is_due(run, context.as_of, policy))):
        return run
    return _start(client, context, None if run is None else run.read_at, policy)


def _is_due(run: RiskRun, moment: datetime, policy: MeasurementPolicy) -> bool:
    return int(moment.timestamp()) // policy.run_every_s > int(run.as_of.timestamp()) // policy.run_every_s


def _start(client: database.Client, context: Context, read_at: Any, policy: MeasurementPolicy) -> RiskRun:
    today = context.as_of.astimezone(UTC).date()
    assets = sorted(context.network.assets)
    closes = read_daily_closes(
        warehouse.connect(context.settings),
        assets,
        first=first_day_needed(today, policy),
        finish=today,
        known_at=context.as_of,
    )
    run = RiskRun(
        as_of=context.as_of,
        is_done=False,
        after=None,
        until=None,
        blocks=0,
        accounts=0,
        outside_accounts=0,
        tally=None,
        read_at=read_at,
    )
    commit = database.Commit(client, traceparent=context.traceparent)
    risk_runs.put_inputs(
        commit, PinnedInputs(ticks.find_latest(client), model_history(closes, assets, policy))
    )
    return _record(commit, run)


def _record(commit: database.Commit, run: RiskRun) -> RiskRun:
    index = commit.replace(risk_runs.PROGRESS, risk_runs.encode(run), read_at=run.read_at)
    commit.apply()
    return replace(run, read_at=commit.update_time(index))


def _inputs(client: database.Client, context: Context, run: RiskRun) -> Inputs:
    """What the run rests on, the same at every call."""
    policy = measurement_policy()
    pinned = risk_runs.get_inputs(client, policy)
    network, tick = context.network, pinned.tick
    market = Market.at(
        network,
        {} if tick is None else tick.usable_marks_at(run.as_of, network.tick_max_age_s),
        indexes={} if tick is None else tick.borrow_indexes,
        tick_sequence=None if tick is None else tick.sequence,
        as_of=run.as_of if tick is None else tick.as_of,
    )
    models = pinned.history.models
    tail = BY_PARTITION if models is None else models.fastest_tail(policy.levels, clock.monotonic_ns)
    return Inputs(network, market, pinned.history, policy, historical_stress_scenarios(), tail)


def _measure_next(client: database.Client, context: Context, run: RiskRun, inputs: Inputs) -> RiskRun:
    """One block more, or the end of the run."""
    if run.until is None:
        block = _read(client, run.after, None, context.settings.risk_block_accounts)
        if not block:
            return _finish(client, context, run, inputs)
        # Said before it is done: a block that is done again covers the same range of accounts.
        run = _record(database.Commit(client), replace(run, until=block[-1].account_id))
    else:
        block = _read(client, run.after, run.until, None)
    measured = measure_block(inputs, block, as_of=run.as_of.isoformat())
    for table, rows in rows_of_block(measured, run.as_of).items():
        if rows:
            load_once(
                warehouse.connect(context.settings),
                table,
                rows,
                load_id=f"{run.as_of.isoformat()}-{run.blocks:05d}",
            )
    tally = run.tally
    if measured.house is not None:
        tally = measured.house if tally is None else tally + measured.house
    _log.info("block measured", extra={"accounts": len(block), "block": run.blocks})
    return _record(
        database.Commit(client),
        replace(
            run,
            after=run.until,
            until=None,
            blocks=run.blocks + 1,
            accounts=run.accounts + len(block),
            outside_accounts=run.outside_accounts + measured.outside_house,
            tally=tally,
        ),
    )


def _read(client: database.Client, after: str | None, until: str | None, limit: int | None) -> list[Account]:
    """Accounts in order of id behind ``after``, up to ``until`` and at most ``limit``."""
    found: list[Account] = []
    while limit is None or len(found) < limit:
        size = _ACCOUNTS_PER_READ if limit is None else min(_ACCOUNTS_PER_READ, limit - len(found))
        page: Sequence[Account] = accounts.list_up_to(client, after=after, until=until, limit=size)
        found += page
        if len(page) < size:
            break
        after = page[-1].account_id
    return found


def _finish(client: database.Client, context: Context, run: RiskRun, inputs: Inputs) -> RiskRun:
    models = inputs.history.models
    risks: tuple[TalliedRisk, ...] = ()
    reason: str | None = None
    if models is None:
        reason = "; ".join(inputs.history.shortfalls(inputs.market.assets))
    elif run.tally is None:
        reason = "there is no account"
    else:
        scenarios = models.scenarios(RiskMethod.FILTERED)
        risks = tuple(
            measure_tally(run.tally, scenarios, level, as_of=run.as_of.isoformat())
            for level in inputs.policy.levels
        )
    house = HouseRun(risks, reason, run.accounts, run.outside_accounts)
    load_once(
        warehouse.connect(context.settings),
        HOUSE_RISKS,
        rows_of_house(inputs, house, run.as_of),
        load_id=run.as_of.isoformat(),
    )
    return _record(database.Commit(client), replace(run, is_done=True))
