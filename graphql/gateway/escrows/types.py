"""An escrow."""

from __future__ import annotations

import strawberry

from gateway.scalars import Address, BigInt, DateTime, Decimal
from shared.domain import escrows
from shared.domain.money import whole_tokens
from shared.stores.escrows import StoredEscrow

EscrowStatus = strawberry.enum(
    escrows.EscrowStatus, name="EscrowStatus", description="RELEASED, REFUNDED and RESOLVED are final."
)
EscrowRole = strawberry.enum(escrows.EscrowRole, name="EscrowRole", description="A party's part.")
ReleasePolicy = strawberry.enum(
    escrows.ReleasePolicy, name="ReleasePolicy", description="Whose approvals release an escrow."
)


@strawberry.type(description="Payer or payee asked the arbiter to split the amount.")
class EscrowDispute:
    opened_by: EscrowRole  # type: ignore[valid-type]
    deadline: DateTime = strawberry.field(
        description="By when the arbiter must have split; from then on the payer can take the amount back."
    )


@strawberry.type(description="How the arbiter split the amount.")
class EscrowResolution:
    payee_share_bps: int = strawberry.field(description="The payee's share in basis points.")
    payee_amount_base: BigInt = strawberry.field(description="The payee's part, rounded down; base units.")
    payer_amount_base: BigInt = strawberry.field(description="The rest; base units.")


@strawberry.type(description="Whom a party wants as arbiter instead.")
class ArbiterProposal:
    role: EscrowRole  # type: ignore[valid-type]
    candidate: Address


@strawberry.type(
    description="An amount held on chain until it is released, refunded, or split by the arbiter."
)
class Escrow:
    id: strawberry.ID
    chain_id: int
    address: Address
    status: EscrowStatus  # type: ignore[valid-type]
    payer: Address
    payee: Address
    arbiter: Address = strawberry.field(description="The present one: payer and payee may have replaced it.")
    asset: str | None = strawberry.field(description="Null for a token that is not listed.")
    asset_address: Address = strawberry.field(description="The zero address is the native asset.")
    decimals: int | None = strawberry.field(description="Null for a token that is not listed.")
    amount_base: BigInt = strawberry.field(description="In base units.")
    amount: Decimal | None = strawberry.field(
        description="In whole tokens; null for a token that is not listed."
    )
    policy: ReleasePolicy  # type: ignore[valid-type]
    approvals: list[EscrowRole]  # type: ignore[valid-type]
    approved: bool = strawberry.field(description="Whether the approvals satisfy the policy.")
    arbiter_proposals: list[ArbiterProposal]
    dispute: EscrowDispute | None
    resolution: EscrowResolution | None
    withdrawals: list[EscrowRole] = strawberry.field(  # type: ignore[valid-type]
        description="Who has taken out what was owed."
    )
    withdrawn: bool = strawberry.field(description="Whether all that was owed has been taken out.")
    release_time: DateTime = strawberry.field(description="From when on it can be released once approved.")
    refund_time: DateTime = strawberry.field(
        description="From when on the payer can take back what is not approved, a dispute considered."
    )
    dispute_window_s: int = strawberry.field(description="How long the arbiter has after a dispute.")
    step: int = strawberry.field(description="Counts the steps of its life, from 1.")
    updated_at: DateTime


def from_stored(stored: StoredEscrow) -> Escrow:
    """The escrow of a stored one."""
    escrow, terms = stored.escrow, stored.escrow.terms
    return Escrow(
        id=stored.escrow_id,  # type: ignore[arg-type]
        chain_id=stored.chain_id,
        address=Address(stored.address),
        status=escrow.status,
        payer=Address(terms.payer),
        payee=Address(terms.payee),
        arbiter=Address(escrow.arbiter),
        asset=terms.asset,
        asset_address=Address(terms.asset_address),
        decimals=terms.decimals,
        amount_base=BigInt(terms.amount_base),
        amount=None if terms.decimals is None else whole_tokens(terms.amount_base, terms.decimals),
        policy=terms.policy,
        approvals=sorted(escrow.approvals),
        approved=escrow.approved,
        arbiter_proposals=[
            ArbiterProposal(role=role, candidate=Address(candidate))
            for role, candidate in sorted(escrow.proposals.items())
        ],
        dispute=_dispute(escrow.dispute),
        resolution=_resolution(escrow.resolution),
        withdrawals=sorted(escrow.withdrawals),
        withdrawn=escrow.withdrawn,
        release_time=terms.release_time,
        refund_time=escrow.refund_time,
        dispute_window_s=terms.dispute_window_s,
        step=escrow.step,
        updated_at=stored.updated_at,
    )


def _dispute(dispute: escrows.Disputed | None) -> EscrowDispute | None:
    if dispute is None:
        return None
    return EscrowDispute(opened_by=dispute.role, deadline=dispute.deadline)


def _resolution(resolution: escrows.Resolved | None) -> EscrowResolution | None:
    if resolution is None:
        return None
    return EscrowResolution(
        payee_share_bps=resolution.payee_share_bps,
        payee_amount_base=BigInt(resolution.payee_amount_base),
        payer_amount_base=BigInt(resolution.payer_amount_base),
    )
