"""Delivery versus payment: both legs or neither. Orders of arrival are in test_escrows.py."""

from __future__ import annotations

import pytest
from hypothesis import given

from shared.domain.dvp import (
    DvpDeposited,
    DvpEscrow,
    DvpRefunded,
    DvpRole,
    DvpSettled,
    DvpStatus,
    DvpStep,
    DvpWithdrawn,
    fold_records,
)
from tests.unit.domain.escrow_lives import AMOUNT_BASE, PAYEE, PAYER, STRANGER, TRADE, lives, numbered

WBTC, PAYMENT = TRADE.delivery_asset_address, TRADE.payment_asset_address
DELIVERED = DvpDeposited(DvpRole.SELLER, PAYER, WBTC, AMOUNT_BASE)
PAID = DvpDeposited(DvpRole.BUYER, PAYEE, PAYMENT, 7)
TAKEN_BY_BUYER = DvpWithdrawn(DvpRole.BUYER, PAYEE, WBTC, AMOUNT_BASE)


def _fold(*life: DvpStep) -> DvpEscrow:
    escrow, contradiction = fold_records(numbered(life))
    assert contradiction is None
    assert escrow is not None
    return escrow


def test_each_is_owed_the_others_leg_once_settled() -> None:
    open_trade = _fold(TRADE, DELIVERED)
    assert (open_trade.status, open_trade.deposits) == (DvpStatus.OPEN, frozenset({DvpRole.SELLER}))
    assert open_trade.owed(DvpRole.SELLER) is None
    settled = _fold(TRADE, DELIVERED, PAID, DvpSettled())
    assert settled.owed(DvpRole.BUYER) == settled.leg(DvpRole.SELLER)
    assert settled.owed(DvpRole.SELLER) == settled.leg(DvpRole.BUYER)
    taken = _fold(TRADE, DELIVERED, PAID, DvpSettled(), TAKEN_BY_BUYER)
    assert taken.owed(DvpRole.BUYER) is None
    assert taken.withdrawals == frozenset({DvpRole.BUYER})


def test_a_refund_gives_the_depositor_its_own_leg() -> None:
    refunded = _fold(TRADE, PAID, DvpRefunded(DvpRole.BUYER))
    assert refunded.status is DvpStatus.REFUNDED
    assert refunded.owed(DvpRole.BUYER) == refunded.leg(DvpRole.BUYER)
    assert refunded.owed(DvpRole.SELLER) is None


@given(life=lives("dvp"))
def test_both_legs_or_neither(life: list[DvpStep]) -> None:
    escrow = _fold(*life)
    crossed = [
        step
        for step in life
        if isinstance(step, DvpWithdrawn) and step.asset_address != escrow.leg(step.role).asset_address
    ]
    assert not crossed or escrow.status is DvpStatus.SETTLED


@pytest.mark.parametrize(
    ("life", "said"),
    [
        ((DELIVERED,), "step 1 must create"),
        ((TRADE, TRADE), "creates an escrow that exists"),
        ((TRADE, DELIVERED, DELIVERED), "but due is None"),
        ((TRADE, DvpDeposited(DvpRole.SELLER, PAYER, WBTC, 1)), "step 2 moves 1 of"),
        ((TRADE, DvpDeposited(DvpRole.SELLER, PAYER, PAYMENT, AMOUNT_BASE)), "step 2 moves"),
        ((TRADE, DvpDeposited(DvpRole.SELLER, STRANGER, WBTC, AMOUNT_BASE)), "but the seller is"),
        ((TRADE, DELIVERED, DvpSettled()), "step 3 settles, but deposited has seller"),
        ((TRADE, DELIVERED, DvpRefunded(DvpRole.BUYER)), "step 3 refunds the buyer"),
        ((TRADE, DELIVERED, TAKEN_BY_BUYER), "but due is None"),
        ((TRADE, DELIVERED, PAID, DvpSettled(), DvpRefunded(DvpRole.SELLER)), "but the escrow is settled"),
        ((TRADE, DELIVERED, PAID, DvpSettled(), TAKEN_BY_BUYER, TAKEN_BY_BUYER), "but due is None"),
        ((TRADE, DELIVERED, DvpRefunded(DvpRole.SELLER), PAID), "but the escrow is refunded"),
    ],
)
def test_a_contradiction_is_named(life: tuple[DvpStep, ...], said: str) -> None:
    escrow, contradiction = fold_records(numbered(life))
    assert contradiction is not None
    assert contradiction.number == len(life)
    assert said in contradiction.reason
    assert escrow == fold_records(numbered(life[:-1]))[0]
