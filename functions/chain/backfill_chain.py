"""Announces the events of past blocks again, on an operator's request.

Trigger: HTTP, for operators; body ``{"chain_id": 1, "first_block": 5, "last_block": 9, "operator": "...",
"reason": "..."}``.
Reads: ``chain_cursors``; the blocks, from the chain.
Writes: ``outbox``.
Publishes: ``settlement.events.v1``, under the ids and revisions that the events had;
``settlement.finalized.v1``, of blocks whose events were announced there;
``alerts.operations.v1``, which keeps who did it and why.

The cursor is not touched: only blocks that the relay has passed can be announced again. Consumers ignore
what they know.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.domain.margin import Severity
from shared.errors import RetryableError, TerminalError
from shared.events import topics
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.relay.announcing import ordering_key
from shared.runtime.relay.chain_relay import ChainRelay
from shared.runtime.relay.sighting import look
from shared.runtime.triggers import Request, Response, http_function
from shared.stores import chain_cursors, database, outbox

_MAX_BLOCKS = 10_000
# Each may be announced on two topics.
_EVENTS_PER_COMMIT = 200


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    chain_id: int
    first_block: Annotated[int, Field(ge=0)]
    last_block: Annotated[int, Field(ge=0)]
    operator: Annotated[str, Field(min_length=1, max_length=200)]
    reason: Annotated[str, Field(min_length=1, max_length=1_000)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 <= self.last_block - self.first_block < _MAX_BLOCKS:
            raise ValueError(f"last_block must be first_block or up to {_MAX_BLOCKS - 1} blocks behind it")
        return self


@http_function(uses=("firestore", "pubsub"), settings=("NETWORK_FILE", "RPC_URLS"))
def backfill_chain(request: Request, context: Context) -> Response:
    """Announce the blocks' events again; says how many there are."""
    order = _parse(request.body)
    chain = context.network.chains.get(order.chain_id)
    if chain is None:
        raise TerminalError(f"no chain has the id {order.chain_id}", field="chain_id")
    client = database.connect(context.settings)
    known = chain_cursors.find(client, chain.chain_id)
    relayed = known[0].block_number if known is not None else chain.start_block - 1
    if known is None or order.last_block > relayed:
        raise TerminalError(f"the relay of {chain.name} is at block {relayed}", field="last_block")
    if order.first_block < chain.start_block:
        raise TerminalError(f"{chain.name} is relayed from block {chain.start_block}", field="first_block")
    progress, _ = known
    relay = ChainRelay(context, chain)
    view = look(relay.nodes, chain, progress)
    found = relay.read(view, order.first_block, order.last_block)
    for header in found.headers:
        if progress.hash_of(header.number) not in (None, header.hash):
            raise RetryableError(
                f"block {header.number} is being reorganised: let the relay take it back first"
            )
    events = [event for of_block in relay.decode(found, progress).values() for event in of_block]
    for start in range(0, len(events), _EVENTS_PER_COMMIT):
        commit = database.Commit(client, traceparent=context.traceparent)
        for event in events[start : start + _EVENTS_PER_COMMIT]:
            commit.announce(topics.SETTLEMENT_EVENTS, event, ordering_key=ordering_key(event))
            if event.block_number <= progress.verified_number:
                commit.announce(topics.FINALIZED_EVENTS, event, ordering_key=ordering_key(event))
        commit.apply()
        outbox.publish(client, publisher.connect(context.settings), commit.announced)
    _tell(context, order, chain.name, len(events))
    return Response({"events": len(events)})


def _parse(body: Any) -> _Order:
    try:
        return _Order.model_validate({} if body is None else body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise TerminalError(first["msg"], field=".".join(map(str, first["loc"])) or "body") from error


def _tell(context: Context, order: _Order, chain_name: str, events: int) -> None:
    client = database.connect(context.settings)
    kind = OperationsAlertKind.CHAIN_BACKFILLED
    commit = database.Commit(client, traceparent=context.traceparent)
    commit.announce(
        topics.OPERATIONS_ALERTS,
        OperationsAlert(
            event_id=f"{kind}:{order.chain_id}:{context.invocation_id}",
            kind=kind,
            subject=chain_name,
            severity=Severity.MEDIUM,
            message=(
                f"{events} events of blocks {order.first_block} to {order.last_block} of {chain_name} were "
                f"announced again: {order.reason}"
            ),
            details={
                "chain_id": str(order.chain_id),
                "first_block": str(order.first_block),
                "last_block": str(order.last_block),
                "operator": order.operator,
                "reason": order.reason,
            },
            as_of=clock.now(),
        ),
    )
    commit.apply()
    outbox.publish(client, publisher.connect(context.settings), commit.announced)
