"""From the fields of the escrow factory's logs to settlement events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.domain.dvp import DvpRole
from shared.domain.escrows import EscrowRole, ReleasePolicy
from shared.domain.network import NATIVE_ASSET, Chain
from shared.errors import TerminalError
from shared.events.settlement import (
    AnyContractEvent,
    DvpCreated,
    DvpDeposited,
    DvpRefunded,
    DvpSettled,
    DvpWithdrawn,
    EscrowApproved,
    EscrowArbiterChanged,
    EscrowArbiterProposed,
    EscrowCreated,
    EscrowDisputed,
    EscrowRefunded,
    EscrowReleased,
    EscrowResolved,
    EscrowWithdrawn,
)

Builder = Callable[[Chain, dict[str, Any], dict[str, Any]], AnyContractEvent]
"""An event from its chain, where it stands, and the fields of its log."""

# The numbers of IEscrowFactory: an escrow's roles, a delivery-versus-payment escrow's, ApprovalPolicy.
_ROLES = {1: EscrowRole.PAYER, 2: EscrowRole.PAYEE, 4: EscrowRole.ARBITER}
_DVP_ROLES = {1: DvpRole.SELLER, 2: DvpRole.BUYER}
_POLICIES = {
    0: ReleasePolicy.PAYER,
    1: ReleasePolicy.PAYER_AND_ARBITER,
    2: ReleasePolicy.TWO_OF_THREE,
}
# Solidity's address(0) where nobody is meant.
_NOBODY = NATIVE_ASSET


def named(values: Mapping[int, Any], number: int, field: str) -> Any:
    """What a number of a contract's enumeration stands for.

    Raises:
        TerminalError: nothing, naming the field.
    """
    if number not in values:
        raise TerminalError(f"{number} is none of {sorted(values)}", field=field)
    return values[number]


def _role(fields: dict[str, Any]) -> EscrowRole:
    role: EscrowRole = named(_ROLES, fields["role"], "role")
    return role


def _dvp_role(fields: dict[str, Any], field: str = "role") -> DvpRole:
    role: DvpRole = named(_DVP_ROLES, fields[field], field)
    return role


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _asset(chain: Chain, address: str) -> tuple[str | None, int | None]:
    """Symbol and decimals of a listed token. Anyone may escrow any: one that is not listed has neither."""
    token = chain.tokens.get(address)
    return (None, None) if token is None else (token.asset, token.decimals)


def _subject(place: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {**place, "escrow": fields["escrow"], "step": fields["step"]}


def _escrow_created(chain: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowCreated:
    asset, decimals = _asset(chain, fields["asset"])
    return EscrowCreated(
        **_subject(place, fields),
        payer=fields["payer"],
        payee=fields["payee"],
        arbiter=fields["arbiter"],
        asset=asset,
        asset_address=fields["asset"],
        decimals=decimals,
        amount_base=fields["amount"],
        release_time=_time(fields["releaseTime"]),
        refund_time=_time(fields["refundTime"]),
        dispute_window_s=fields["disputeWindowS"],
        policy=named(_POLICIES, fields["policy"], "policy"),
    )


def _escrow_approved(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowApproved:
    return EscrowApproved(**_subject(place, fields), role=_role(fields), approver=fields["approver"])


def _escrow_arbiter_proposed(
    _: Chain, place: dict[str, Any], fields: dict[str, Any]
) -> EscrowArbiterProposed:
    candidate = fields["proposedArbiter"]
    return EscrowArbiterProposed(
        **_subject(place, fields),
        role=_role(fields),
        candidate=None if candidate == _NOBODY else candidate,
    )


def _escrow_arbiter_changed(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowArbiterChanged:
    return EscrowArbiterChanged(
        **_subject(place, fields), previous_arbiter=fields["previousArbiter"], arbiter=fields["arbiter"]
    )


def _escrow_disputed(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowDisputed:
    return EscrowDisputed(
        **_subject(place, fields), role=_role(fields), deadline=_time(fields["disputeDeadline"])
    )


def _escrow_resolved(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowResolved:
    return EscrowResolved(
        **_subject(place, fields),
        payee_share_bps=fields["payeeShareBps"],
        payee_amount_base=fields["payeeAmount"],
        payer_amount_base=fields["payerAmount"],
    )


def _escrow_released(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowReleased:
    return EscrowReleased(**_subject(place, fields), payee=fields["payee"], amount_base=fields["amount"])


def _escrow_refunded(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowRefunded:
    return EscrowRefunded(**_subject(place, fields), payer=fields["payer"], amount_base=fields["amount"])


def _escrow_withdrawn(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> EscrowWithdrawn:
    return EscrowWithdrawn(
        **_subject(place, fields),
        role=_role(fields),
        beneficiary=fields["beneficiary"],
        recipient=fields["recipient"],
        amount_base=fields["amount"],
    )


def _dvp_created(chain: Chain, place: dict[str, Any], fields: dict[str, Any]) -> DvpCreated:
    delivery_asset, delivery_decimals = _asset(chain, fields["deliveryAsset"])
    payment_asset, payment_decimals = _asset(chain, fields["paymentAsset"])
    return DvpCreated(
        **_subject(place, fields),
        seller=fields["seller"],
        buyer=fields["buyer"],
        delivery_asset=delivery_asset,
        delivery_asset_address=fields["deliveryAsset"],
        delivery_decimals=delivery_decimals,
        delivery_amount_base=fields["deliveryAmount"],
        payment_asset=payment_asset,
        payment_asset_address=fields["paymentAsset"],
        payment_decimals=payment_decimals,
        payment_amount_base=fields["paymentAmount"],
        deadline=_time(fields["deadline"]),
    )


def _dvp_deposited(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> DvpDeposited:
    return DvpDeposited(
        **_subject(place, fields),
        role=_dvp_role(fields),
        depositor=fields["depositor"],
        asset_address=fields["asset"],
        amount_base=fields["amount"],
    )


def _dvp_settled(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> DvpSettled:
    return DvpSettled(**_subject(place, fields))


def _dvp_refunded(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> DvpRefunded:
    return DvpRefunded(**_subject(place, fields), role=_dvp_role(fields, "depositedRoles"))


def _dvp_withdrawn(_: Chain, place: dict[str, Any], fields: dict[str, Any]) -> DvpWithdrawn:
    return DvpWithdrawn(
        **_subject(place, fields),
        role=_dvp_role(fields),
        beneficiary=fields["beneficiary"],
        recipient=fields["recipient"],
        asset_address=fields["asset"],
        amount_base=fields["amount"],
    )


BUILDERS: Mapping[str, Builder] = {
    "EscrowCreated": _escrow_created,
    "EscrowApproved": _escrow_approved,
    "EscrowArbiterProposed": _escrow_arbiter_proposed,
    "EscrowArbiterChanged": _escrow_arbiter_changed,
    "EscrowDisputed": _escrow_disputed,
    "EscrowResolved": _escrow_resolved,
    "EscrowReleased": _escrow_released,
    "EscrowRefunded": _escrow_refunded,
    "EscrowWithdrawn": _escrow_withdrawn,
    "DvpCreated": _dvp_created,
    "DvpDeposited": _dvp_deposited,
    "DvpSettled": _dvp_settled,
    "DvpRefunded": _dvp_refunded,
    "DvpWithdrawn": _dvp_withdrawn,
}
"""By the events' names in ``contracts/src/EscrowJournal.sol``."""
