"""Valid messages of what contracts report, for tests that publish or spoil them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from shared.domain.dvp import DvpRole
from shared.domain.escrows import EscrowRole, ReleasePolicy
from shared.domain.interest import RAY
from shared.domain.positions import PositionAction
from shared.events.settlement import (
    AnyContractEvent,
    DvpCreated,
    DvpDeposited,
    DvpSettled,
    EscrowApproved,
    EscrowCreated,
    EscrowDisputed,
    EscrowRefunded,
    EscrowReleased,
    EscrowResolved,
    EscrowWithdrawn,
    EventRetracted,
    MarketChanged,
    PositionChanged,
    contract_event_id,
    retraction_id,
)
from tests.messages import ARBITER, CHAIN_ID, DECIMALS, PAYEE, PAYER, now


def place(number: int, block_time: datetime | None = None) -> dict[str, Any]:
    """Where a contract reported something: in the first log of a block, now unless told otherwise."""
    block_hash = f"0x{number:064x}"
    return {
        "event_id": contract_event_id(CHAIN_ID, block_hash, 0),
        "chain_id": CHAIN_ID,
        "block_number": number,
        "block_hash": block_hash,
        "block_time": block_time or now(),
        "transaction_hash": block_hash,
        "log_index": 0,
        "revision": 0,
        "contract": "0x" + "aa" * 20,
    }


def position_changed(
    account_id: str,
    sequence: int,
    *,
    asset: str = "ETH",
    collateral_base: int = 10**18,
    debt_base: int = 0,
    amount_base: int = 1,
    chain_id: int = CHAIN_ID,
    action: PositionAction = PositionAction.DEPOSIT,
    block_time: datetime | None = None,
) -> PositionChanged:
    """An account's balances in one asset after its ``sequence``-th event."""
    reported = place(sequence, block_time) | {"chain_id": chain_id}
    return PositionChanged(
        **reported,
        account_id=account_id,
        asset=asset,
        asset_address="0x" + "01" * 20,
        decimals=DECIMALS[asset],
        sequence=sequence,
        action=action,
        amount_base=amount_base,
        collateral_base=collateral_base,
        debt_shares=debt_base,
        debt_base=debt_base,
        supply_shares=0,
        supplied_base=0,
        borrow_index=RAY,
    )


def market_changed(sequence: int, *, asset: str = "USDC", cash_base: int = 10**12) -> MarketChanged:
    """A market's books after its ``sequence``-th change, without interest."""
    return MarketChanged(
        **place(sequence),
        asset=asset,
        asset_address="0x" + "01" * 20,
        decimals=DECIMALS[asset],
        sequence=sequence,
        cash_base=cash_base,
        supply_shares=cash_base * 10**6,
        debt_shares=0,
        borrow_index=RAY,
        pending_reserves_base=0,
        reserves_base=0,
        rate_per_second=0,
        reserve_factor_bps=1_000,
    )


def retraction(event: AnyContractEvent, revision: int) -> EventRetracted:
    """The chain took an event back."""
    return EventRetracted(
        event_id=retraction_id(event.event_id, revision), revision=revision, retracted=event
    )


def escrow_created(
    escrow: str,
    *,
    payer: str = PAYER,
    amount_base: int = 10**18,
    policy: ReleasePolicy = ReleasePolicy.PAYER,
    block_time: datetime | None = None,
) -> EscrowCreated:
    """Step 1 of an escrow."""
    return EscrowCreated(
        **place(1, block_time),
        escrow=escrow,
        step=1,
        payer=payer,
        payee=PAYEE,
        arbiter=ARBITER,
        asset="ETH",
        asset_address="0x" + "00" * 20,
        decimals=18,
        amount_base=amount_base,
        release_time=datetime(2030, 1, 1, tzinfo=UTC),
        refund_time=datetime(2031, 1, 1, tzinfo=UTC),
        dispute_window_s=3_600,
        policy=policy,
    )


def escrow_approved(escrow: str, step: int = 2, *, block_time: datetime | None = None) -> EscrowApproved:
    """The payer approves the release."""
    return EscrowApproved(
        **place(step, block_time), escrow=escrow, step=step, role=EscrowRole.PAYER, approver=PAYER
    )


def escrow_released(escrow: str, step: int = 3, *, block_time: datetime | None = None) -> EscrowReleased:
    """The amount is the payee's."""
    return EscrowReleased(
        **place(step, block_time), escrow=escrow, step=step, payee=PAYEE, amount_base=10**18
    )


def escrow_refunded(escrow: str, step: int = 3, *, block_time: datetime | None = None) -> EscrowRefunded:
    """The amount is the payer's again."""
    return EscrowRefunded(
        **place(step, block_time), escrow=escrow, step=step, payer=PAYER, amount_base=10**18
    )


def escrow_withdrawn(escrow: str, step: int = 4, *, block_time: datetime | None = None) -> EscrowWithdrawn:
    """The payee has taken the amount out."""
    return EscrowWithdrawn(
        **place(step, block_time),
        escrow=escrow,
        step=step,
        role=EscrowRole.PAYEE,
        beneficiary=PAYEE,
        recipient=PAYEE,
        amount_base=10**18,
    )


def escrow_disputed(escrow: str, step: int = 2, *, block_time: datetime | None = None) -> EscrowDisputed:
    """The payee asks the arbiter to split."""
    return EscrowDisputed(
        **place(step, block_time),
        escrow=escrow,
        step=step,
        role=EscrowRole.PAYEE,
        deadline=datetime(2030, 2, 1, tzinfo=UTC),
    )


def escrow_resolved(escrow: str, step: int = 3, *, amount_base: int = 10**18) -> EscrowResolved:
    """The arbiter gives the payee a quarter."""
    payee_part = amount_base * 2_500 // 10_000
    return EscrowResolved(
        **place(step),
        escrow=escrow,
        step=step,
        payee_share_bps=2_500,
        payee_amount_base=payee_part,
        payer_amount_base=amount_base - payee_part,
    )


def dvp_created(
    escrow: str, *, delivery_amount_base: int = 2 * 10**8, block_time: datetime | None = None
) -> DvpCreated:
    """Step 1 of a delivery versus payment: 2 WBTC against 5 of a token that is not listed."""
    return DvpCreated(
        **place(1, block_time),
        escrow=escrow,
        step=1,
        seller=PAYER,
        buyer=PAYEE,
        delivery_asset="WBTC",
        delivery_asset_address="0x" + "01" * 20,
        delivery_decimals=8,
        delivery_amount_base=delivery_amount_base,
        payment_asset=None,
        payment_asset_address="0x" + "02" * 20,
        payment_decimals=None,
        payment_amount_base=5,
        deadline=datetime(2030, 1, 1, tzinfo=UTC),
    )


def dvp_deposited(
    escrow: str, step: int, role: DvpRole, *, block_time: datetime | None = None
) -> DvpDeposited:
    """A party's leg of :func:`dvp_created`."""
    sold = role is DvpRole.SELLER
    return DvpDeposited(
        **place(step, block_time),
        escrow=escrow,
        step=step,
        role=role,
        depositor=PAYER if sold else PAYEE,
        asset_address="0x" + ("01" if sold else "02") * 20,
        amount_base=2 * 10**8 if sold else 5,
    )


def dvp_settled(escrow: str, step: int = 4, *, block_time: datetime | None = None) -> DvpSettled:
    """Each leg is the other's."""
    return DvpSettled(**place(step, block_time), escrow=escrow, step=step)
