"""From announced events to the steps that the rules know."""

from __future__ import annotations

from shared.domain import dvp, escrows
from shared.events.settlement import (
    AnyDvpEvent,
    AnyEscrowEvent,
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


def escrow_step(event: AnyEscrowEvent) -> escrows.EscrowStep:
    """The step of an escrow's event."""
    step: escrows.EscrowStep
    match event:
        case EscrowCreated():
            step = escrows.Created(
                payer=event.payer,
                payee=event.payee,
                arbiter=event.arbiter,
                asset=event.asset,
                asset_address=event.asset_address,
                decimals=event.decimals,
                amount_base=event.amount_base,
                release_time=event.release_time,
                refund_time=event.refund_time,
                dispute_window_s=event.dispute_window_s,
                policy=event.policy,
            )
        case EscrowApproved():
            step = escrows.Approved(event.role, event.approver)
        case EscrowArbiterProposed():
            step = escrows.ArbiterProposed(event.role, event.candidate)
        case EscrowArbiterChanged():
            step = escrows.ArbiterChanged(event.previous_arbiter, event.arbiter)
        case EscrowDisputed():
            step = escrows.Disputed(event.role, event.deadline)
        case EscrowResolved():
            step = escrows.Resolved(event.payee_share_bps, event.payee_amount_base, event.payer_amount_base)
        case EscrowReleased():
            step = escrows.Released(event.payee, event.amount_base)
        case EscrowRefunded():
            step = escrows.Refunded(event.payer, event.amount_base)
        case EscrowWithdrawn():
            step = escrows.Withdrawn(event.role, event.beneficiary, event.amount_base)
    return step


def dvp_step(event: AnyDvpEvent) -> dvp.DvpStep:
    """The step of a delivery-versus-payment escrow's event."""
    match event:
        case DvpCreated():
            return dvp.DvpCreated(
                seller=event.seller,
                buyer=event.buyer,
                delivery_asset=event.delivery_asset,
                delivery_asset_address=event.delivery_asset_address,
                delivery_decimals=event.delivery_decimals,
                delivery_amount_base=event.delivery_amount_base,
                payment_asset=event.payment_asset,
                payment_asset_address=event.payment_asset_address,
                payment_decimals=event.payment_decimals,
                payment_amount_base=event.payment_amount_base,
                deadline=event.deadline,
            )
        case DvpDeposited():
            return dvp.DvpDeposited(event.role, event.depositor, event.asset_address, event.amount_base)
        case DvpSettled():
            return dvp.DvpSettled()
        case DvpRefunded():
            return dvp.DvpRefunded(event.role)
        case DvpWithdrawn():
            return dvp.DvpWithdrawn(event.role, event.beneficiary, event.asset_address, event.amount_base)
