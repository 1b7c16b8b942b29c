"""An escrow's life cycle, folded from its numbered steps (see :mod:`shared.domain.steps`).

Created → released, refunded or disputed; disputed → released, refunded or resolved. No state is gone back to.
The rules are those of ``contracts/src/Escrow.sol``; a step that they do not allow contradicts the escrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.domain.steps import Contradiction, StepError, StepRecord, fold

BPS = 10_000


class EscrowRole(StrEnum):
    """Who a party is in an escrow; approvals are by role."""

    PAYER = "payer"
    PAYEE = "payee"
    ARBITER = "arbiter"


class ReleasePolicy(StrEnum):
    """Whose approvals release an escrow."""

    PAYER = "payer"
    PAYER_AND_ARBITER = "payer_and_arbiter"
    TWO_OF_THREE = "two_of_three"


class EscrowStatus(StrEnum):
    """Where an escrow stands. ``RELEASED``, ``REFUNDED`` and ``RESOLVED`` are final."""

    CREATED = "created"
    DISPUTED = "disputed"
    RELEASED = "released"
    REFUNDED = "refunded"
    RESOLVED = "resolved"


UNDECIDED = frozenset({EscrowStatus.CREATED, EscrowStatus.DISPUTED})
_PRINCIPALS = (EscrowRole.PAYER, EscrowRole.PAYEE)
_ROLES_OF_POLICY: Mapping[ReleasePolicy, frozenset[EscrowRole]] = {
    ReleasePolicy.PAYER: frozenset({EscrowRole.PAYER}),
    ReleasePolicy.PAYER_AND_ARBITER: frozenset({EscrowRole.PAYER, EscrowRole.ARBITER}),
    ReleasePolicy.TWO_OF_THREE: frozenset(EscrowRole),
}


@dataclass(frozen=True, slots=True)
class Created:
    """Step 1: the terms. ``dispute_window_s`` is how long the arbiter has to split after a dispute.

    Anyone may escrow any token: ``asset`` and ``decimals`` are None for one that is not listed.
    """

    payer: str
    payee: str
    arbiter: str
    asset: str | None
    asset_address: str
    decimals: int | None
    amount_base: int
    release_time: datetime
    refund_time: datetime
    dispute_window_s: int
    policy: ReleasePolicy


@dataclass(frozen=True, slots=True)
class Approved:
    """The holder of a role approved the release."""

    role: EscrowRole
    approver: str


@dataclass(frozen=True, slots=True)
class ArbiterProposed:
    """Payer or payee named whom they want as arbiter; None takes an earlier proposal back."""

    role: EscrowRole
    candidate: str | None


@dataclass(frozen=True, slots=True)
class ArbiterChanged:
    """Payer and payee had named the same; every approval and proposal so far is void."""

    previous: str
    arbiter: str


@dataclass(frozen=True, slots=True)
class Disputed:
    """Payer or payee asked the arbiter to split, by the deadline."""

    role: EscrowRole
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Resolved:
    """The arbiter split the amount."""

    payee_share_bps: int
    payee_amount_base: int
    payer_amount_base: int


@dataclass(frozen=True, slots=True)
class Released:
    """The amount belongs to the payee."""

    payee: str
    amount_base: int


@dataclass(frozen=True, slots=True)
class Refunded:
    """The amount belongs to the payer again."""

    payer: str
    amount_base: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A role has taken out what it was owed."""

    role: EscrowRole
    beneficiary: str
    amount_base: int


EscrowStep = (
    Created
    | Approved
    | ArbiterProposed
    | ArbiterChanged
    | Disputed
    | Resolved
    | Released
    | Refunded
    | Withdrawn
)


def parties_at(
    number: int, step: EscrowStep, records: Mapping[int, StepRecord[EscrowStep]]
) -> frozenset[str] | None:
    """The parties when a step was made, of a change of arbiter the one before too; None while a step before
    it has not been heard of.

    A change of arbiter that was taken back counts for both arbiters: each was told of what came after it.
    """
    earlier = [records.get(each, StepRecord()) for each in range(1, number)]
    created = step if number == 1 else earlier[0].step
    if not isinstance(created, Created) or any(record.step is None for record in earlier):
        return None
    arbiters = {created.arbiter}
    for record in earlier:
        if isinstance(record.step, ArbiterChanged):
            arbiters = {record.step.arbiter} | (arbiters if record.live is None else set())
    if isinstance(step, ArbiterChanged):
        arbiters |= {step.previous, step.arbiter}
    return frozenset({created.payer, created.payee} | arbiters)


