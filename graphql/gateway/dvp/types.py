"""A delivery-versus-payment escrow."""

from __future__ import annotations

import strawberry

from gateway.scalars import Address, BigInt, DateTime, Decimal
from shared.domain import dvp
from shared.domain.money import whole_tokens
from shared.stores.dvp_escrows import StoredDvpEscrow

DvpStatus = strawberry.enum(
    dvp.DvpStatus, name="DvpStatus", description="SETTLED and REFUNDED exclude each other and are final."
)
DvpRole = strawberry.enum(
    dvp.DvpRole, name="DvpRole", description="The seller deposits the delivery, the buyer the payment."
)


@strawberry.type(description="One side of a delivery versus payment.")
class DvpLeg:
    asset: str | None = strawberry.field(description="Null for a token that is not listed.")
    asset_address: Address = strawberry.field(description="The zero address is the native asset.")
    decimals: int | None = strawberry.field(description="Null for a token that is not listed.")
    amount_base: BigInt = strawberry.field(description="In base units.")
    amount: Decimal | None = strawberry.field(
        description="In whole tokens; null for a token that is not listed."
    )
    deposited: bool = strawberry.field(description="Whether it has come.")


@strawberry.type(description="Two legs held on chain that change hands together or not at all.")
class DvpEscrow:
    id: strawberry.ID
    chain_id: int
    address: Address
    status: DvpStatus  # type: ignore[valid-type]
    seller: Address
    buyer: Address
    delivery: DvpLeg
    payment: DvpLeg
    deadline: DateTime = strawberry.field(
        description="From when on no leg can be deposited, and the one that came can be given back."
    )
    withdrawals: list[DvpRole] = strawberry.field(  # type: ignore[valid-type]
        description="Who has taken out what was owed."
    )
    step: int = strawberry.field(description="Counts the steps of its life, from 1.")
    updated_at: DateTime


def from_stored(stored: StoredDvpEscrow) -> DvpEscrow:
    """The escrow of a stored one."""
    escrow, terms = stored.escrow, stored.escrow.terms
    return DvpEscrow(
        id=stored.escrow_id,  # type: ignore[arg-type]
        chain_id=stored.chain_id,
        address=Address(stored.address),
        status=escrow.status,
        seller=Address(terms.seller),
        buyer=Address(terms.buyer),
        delivery=_leg(escrow, dvp.DvpRole.SELLER),
        payment=_leg(escrow, dvp.DvpRole.BUYER),
        deadline=terms.deadline,
        withdrawals=sorted(escrow.withdrawals),
        step=escrow.step,
        updated_at=stored.updated_at,
    )


def _leg(escrow: dvp.DvpEscrow, role: dvp.DvpRole) -> DvpLeg:
    leg = escrow.leg(role)
    return DvpLeg(
        asset=leg.asset,
        asset_address=Address(leg.asset_address),
        decimals=leg.decimals,
        amount_base=BigInt(leg.amount_base),
        amount=None if leg.decimals is None else whole_tokens(leg.amount_base, leg.decimals),
        deposited=role in escrow.deposits,
    )
