"""Reads contract logs from every chain and announces them, missing none.

Trigger: every minute by Cloud Scheduler; looks every ``RELAY_INTERVAL_S`` while it holds its lease.
Reads: each chain's blocks and logs; ``chain_cursors``.
Writes: ``chain_cursors``, in the same commit as the announcements.
Publishes: ``settlement.events.v1``; ``alerts.operations.v1`` when finality is violated.

The cursor only ever moves over blocks whose logs were announced, one slice behind the other, however far
behind it is. A slice must build on the block that the cursor stands on; where it does not, a block that had
the chain's confirmations has vanished, and the chain is halted until a person has looked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from shared.chain import blocks, contract_events, rpc
from shared.domain.margin import Severity
from shared.domain.network import Chain
from shared.errors import RetryableError, TerminalError
from shared.events import topics
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.events.settlement import PositionChanged
from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.runtime.window import tick_under_lease
from shared.stores import chain_cursors, database, outbox

_log = logging.getLogger(__name__)


@http_function(
    uses=("firestore", "pubsub"),
    settings=("NETWORK_FILE", "RPC_URLS", "RELAY_INTERVAL_S", "WINDOW_S"),
)
def relay_chain_events(_request: Request, context: Context) -> Response:
    """Relay until the window ends."""
    looked = tick_under_lease(
        database.connect(context.settings),
        context,
        interval_s=context.settings.relay_interval_s,
        begin=lambda: _begin(context),
    )
    return Response({"looks": looked})


def _begin(context: Context) -> Callable[[], bool]:
    ranges = {chain.chain_id: chain.block_range for chain in context.network.chains.values()}

    def step() -> bool:
        failures: list[str] = []
        behind = False
        for chain in context.network.chains.values():
            try:
                behind |= relay_slice(context, chain, ranges[chain.chain_id])
                ranges[chain.chain_id] = min(chain.block_range, ranges[chain.chain_id] * 2)
            except blocks.RangeRefusedError as error:
                ranges[chain.chain_id] = max(1, ranges[chain.chain_id] // 2)
                _log.info("asking for fewer blocks", extra={"chain": chain.name, "reason": str(error)})
                behind = True
            except RetryableError as error:
                failures.append(f"{chain.name}: {error}")
        if failures:
            raise RetryableError("; ".join(failures))
        return behind

    return step


def relay_slice(context: Context, chain: Chain, block_range: int) -> bool:
    """Announce the next slice of a chain; True if there is more to read.

    Raises:
        RetryableError: the chain's nodes or Firestore failed, or a log cannot be decoded; the cursor has
            not moved, for it may not skip anything.
    """
    client = database.connect(context.settings)
    node = rpc.connect(context.settings, chain.chain_id)
    known = chain_cursors.find(client, chain.chain_id)
    cursor, read_at = known if known is not None else (None, None)
    if cursor is not None and cursor.halted is not None:
        return False
    first = chain.start_block if cursor is None else cursor.block_number + 1
    target = blocks.head_number(node) - chain.confirmations
    if target < first:
        return False
    last = min(target, first + block_range - 1)
    found = blocks.read_slice(
        node, (chain.vault, chain.escrow_factory), contract_events.announced_topics(), first, last
    )
    if cursor is not None and found.first.parent_hash != cursor.block_hash:
        _halt(context, chain, cursor, read_at, found.first.parent_hash)
        return False
    events = [_decode(context, chain, log, found.times[log["blockHash"]]) for log in found.logs]
    for batch, reached in batches(events, found.last):
        commit = database.Commit(client, traceparent=context.traceparent)
        index: int | None = None
        if reached is not None:
            number, block_hash = reached
            moved = chain_cursors.ChainCursor(chain.chain_id, number, block_hash, halted=None)
            index = commit.replace(
                chain_cursors.path(chain.chain_id), chain_cursors.encode(moved), read_at=read_at
            )
        for event in batch:
            subject = event.account_id if isinstance(event, PositionChanged) else event.escrow
            commit.announce(topics.SETTLEMENT_EVENTS, event, ordering_key=f"{chain.chain_id}:{subject}")
        commit.apply()
        if index is not None:
            read_at = commit.update_time(index)
        outbox.publish(client, publisher.connect(context.settings), commit.announced)
    return last < target


def _decode(
    context: Context, chain: Chain, log: Mapping[str, Any], block_time: int
) -> contract_events.ContractLogEvent:
    try:
        return contract_events.decode_log(chain, log, block_time)
    except TerminalError as error:
        place = f"log {log['logIndex']} of block {log['blockNumber']}"
        _alert(
            context,
            OperationsAlert(
                event_id=(
                    f"{OperationsAlertKind.LOG_NOT_UNDERSTOOD}:{chain.chain_id}:{log['blockHash']}:{log['logIndex']}"
                ),
                kind=OperationsAlertKind.LOG_NOT_UNDERSTOOD,
                subject=chain.name,
                severity=Severity.CRITICAL,
                message=f"Relay of {chain.name} waits at {place}, which it cannot decode: {error}",
                details={"chain_id": str(chain.chain_id), "transaction": str(log["transactionHash"])},
                as_of=datetime.fromtimestamp(block_time, UTC),
            ),
        )
        raise RetryableError(f"{place} cannot be decoded: {error}") from error


def _alert(context: Context, alert: OperationsAlert) -> None:
    """Announce an alert on its own; its id is the condition's, so saying it again tells nobody twice."""
    client = database.connect(context.settings)
    commit = database.Commit(client, traceparent=context.traceparent)
    commit.announce(topics.OPERATIONS_ALERTS, alert)
    commit.apply()
    outbox.publish(client, publisher.connect(context.settings), commit.announced)


