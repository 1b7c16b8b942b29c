"""From logs of our contracts to settlement events.

The layouts come from the committed ABIs; a test holds those equal to the compiled sources.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.chain.abi import EventLayout, event_layouts
from shared.chain.rpc import quantity
from shared.domain.escrows import EscrowRole, ReleasePolicy
from shared.domain.network import Chain, Token
from shared.domain.positions import PositionAction
from shared.errors import TerminalError
from shared.events.settlement import (
    AnyEscrowEvent,
    EscrowApproved,
    EscrowCreated,
    EscrowRefunded,
    EscrowReleased,
    EscrowWithdrawn,
    PositionChanged,
    contract_event_id,
)

_ABI_FOLDER = Path(__file__).parents[2] / "contracts" / "abi"
_ANNOUNCED = (
    "PositionChanged",
    "EscrowCreated",
    "EscrowApproved",
    "EscrowReleased",
    "EscrowRefunded",
    "EscrowWithdrawn",
)

# The numbers of Vault.PositionChange, EscrowFactory's roles and IEscrowFactory.ApprovalPolicy.
_ACTIONS = {
    1: PositionAction.DEPOSIT,
    2: PositionAction.WITHDRAW,
    3: PositionAction.BORROW,
    4: PositionAction.REPAY,
}
_ROLES = {1: EscrowRole.PAYER, 2: EscrowRole.PAYEE, 4: EscrowRole.ARBITER}
_POLICIES = {
    0: ReleasePolicy.PAYER,
    1: ReleasePolicy.PAYER_AND_ARBITER,
    2: ReleasePolicy.TWO_OF_THREE,
}

ContractLogEvent = PositionChanged | AnyEscrowEvent


@lru_cache(maxsize=1)
def _layouts() -> dict[str, EventLayout]:
    layouts: dict[str, EventLayout] = {}
    for contract in ("Vault", "EscrowFactory"):
        abi = json.loads((_ABI_FOLDER / f"{contract}.json").read_bytes())
        layouts.update(
            {topic: layout for topic, layout in event_layouts(abi).items() if layout.name in _ANNOUNCED}
        )
    return layouts


def announced_topics() -> list[str]:
    """First topics of the events that are relayed: the filter of every log request."""
    return sorted(_layouts())


def emitters(chain: Chain) -> tuple[str, ...]:
    """The contracts of a chain that report events; escrows report through their factory."""
    return (chain.vault, chain.escrow_factory)


def decode_log(chain: Chain, log: Mapping[str, Any], block_time: int, revision: int = 0) -> ContractLogEvent:
    """The settlement event of a log, as a node's JSON gives it, announced at the chain's ``revision``.

    Raises:
        TerminalError: the log is not one of our contracts' as this chain's description lists them.
    """
    layout = _layouts().get(log["topics"][0])
    if layout is None:
        raise TerminalError(f"the topic {log['topics'][0]} is not one of our events", field="topics.0")
    fields = layout.decode(log["topics"], log["data"])
    log_index = quantity(log["logIndex"])
    place: dict[str, Any] = {
        "event_id": contract_event_id(chain.chain_id, log["blockHash"], log_index),
        "chain_id": chain.chain_id,
        "block_number": quantity(log["blockNumber"]),
        "block_hash": log["blockHash"],
        "block_time": datetime.fromtimestamp(block_time, UTC),
        "transaction_hash": log["transactionHash"],
        "log_index": log_index,
        "revision": revision,
        "contract": log["address"].lower(),
    }
    try:
        return _BUILDERS[layout.name](chain, place, fields)
    except ValidationError as error:
        raise TerminalError(f"{layout.name} at {place['event_id']}: {error}") from error


def _token(chain: Chain, address: str) -> Token:
    token = chain.tokens.get(address)
    if token is None:
        raise TerminalError(
            f"token {address} of chain {chain.chain_id} is not in the network description: add it",
            field="asset",
        )
    return token


def _named(values: Mapping[int, Any], number: int, field: str) -> Any:
    if number not in values:
        raise TerminalError(f"{number} is none of {sorted(values)}", field=field)
    return values[number]


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _position_changed(chain: Chain, place: dict[str, Any], fields: dict[str, Any]) -> PositionChanged:
    token = _token(chain, fields["asset"])
    return PositionChanged(
        **place,
        account_id=fields["account"],
        asset=token.asset,
        asset_address=token.address,
        decimals=token.decimals,
        sequence=fields["sequence"],
        action=_named(_ACTIONS, fields["kind"], "kind"),
        amount_base=fields["amount"],
        collateral_base=fields["collateralAfter"],
        debt_base=fields["debtAfter"],
    )


def _escrow_created(chain: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowCreated:
    token = _token(chain, fields["asset"])
    return EscrowCreated(
        **place,
        escrow=fields["escrow"],
        step=fields["step"],
        payer=fields["payer"],
        payee=fields["payee"],
        arbiter=fields["arbiter"],
        asset=token.asset,
        asset_address=token.address,
        decimals=token.decimals,
        amount_base=fields["amount"],
        release_time=_time(fields["releaseTime"]),
        refund_time=_time(fields["refundTime"]),
        policy=_named(_POLICIES, fields["policy"], "policy"),
    )


def _escrow_approved(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowApproved:
    return EscrowApproved(
        **place,
        escrow=fields["escrow"],
        step=fields["step"],
        role=_named(_ROLES, fields["role"], "role"),
        approver=fields["approver"],
    )


def _escrow_released(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowReleased:
    return EscrowReleased(
        **place,
        escrow=fields["escrow"],
        step=fields["step"],
        payee=fields["payee"],
        amount_base=fields["amount"],
    )


def _escrow_refunded(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowRefunded:
    return EscrowRefunded(
        **place,
        escrow=fields["escrow"],
        step=fields["step"],
        payer=fields["payer"],
        amount_base=fields["amount"],
    )


def _escrow_withdrawn(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowWithdrawn:
    return EscrowWithdrawn(
        **place,
        escrow=fields["escrow"],
        step=fields["step"],
        recipient=fields["recipient"],
        amount_base=fields["amount"],
    )


_BUILDERS: Mapping[str, Callable[[Chain, dict[str, Any], dict[str, Any]], ContractLogEvent]] = {
    "PositionChanged": _position_changed,
    "EscrowCreated": _escrow_created,
    "EscrowApproved": _escrow_approved,
    "EscrowReleased": _escrow_released,
    "EscrowRefunded": _escrow_refunded,
    "EscrowWithdrawn": _escrow_withdrawn,
}