@dataclass(frozen=True, slots=True)
class Escrow:
    """An escrow after its known steps.

    ``round`` counts the changes of the arbiter, each of which voided the approvals before it. ``proposals``
    are the arbiters that payer and payee want instead.
    """

    terms: Created
    status: EscrowStatus
    step: int
    arbiter: str
    round: int = 0
    approvals: frozenset[EscrowRole] = frozenset()
    proposals: Mapping[EscrowRole, str] = field(default_factory=dict)
    dispute: Disputed | None = None
    resolution: Resolved | None = None
    withdrawals: frozenset[EscrowRole] = frozenset()

    @property
    def parties(self) -> frozenset[str]:
        """The addresses of the present parties."""
        return frozenset((self.terms.payer, self.terms.payee, self.arbiter))

    @property
    def approved(self) -> bool:
        """Whether the approvals satisfy the policy; only the release is left then, or the payee's refund."""
        if self.terms.policy is ReleasePolicy.TWO_OF_THREE:
            return len(self.approvals) >= 2
        return self.approvals == _ROLES_OF_POLICY[self.terms.policy]

    @property
    def refund_time(self) -> datetime:
        """When the payer can take back what is not approved: as agreed, or at a dispute's later deadline."""
        agreed = self.terms.refund_time
        return agreed if self.dispute is None else max(agreed, self.dispute.deadline)

    @property
    def withdrawn(self) -> bool:
        """Whether all that was owed has been taken out."""
        return self.status not in UNDECIDED and not any(map(self.owed_base, _PRINCIPALS))

    def holder(self, role: EscrowRole) -> str:
        """The address that holds a role now."""
        match role:
            case EscrowRole.PAYER:
                return self.terms.payer
            case EscrowRole.PAYEE:
                return self.terms.payee
            case EscrowRole.ARBITER:
                return self.arbiter

    def roles_to_approve(self) -> frozenset[EscrowRole]:
        """The roles whose approval the policy takes and has not got; none once the escrow is decided."""
        if self.status not in UNDECIDED:
            return frozenset()
        return _ROLES_OF_POLICY[self.terms.policy] - self.approvals

    def owed_base(self, role: EscrowRole) -> int:
        """Base units that a role may take out; 0 while the escrow is undecided or once it has."""
        if role in self.withdrawals or role is EscrowRole.ARBITER:
            return 0
        if self.resolution is not None:
            split = self.resolution
            return split.payer_amount_base if role is EscrowRole.PAYER else split.payee_amount_base
        beneficiary = {
            EscrowStatus.RELEASED: EscrowRole.PAYEE,
            EscrowStatus.REFUNDED: EscrowRole.PAYER,
        }.get(self.status)
        return self.terms.amount_base if role is beneficiary else 0


def fold_records(
    records: Mapping[int, StepRecord[EscrowStep]],
) -> tuple[Escrow | None, Contradiction | None]:
    """The escrow after the steps that stand, None while its creation is not among them."""
    return fold(records, _advance)


def _advance(escrow: Escrow | None, number: int, step: EscrowStep) -> Escrow:
    if isinstance(step, Created):
        if escrow is not None:
            raise StepError(f"step {number} creates an escrow that exists")
        return Escrow(step, EscrowStatus.CREATED, number, step.arbiter)
    if escrow is None:
        raise StepError(f"step {number} is {type(step).__name__}, but step 1 must create the escrow")
    if isinstance(step, Withdrawn):
        _expect(number, step.beneficiary, escrow.holder(step.role), f"the {step.role}")
        if step.amount_base == 0 or step.amount_base != escrow.owed_base(step.role):
            raise StepError(
                f"step {number} withdraws {step.amount_base}, "
                f"but the {step.role} is owed {escrow.owed_base(step.role)}"
            )
        return replace(escrow, withdrawals=escrow.withdrawals | {step.role}, step=number)
    if escrow.status not in UNDECIDED:
        raise StepError(f"step {number} is {type(step).__name__}, but the escrow is {escrow.status}")
    advanced = _RULES[type(step)](escrow, number, step)
    return replace(advanced, step=number)


