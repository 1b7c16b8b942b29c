"""What operators are told about a chain. An alert's id is its condition's, so saying it again tells nobody
twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from shared.chain.blocks import Log
from shared.chain.completeness import Difference
from shared.domain.chain_progress import ChainProgress
from shared.domain.margin import Severity
from shared.domain.network import Chain
from shared.errors import TerminalError
from shared.events import topics
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.stores import database, outbox


def finality_violated(commit: database.Commit, chain: Chain, progress: ChainProgress, reason: str) -> None:
    """Announced in the commit that halts the chain."""
    kind = OperationsAlertKind.FINALITY_VIOLATED
    commit.announce(
        topics.OPERATIONS_ALERTS,
        OperationsAlert(
            event_id=f"{kind}:{chain.chain_id}:{progress.block_hash}",
            kind=kind,
            subject=chain.name,
            severity=Severity.CRITICAL,
            message=f"Relay of {chain.name} is halted: {reason}. Compare the nodes before going on.",
            details={"chain_id": str(chain.chain_id), "finality": str(chain.finality)},
            as_of=clock.now(),
        ),
    )


def log_not_understood(
    context: Context, chain: Chain, log: Log, block_time: int, error: TerminalError
) -> None:
    """A log of ours cannot be decoded, and holds the chain up."""
    kind = OperationsAlertKind.LOG_NOT_UNDERSTOOD
    place = f"log {log['logIndex']} of block {log['blockNumber']}"
    _say(
        context,
        OperationsAlert(
            event_id=f"{kind}:{chain.chain_id}:{log['blockHash']}:{log['logIndex']}",
            kind=kind,
            subject=chain.name,
            severity=Severity.CRITICAL,
            message=f"Relay of {chain.name} waits at {place}, which it cannot decode: {error}",
            details={"chain_id": str(chain.chain_id), "transaction": str(log["transactionHash"])},
            as_of=datetime.fromtimestamp(block_time, UTC),
        ),
    )


def logs_incomplete(context: Context, chain: Chain, differences: Sequence[Difference]) -> None:
    """A provider gave other logs than there are; what was missing is announced. Said once an hour each."""
    kind = OperationsAlertKind.LOGS_INCOMPLETE
    now = clock.now()
    for provider in sorted({difference.provider for difference in differences}):
        of_provider = [difference for difference in differences if difference.provider == provider]
        missing = sum(len(difference.missing) for difference in of_provider)
        invented = sum(len(difference.invented) for difference in of_provider)
        first = of_provider[0]
        _say(
            context,
            OperationsAlert(
                event_id=f"{kind}:{chain.chain_id}:{provider}:{now:%Y-%m-%dT%H}",
                kind=kind,
                subject=chain.name,
                severity=Severity.HIGH,
                message=(
                    f"{provider} of {chain.name} left out {missing} logs and invented {invented}, first in "
                    f"block {first.block_number}. This was repaired; replace the provider if it goes on."
                ),
                details={
                    "chain_id": str(chain.chain_id),
                    "provider": provider,
                    "block": str(first.block_number),
                    "missing": str(missing),
                    "invented": str(invented),
                },
                as_of=now,
            ),
        )


def history_pruned(context: Context, chain: Chain, first: int, reason: str) -> None:
    """No provider has the next blocks, and the chain waits for one that does."""
    kind = OperationsAlertKind.HISTORY_PRUNED
    _say(
        context,
        OperationsAlert(
            event_id=f"{kind}:{chain.chain_id}:{first}",
            kind=kind,
            subject=chain.name,
            severity=Severity.CRITICAL,
            message=(
                f"Relay of {chain.name} waits before block {first}, which no provider has any more. Add an "
                f"archive node to RPC_URLS. {reason[:500]}"
            ),
            details={"chain_id": str(chain.chain_id), "block": str(first)},
            as_of=clock.now(),
        ),
    )


def _say(context: Context, alert: OperationsAlert) -> None:
    client = database.connect(context.settings)
    commit = database.Commit(client, traceparent=context.traceparent)
    commit.announce(topics.OPERATIONS_ALERTS, alert)
    commit.apply()
    outbox.publish(client, publisher.connect(context.settings), commit.announced)
