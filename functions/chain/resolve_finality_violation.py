"""Lets a halted chain go on, on an operator's request and only where every node says the same.

Trigger: HTTP, for operators; body ``{"chain_id": 1, "operator": "...", "reason": "...",
"accept_reorganisation": false}``.
Reads: ``chain_cursors``; the chain, from every node.
Writes: ``chain_cursors``.
Publishes: ``alerts.operations.v1``, which keeps who did it and why.

Where every node has the block that was announced, the relay goes on where it stood. Where every node has the
same other chain, the operator must accept it; the relay then retracts what is gone, as in any
reorganisation. Anything else changes nothing.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.domain.chain_progress import ChainProgress
from shared.domain.margin import Severity
from shared.errors import ConflictError, RetryableError, TerminalError
from shared.events import topics
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.relay.chain_relay import ChainRelay
from shared.runtime.relay.sighting import Sight, Standing, ask, common_ancestor
from shared.runtime.triggers import Request, Response, http_function
from shared.stores import chain_cursors, database, outbox


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    chain_id: int
    operator: Annotated[str, Field(min_length=1, max_length=200)]
    reason: Annotated[str, Field(min_length=1, max_length=1_000)]
    accept_reorganisation: bool = False


@http_function(uses=("firestore", "pubsub"), settings=("NETWORK_FILE", "RPC_URLS"))
def resolve_finality_violation(request: Request, context: Context) -> Response:
    """Check, and let the chain go on; says from which block."""
    order = _parse(request.body)
    chain = context.network.chains.get(order.chain_id)
    if chain is None:
        raise TerminalError(f"no chain has the id {order.chain_id}", field="chain_id")
    client = database.connect(context.settings)
    known = chain_cursors.find(client, chain.chain_id)
    if known is None or known[0].halted is None:
        raise TerminalError(f"the relay of {chain.name} is not halted", field="chain_id")
    progress, read_at = known
    relay = ChainRelay(context, chain)
    sights = [_ask(relay, provider, progress) for provider in relay.nodes.providers]
    ancestor = _agreed_ancestor(sights, progress)
    if ancestor < progress.block_number and not order.accept_reorganisation:
        raise TerminalError(
            f"every node has another chain behind block {ancestor}; what was announced of the "
            f"{progress.block_number - ancestor} blocks behind it would be retracted",
            field="accept_reorganisation",
        )
    commit = database.Commit(client, traceparent=context.traceparent)
    commit.replace(
        chain_cursors.path(chain.chain_id),
        chain_cursors.encode(progress.reopened(ancestor)),
        read_at=read_at,
    )
    kind = OperationsAlertKind.FINALITY_RESTORED
    commit.announce(
        topics.OPERATIONS_ALERTS,
        OperationsAlert(
            event_id=f"{kind}:{chain.chain_id}:{progress.block_hash}:{context.invocation_id}",
            kind=kind,
            subject=chain.name,
            severity=Severity.HIGH,
            message=f"Relay of {chain.name} goes on from block {ancestor}: {order.reason}",
            details={
                "chain_id": str(chain.chain_id),
                "operator": order.operator,
                "reason": order.reason,
                "ancestor": str(ancestor),
                "announced": str(progress.block_number),
                "nodes": str(len(sights)),
            },
            as_of=clock.now(),
        ),
    )
    try:
        commit.apply()
    except ConflictError as error:
        raise RetryableError(f"the cursor of {chain.name} changed meanwhile: {error}") from error
    outbox.publish(client, publisher.connect(context.settings), commit.announced)
    return Response({"goes_on_from": ancestor, "retracts_blocks": progress.block_number - ancestor})


def _parse(body: Any) -> _Order:
    try:
        return _Order.model_validate({} if body is None else body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise TerminalError(first["msg"], field=".".join(map(str, first["loc"])) or "body") from error


def _ask(relay: ChainRelay, provider: Any, progress: ChainProgress) -> Sight:
    try:
        return ask(provider, relay.chain, progress)
    except RetryableError as error:
        raise RetryableError(f"every node must answer, and {provider.name} does not: {error}") from error


def _agreed_ancestor(sights: list[Sight], progress: ChainProgress) -> int:
    """The last announced block that every node has.

    Raises:
        TerminalError: the nodes do not agree, or have nothing in common with what was announced.
    """
    standings = {sight.standing for sight in sights}
    if standings == {Standing.EXTENDS}:
        return progress.block_number
    if standings != {Standing.DIFFERS}:
        shown = ", ".join(f"{sight.provider.name} {sight.standing}" for sight in sights)
        raise TerminalError(f"the nodes do not agree: {shown}", field="chain_id")
    ancestors = {common_ancestor(sight, progress) for sight in sights}
    ancestor = ancestors.pop()
    if ancestors or ancestor is None:
        raise TerminalError(
            f"the nodes share no block with what was announced since block {progress.first_known}, or not "
            "the same one: repair by hand, docs/runbooks/finality-violated.md",
            field="chain_id",
        )
    return ancestor
