"""``escrowApproval``: what a party's own wallet signs to approve a release; nothing is signed here."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import json

import strawberry

from gateway.context import Info
from gateway.errors import BadUserInputError
from gateway.escrows.types import EscrowRole
from gateway.permissions import NeedsEscrowsScope
from gateway.scalars import Address, DateTime
from gateway.settlement.prepared import UnsignedTransaction, unsigned_transaction
from shared.chain.escrow_approvals import approval_transaction, approval_typed_data
from shared.domain import escrows as rules
from shared.runtime import clock
from shared.stores.escrow_collection import escrow_id


@strawberry.type(
    description="An approval that is prepared for the party's own wallet, in either of two ways."
)
class EscrowApproval:
    role: EscrowRole = strawberry.field(description="The party's.")  # type: ignore[valid-type]
    transaction: UnsignedTransaction = strawberry.field(description="The approval as a transaction.")
    typed_data: str = strawberry.field(
        description=(
            "The approval as EIP-712 typed data for eth_signTypedData_v4, in JSON. Anyone may submit the "
            "signature, with the role's number and the deadline in it, by approveBySignature."
        )
    )


@strawberry.type
class EscrowApprovalQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsEscrowsScope],
        description="A party's approval of a release, for its own wallet to sign; null if none was found.",
    )
    async def escrow_approval(
        self, info: Info, chain_id: int, address: Address, party: Address, deadline: DateTime
    ) -> EscrowApproval | None:
        stored = await info.context.loaders.escrow.load(escrow_id(chain_id, address))
        if stored is None:
            return None
        if deadline <= clock.now():
            raise BadUserInputError("deadline", "must be in the future")
        role = _role_to_approve(stored.escrow, party)
        typed_data = approval_typed_data(chain_id, address, stored.escrow, role, deadline)
        return EscrowApproval(
            role=EscrowRole(role),
            transaction=unsigned_transaction(chain_id, party, approval_transaction(address)),
            typed_data=json.dumps(typed_data),
        )


def _role_to_approve(escrow: rules.Escrow, party: str) -> rules.EscrowRole:
    for role in rules.EscrowRole:
        if escrow.holder(role) == party:
            if role in escrow.roles_to_approve():
                return role
            raise BadUserInputError(
                "party",
                f"the {role} has approved, or the policy {escrow.terms.policy} does not ask it, "
                f"or the escrow is decided: it is {escrow.status}",
            )
    raise BadUserInputError("party", "is neither payer, payee nor the present arbiter")
