"""An escrow."""

from __future__ import annotations

import strawberry

from gateway.scalars import Address, BigInt, DateTime, Decimal
from shared.domain import escrows
from shared.domain.money import whole_tokens
from shared.stores.escrows import StoredEscrow

EscrowStatus = strawberry.enum(
    escrows.EscrowStatus, name="EscrowStatus", description="RELEASED and REFUNDED are final."
)
EscrowRole = strawberry.enum(escrows.EscrowRole, name="EscrowRole", description="A party's part.")
ReleasePolicy = strawberry.enum(
    escrows.ReleasePolicy, name="ReleasePolicy", description="Whose approvals release an escrow."
)


@strawberry.type(description="An amount held on chain until it is released to the payee or refunded.")
class Escrow:
    id: strawberry.ID
    chain_id: int
    address: Address
    status: EscrowStatus  # type: ignore[valid-type]
    payer: Address
    payee: Address
    arbiter: Address
    asset: str
    decimals: int
    amount_base: BigInt = strawberry.field(description="In base units.")
    amount: Decimal = strawberry.field(description="In whole tokens.")
    policy: ReleasePolicy  # type: ignore[valid-type]
    approvals: list[EscrowRole]  # type: ignore[valid-type]
    withdrawn: bool = strawberry.field(description="Whether its owner has taken the amount out.")
    release_time: DateTime
    refund_time: DateTime
    step: int = strawberry.field(description="Counts the steps of its life, from 1.")
    updated_at: DateTime


def from_stored(stored: StoredEscrow) -> Escrow:
    """The escrow of a stored one."""
    terms = stored.escrow.terms
    return Escrow(
        id=stored.escrow_id,  # type: ignore[arg-type]
        chain_id=stored.chain_id,
        address=Address(stored.address),
        status=stored.escrow.status,
        payer=Address(terms.payer),
        payee=Address(terms.payee),
        arbiter=Address(terms.arbiter),
        asset=terms.asset,
        decimals=terms.decimals,
        amount_base=BigInt(terms.amount_base),
        amount=whole_tokens(terms.amount_base, terms.decimals),
        policy=terms.policy,
        approvals=sorted(stored.escrow.approvals),
        withdrawn=stored.escrow.withdrawn,
        release_time=terms.release_time,
        refund_time=terms.refund_time,
        step=stored.escrow.step,
        updated_at=stored.updated_at,
    )
