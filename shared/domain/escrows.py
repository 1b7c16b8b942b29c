"""An escrow's life cycle, folded from its numbered steps.

The document keeps every step that was seen; the state is a fold over the steps from 1 up to the first one
missing. Every permutation and repetition of the same steps therefore ends in the same escrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


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
    """Where an escrow stands. ``RELEASED`` and ``REFUNDED`` exclude each other and are never left."""

    CREATED = "created"
    RELEASED = "released"
    REFUNDED = "refunded"


class EscrowStepError(ValueError):
    """A step contradicts the escrow's state; it must not be applied."""


@dataclass(frozen=True, slots=True)
class Created:
    """Step 1: the terms."""

    payer: str
    payee: str
    arbiter: str
    asset: str
    decimals: int
    amount_base: int
    release_time: datetime
    refund_time: datetime
    policy: ReleasePolicy


@dataclass(frozen=True, slots=True)
class Approved:
    """A party approved the release."""

    role: EscrowRole


@dataclass(frozen=True, slots=True)
class Released:
    """The amount belongs to the payee."""


@dataclass(frozen=True, slots=True)
class Refunded:
    """The amount belongs to the payer again."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The owner of the amount has taken it out."""


EscrowStep = Created | Approved | Released | Refunded | Withdrawn


@dataclass(frozen=True, slots=True)
class Escrow:
    """An escrow after its known steps."""

    terms: Created
    approvals: frozenset[EscrowRole]
    status: EscrowStatus
    withdrawn: bool
    step: int


def fold_steps(steps: Mapping[int, EscrowStep]) -> Escrow | None:
    """The escrow after the steps from 1 up to the first one missing; None while step 1 is missing.

    Raises:
        EscrowStepError: where a step contradicts the ones before it.
    """
    escrow: Escrow | None = None
    number = 1
    while (step := steps.get(number)) is not None:
        escrow = _advance(escrow, number, step)
        number += 1
    return escrow


def _advance(escrow: Escrow | None, number: int, step: EscrowStep) -> Escrow:
    if isinstance(step, Created):
        if escrow is not None:
            raise EscrowStepError(f"step {number} creates an escrow that exists")
        return Escrow(step, frozenset(), EscrowStatus.CREATED, withdrawn=False, step=number)
    if escrow is None:
        raise EscrowStepError(f"step {number} is {type(step).__name__}, but step 1 must create the escrow")
    if isinstance(step, Withdrawn):
        if escrow.status is EscrowStatus.CREATED:
            raise EscrowStepError(f"step {number} withdraws before a release or refund")
        if escrow.withdrawn:
            raise EscrowStepError(f"step {number} withdraws what has been withdrawn")
        return replace(escrow, withdrawn=True, step=number)
    if escrow.status is not EscrowStatus.CREATED:
        raise EscrowStepError(f"step {number} is {type(step).__name__}, but the escrow is {escrow.status}")
    if isinstance(step, Approved):
        if step.role in escrow.approvals:
            raise EscrowStepError(f"step {number} repeats the approval of the {step.role}")
        return replace(escrow, approvals=escrow.approvals | {step.role}, step=number)
    status = EscrowStatus.RELEASED if isinstance(step, Released) else EscrowStatus.REFUNDED
    return replace(escrow, status=status, step=number)