def batches(
    events: Sequence[contract_events.ContractLogEvent], last: blocks.Block
) -> Iterator[tuple[Sequence[contract_events.ContractLogEvent], tuple[int, str] | None]]:
    """The events of a slice, in chain order, in batches that one commit takes.

    Each comes with the number and hash of the block that it completes; the last one with those of ``last``. A
    block with more events than a commit takes is cut, and completed by its last part: until then a crash
    announces its events again, with the same ids.
    """
    size = database.MAX_WRITES - 1
    batch: list[contract_events.ContractLogEvent] = []
    for _, block in groupby(events, key=lambda event: event.block_number):
        of_block = list(block)
        if batch and len(batch) + len(of_block) > size:
            yield batch, (batch[-1].block_number, batch[-1].block_hash)
            batch = []
        while len(of_block) > size:
            yield of_block[:size], None
            of_block = of_block[size:]
        batch += of_block
    yield batch, (last.number, last.hash)


def _halt(
    context: Context,
    chain: Chain,
    cursor: chain_cursors.ChainCursor,
    read_at: object,
    seen_hash: str,
) -> None:
    client = database.connect(context.settings)
    reason = (
        f"block {cursor.block_number} was announced as {cursor.block_hash}, "
        f"but the chain now builds on {seen_hash}"
    )
    commit = database.Commit(client, traceparent=context.traceparent)
    halted = replace(cursor, halted=reason)
    commit.replace(chain_cursors.path(chain.chain_id), chain_cursors.encode(halted), read_at=read_at)
    alert = OperationsAlert(
        event_id=f"{OperationsAlertKind.FINALITY_VIOLATED}:{chain.chain_id}:{cursor.block_hash}",
        kind=OperationsAlertKind.FINALITY_VIOLATED,
        subject=chain.name,
        severity=Severity.CRITICAL,
        message=f"Relay of {chain.name} is halted: {reason}. Compare the nodes before going on.",
        details={"chain_id": str(chain.chain_id), "confirmations": str(chain.confirmations)},
        as_of=clock.now(),
    )
    commit.announce(topics.OPERATIONS_ALERTS, alert)
    commit.apply()
    _log.error("finality violated, relay halted", extra={"chain": chain.name, "reason": reason})
    outbox.publish(client, publisher.connect(context.settings), commit.announced)
