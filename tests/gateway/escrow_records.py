"""Escrows and deliveries versus payment of a world."""

from __future__ import annotations

from datetime import timedelta

from shared.domain.dvp import DvpCreated, DvpDeposited, DvpRole, DvpStep
from shared.domain.escrows import (
    ArbiterProposed,
    Created,
    Disputed,
    EscrowRole,
    EscrowStep,
    ReleasePolicy,
    Resolved,
)
from shared.domain.steps import StepRecord
from shared.stores import database, dvp_escrows, escrows
from shared.stores.escrow_collection import escrow_id
from tests.gateway.world import World, address


def put_escrow(
    world: World, number: int, *, payer: int, payee: int = 102, arbiter: int = 103, split: bool = False
) -> None:
    """Write an escrow that was created, and (``split``) disputed and split between its parties."""
    created = Created(
        payer=address(payer),
        payee=address(payee),
        arbiter=address(arbiter),
        asset="USDC",
        asset_address=address(900),
        decimals=6,
        amount_base=1_500_000,
        release_time=world.now,
        refund_time=world.now,
        dispute_window_s=3_600,
        policy=ReleasePolicy.TWO_OF_THREE,
    )
    rest: tuple[EscrowStep, ...] = (
        ArbiterProposed(EscrowRole.PAYER, address(104)),
        Disputed(EscrowRole.PAYEE, world.now + timedelta(hours=1)),
        Resolved(3_333, 499_950, 1_000_050),
    )
    steps = (created, *(rest if split else ()))
    records: dict[int, StepRecord[EscrowStep]] = {
        step: StepRecord(kind, revision=0) for step, kind in enumerate(steps, start=1)
    }
    commit = database.Commit(world.client)
    path = escrows.path(escrow_id(31337, address(number)))
    commit.put(path, escrows.encode(31337, address(number), records))
    commit.apply()


def put_dvp(world: World, number: int, *, seller: int, buyer: int = 102) -> None:
    """Write a delivery versus payment whose seller has deposited."""
    created = DvpCreated(
        seller=address(seller),
        buyer=address(buyer),
        delivery_asset="ETH",
        delivery_asset_address=address(0),
        delivery_decimals=18,
        delivery_amount_base=2**256 - 1,
        payment_asset=None,
        payment_asset_address=address(901),
        payment_decimals=None,
        payment_amount_base=5,
        deadline=world.now,
    )
    deposited = DvpDeposited(DvpRole.SELLER, address(seller), address(0), 2**256 - 1)
    records: dict[int, StepRecord[DvpStep]] = {
        1: StepRecord(created, revision=0),
        2: StepRecord(deposited, revision=0),
    }
    commit = database.Commit(world.client)
    path = dvp_escrows.path(escrow_id(31337, address(number)))
    commit.put(path, dvp_escrows.encode(31337, address(number), records))
    commit.apply()