def _approve(escrow: Escrow, number: int, step: Approved) -> Escrow:
    _expect(number, step.approver, escrow.holder(step.role), f"the {step.role}")
    if step.role not in _ROLES_OF_POLICY[escrow.terms.policy]:
        raise StepError(f"step {number} approves as {step.role}, which {escrow.terms.policy} does not ask")
    if step.role in escrow.approvals:
        raise StepError(f"step {number} repeats the approval of the {step.role}")
    return replace(escrow, approvals=escrow.approvals | {step.role})


def _propose_arbiter(escrow: Escrow, number: int, step: ArbiterProposed) -> Escrow:
    _expect_principal(number, step.role)
    proposals = {role: candidate for role, candidate in escrow.proposals.items() if role is not step.role}
    if step.candidate is not None:
        proposals[step.role] = step.candidate
    return replace(escrow, proposals=proposals)


def _change_arbiter(escrow: Escrow, number: int, step: ArbiterChanged) -> Escrow:
    _expect(number, step.previous, escrow.arbiter, "the arbiter")
    if [escrow.proposals.get(role) for role in _PRINCIPALS] != [step.arbiter] * 2:
        raise StepError(f"step {number} makes {step.arbiter} arbiter, which both sides did not propose")
    return replace(escrow, arbiter=step.arbiter, round=escrow.round + 1, approvals=frozenset(), proposals={})


def _dispute(escrow: Escrow, number: int, step: Disputed) -> Escrow:
    _expect_principal(number, step.role)
    if escrow.status is EscrowStatus.DISPUTED or escrow.approved:
        raise StepError(f"step {number} disputes what is disputed or approved")
    return replace(escrow, status=EscrowStatus.DISPUTED, dispute=step)


def _resolve(escrow: Escrow, number: int, step: Resolved) -> Escrow:
    if escrow.status is not EscrowStatus.DISPUTED or escrow.approved:
        raise StepError(f"step {number} splits what is not disputed, or is approved")
    amount = escrow.terms.amount_base
    payee_part = amount * step.payee_share_bps // BPS
    if (step.payee_amount_base, step.payer_amount_base) != (payee_part, amount - payee_part):
        raise StepError(
            f"step {number} splits {amount} at {step.payee_share_bps} bps into "
            f"{step.payee_amount_base} and {step.payer_amount_base}"
        )
    return replace(escrow, status=EscrowStatus.RESOLVED, resolution=step)


def _release(escrow: Escrow, number: int, step: Released) -> Escrow:
    _expect(number, step.payee, escrow.terms.payee, "the payee")
    _expect_amount(number, step.amount_base, escrow)
    if not escrow.approved:
        raise StepError(f"step {number} releases what {escrow.terms.policy} has not approved")
    return replace(escrow, status=EscrowStatus.RELEASED)


def _refund(escrow: Escrow, number: int, step: Refunded) -> Escrow:
    _expect(number, step.payer, escrow.terms.payer, "the payer")
    _expect_amount(number, step.amount_base, escrow)
    return replace(escrow, status=EscrowStatus.REFUNDED)


_RULES: Mapping[type, Callable[[Escrow, int, Any], Escrow]] = {
    Approved: _approve,
    ArbiterProposed: _propose_arbiter,
    ArbiterChanged: _change_arbiter,
    Disputed: _dispute,
    Resolved: _resolve,
    Released: _release,
    Refunded: _refund,
}


def _expect(number: int, actual: str, expected: str, who: str) -> None:
    if actual != expected:
        raise StepError(f"step {number} names {actual}, but {who} is {expected}")


def _expect_amount(number: int, amount_base: int, escrow: Escrow) -> None:
    if amount_base != escrow.terms.amount_base:
        raise StepError(f"step {number} moves {amount_base}, but the escrow holds {escrow.terms.amount_base}")


def _expect_principal(number: int, role: EscrowRole) -> None:
    if role not in _PRINCIPALS:
        raise StepError(f"step {number} is of the {role}, but only payer and payee may")
