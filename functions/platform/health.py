"""Says whether each dependency and each flow works, and what does not.

Trigger: HTTP.
Reads: Firestore, Pub/Sub, BigQuery and every chain, each by a real call; the ages of what flows.
Writes: nothing.
Publishes: nothing.

200 where every check passes, 503 where one does not; the body says which, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from shared.chain import blocks, rpc
from shared.domain.reconciliation import BETWEEN_PASSES
from shared.errors import FusionError
from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.stores import (
    chain_cursors,
    chain_sync,
    database,
    dead_letters,
    outbox,
    position_differences,
    reconciliations,
    ticks,
)
from shared.warehouse import client as warehouse

_OUTBOX_MAX_AGE = timedelta(seconds=60)
_MAX_BLOCKS_BEHIND = 300
_RECONCILED_WITHIN = 3 * BETWEEN_PASSES


class _UnhealthyError(FusionError):
    """A check found something that a person should look at."""


@http_function(
    uses=("firestore", "pubsub", "bigquery"),
    settings=("NETWORK_FILE", "RPC_URLS", "BIGQUERY_DATASET"),
)
def health(_request: Request, context: Context) -> Response:
    """Check everything at once."""
    checks: dict[str, Callable[[], str]] = {
        "firestore": lambda: _outbox(context),
        "pubsub": lambda: _pubsub(context),
        "bigquery": lambda: _bigquery(context),
        "prices": lambda: _prices(context),
        "dead_letters": lambda: _dead_letters(context),
    }
    for chain in context.network.chains.values():
        checks[f"chain:{chain.name}"] = partial(_chain, context, chain.chain_id)
        checks[f"positions:{chain.name}"] = partial(_positions, context, chain.chain_id)
    with ThreadPoolExecutor(len(checks)) as pool:
        running = {name: pool.submit(check) for name, check in checks.items()}
        results = {name: _result(future.result) for name, future in running.items()}
    healthy = all(result["ok"] for result in results.values())
    body = {"healthy": healthy, "as_of": clock.now().isoformat(), "checks": results}
    return Response(body, 200 if healthy else 503)


def _result(check: Callable[[], str]) -> dict[str, str | bool]:
    try:
        return {"ok": True, "detail": check()}
    except FusionError as error:
        return {"ok": False, "detail": str(error)}


def _outbox(context: Context) -> str:
    oldest = outbox.find_oldest(database.connect(context.settings))
    if oldest is None:
        return "outbox is empty"
    age = clock.now() - oldest
    if age > _OUTBOX_MAX_AGE:
        raise _UnhealthyError(f"an announcement has waited in the outbox for {age.total_seconds():.0f} s")
    return f"oldest announcement is {age.total_seconds():.1f} s old"


def _pubsub(context: Context) -> str:
    publisher.connect(context.settings).check()
    return "topics answer"


def _bigquery(context: Context) -> str:
    tables = warehouse.list_tables(warehouse.connect(context.settings))
    if not tables:
        raise _UnhealthyError(f"dataset {context.settings.bigquery_dataset} has no tables")
    return f"{len(tables)} tables"


def _prices(context: Context) -> str:
    latest = ticks.find_latest(database.connect(context.settings))
    if latest is None:
        raise _UnhealthyError("no price tick has been published")
    age = clock.now() - latest.as_of
    if age > timedelta(seconds=context.network.tick_max_age_s):
        raise _UnhealthyError(f"the last price tick is {age.total_seconds():.0f} s old")
    unusable = [f"{mark.asset}: {mark.reason}" for mark in latest.marks if mark.price is None]
    if unusable:
        raise _UnhealthyError(f"no usable mark of {'; '.join(unusable)}")
    return f"tick {latest.sequence}, {age.total_seconds():.1f} s old"


def _dead_letters(context: Context) -> str:
    waiting = dead_letters.count_open(database.connect(context.settings))
    if waiting:
        raise _UnhealthyError(f"{waiting} dead letters wait for replay_dead_letters")
    return "none"


def _chain(context: Context, chain_id: int) -> str:
    head = blocks.head_number(rpc.connect(context.settings, chain_id))
    known = chain_cursors.find(database.connect(context.settings), chain_id)
    if known is None:
        raise _UnhealthyError(f"nothing has been relayed; the head is block {head}")
    progress, _ = known
    if progress.halted is not None:
        raise _UnhealthyError(f"relay is halted: {progress.halted}")
    figures = chain_sync.find(database.connect(context.settings), chain_id)
    if figures is not None and figures.unreadable is not None:
        raise _UnhealthyError(f"the next blocks cannot be read: {figures.unreadable}")
    behind = head - context.network.chains[chain_id].confirmations - progress.block_number
    if behind > _MAX_BLOCKS_BEHIND:
        raise _UnhealthyError(f"relay is {behind} blocks behind the head at {head}")
    return f"head {head}, relay {max(behind, 0)} blocks behind"


def _positions(context: Context, chain_id: int) -> str:
    client = database.connect(context.settings)
    differing = position_differences.count_announced(client, chain_id)
    if differing:
        raise _UnhealthyError(f"{differing} positions are not what the vault has")
    known = reconciliations.find(client, chain_id)
    if known is None:
        return "nothing has been compared with the vault yet"
    begun_at, block, at = known[0].began_at, known[0].completed_block, known[0].completed_at
    if clock.now() - (at or begun_at) > _RECONCILED_WITHIN:
        since = "never" if at is None else f"last at {at:%Y-%m-%d %H:%M} UTC"
        raise _UnhealthyError(f"all positions were {since} compared with the vault: see reconcile_positions")
    return f"the vault's at block {block}" if block is not None else "the first comparison is under way"
