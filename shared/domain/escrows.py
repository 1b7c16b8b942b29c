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
class StepRecord:
    """What is known of one number of an escrow's steps.

    ``step`` was announced at the chain's ``revision``; ``retracted`` is the latest revision that took back
    whatever was announced before it. Each is None where it has not been heard of.
    """

    step: EscrowStep | None = None
    revision: int | None = None
    retracted: int | None = None

    @property
    def live(self) -> EscrowStep | None:
        """The step, unless it was taken back."""
        if self.revision is None or (self.retracted is not None and self.revision < self.retracted):
            return None
        return self.step

    def announced(self, step: EscrowStep, revision: int) -> StepRecord:
        """After an announcement; the same record where it is old news.

        Raises:
            EscrowStepError: another step has this number at the same revision.
        """
        if self.revision is not None and self.revision >= revision:
            if self.revision == revision and self.step != step:
                raise EscrowStepError(f"there are two: {self.step}, now {step}")
            return self
        return replace(self, step=step, revision=revision)

    def taken_back(self, revision: int) -> StepRecord:
        """After a retraction; the same record where it is old news."""
        if self.retracted is not None and self.retracted >= revision:
            return self
        return replace(self, retracted=revision)


@dataclass(frozen=True, slots=True)
class Escrow:
    """An escrow after its known steps."""

    terms: Created
    approvals: frozenset[EscrowRole]
    status: EscrowStatus
    withdrawn: bool
    step: int


def fold_records(records: Mapping[int, StepRecord]) -> Escrow | None:
    """The escrow after the steps that stand, from 1 up to the first one missing.

    On one chain a later step was announced at the same revision or a later one. A step with a lower revision
    than the one before it is therefore of a history that is gone. One that contradicts what was announced
    before its own revision waits for the retraction of that, which is on its way.

    Raises:
        EscrowStepError: where steps of one revision contradict each other.
    """
    escrow: Escrow | None = None
    number, revision = 1, 0
    while (record := records.get(number)) is not None and record.live is not None:
        if record.revision is None or record.revision < revision:
            break
        try:
            escrow = _advance(escrow, number, record.live)
        except EscrowStepError:
            if record.revision == records[1].revision:
                raise
            break
        number, revision = number + 1, record.revision
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
