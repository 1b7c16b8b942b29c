"""A delivery-versus-payment escrow's life cycle, folded from its numbered steps.

Two legs change hands together or not at all: open → settled with the second deposit, or refunded. How steps
are folded is in :mod:`shared.domain.steps`. The rules are those of ``contracts/src/DvpEscrow.sol``; a step
that they do not allow contradicts the escrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.domain.steps import Contradiction, StepError, StepRecord, fold


class DvpRole(StrEnum):
    """Who a party is: the seller deposits the delivery, the buyer the payment."""

    SELLER = "seller"
    BUYER = "buyer"


class DvpStatus(StrEnum):
    """Where it stands. ``SETTLED`` and ``REFUNDED`` exclude each other and are final."""

    OPEN = "open"
    SETTLED = "settled"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class DvpCreated:
    """Step 1: the terms. No leg can be deposited from the deadline on."""

    seller: str
    buyer: str
    delivery_asset: str | None
    delivery_asset_address: str
    delivery_decimals: int | None
    delivery_amount_base: int
    payment_asset: str | None
    payment_asset_address: str
    payment_decimals: int | None
    payment_amount_base: int
    deadline: datetime


@dataclass(frozen=True, slots=True)
class DvpDeposited:
    """A party's leg has come."""

    role: DvpRole
    depositor: str
    asset_address: str
    amount_base: int


@dataclass(frozen=True, slots=True)
class DvpSettled:
    """Each leg belongs to the other party."""


@dataclass(frozen=True, slots=True)
class DvpRefunded:
    """The leg that came belongs to its depositor again."""

    role: DvpRole


@dataclass(frozen=True, slots=True)
class DvpWithdrawn:
    """A party has taken out what it was owed."""

    role: DvpRole
    beneficiary: str
    asset_address: str
    amount_base: int


DvpStep = DvpCreated | DvpDeposited | DvpSettled | DvpRefunded | DvpWithdrawn


@dataclass(frozen=True, slots=True)
class Leg:
    """An amount of an asset; ``asset`` and ``decimals`` are None for one that is not listed."""

    asset: str | None
    asset_address: str
    decimals: int | None
    amount_base: int


@dataclass(frozen=True, slots=True)
class DvpEscrow:
    """A delivery-versus-payment escrow after its known steps."""

    terms: DvpCreated
    status: DvpStatus
    step: int
    deposits: frozenset[DvpRole] = frozenset()
    withdrawals: frozenset[DvpRole] = frozenset()

    @property
    def parties(self) -> frozenset[str]:
        """The addresses of seller and buyer."""
        return frozenset((self.terms.seller, self.terms.buyer))

    def holder(self, role: DvpRole) -> str:
        """The address of a role."""
        return self.terms.seller if role is DvpRole.SELLER else self.terms.buyer

    def leg(self, role: DvpRole) -> Leg:
        """What a role deposits."""
        terms = self.terms
        if role is DvpRole.SELLER:
            return Leg(
                terms.delivery_asset,
                terms.delivery_asset_address,
                terms.delivery_decimals,
                terms.delivery_amount_base,
            )
        return Leg(
            terms.payment_asset,
            terms.payment_asset_address,
            terms.payment_decimals,
            terms.payment_amount_base,
        )

    def owed(self, role: DvpRole) -> Leg | None:
        """What a role may take out; None while the trade is open or once it has."""
        if role in self.withdrawals:
            return None
        if self.status is DvpStatus.SETTLED:
            return self.leg(DvpRole.BUYER if role is DvpRole.SELLER else DvpRole.SELLER)
        if self.status is DvpStatus.REFUNDED and role in self.deposits:
            return self.leg(role)
        return None


def fold_records(
    records: Mapping[int, StepRecord[DvpStep]],
) -> tuple[DvpEscrow | None, Contradiction | None]:
    """The escrow after the steps that stand, None while its creation is not among them."""
    return fold(records, _advance)


def _advance(dvp: DvpEscrow | None, number: int, step: DvpStep) -> DvpEscrow:
    if isinstance(step, DvpCreated):
        if dvp is not None:
            raise StepError(f"step {number} creates an escrow that exists")
        return DvpEscrow(step, DvpStatus.OPEN, number)
    if dvp is None:
        raise StepError(f"step {number} is {type(step).__name__}, but step 1 must create the escrow")
    if isinstance(step, DvpWithdrawn):
        _expect(number, step.beneficiary, dvp.holder(step.role), f"the {step.role}")
        _expect_leg(number, step, dvp.owed(step.role))
        return replace(dvp, withdrawals=dvp.withdrawals | {step.role}, step=number)
    if dvp.status is not DvpStatus.OPEN:
        raise StepError(f"step {number} is {type(step).__name__}, but the escrow is {dvp.status}")
    match step:
        case DvpDeposited():
            _expect(number, step.depositor, dvp.holder(step.role), f"the {step.role}")
            _expect_leg(number, step, None if step.role in dvp.deposits else dvp.leg(step.role))
            return replace(dvp, deposits=dvp.deposits | {step.role}, step=number)
        case DvpSettled():
            if dvp.deposits != frozenset(DvpRole):
                raise StepError(f"step {number} settles, but deposited has {_named(dvp.deposits)}")
            return replace(dvp, status=DvpStatus.SETTLED, step=number)
        case DvpRefunded():
            if dvp.deposits != frozenset({step.role}):
                raise StepError(
                    f"step {number} refunds the {step.role}, but deposited has {_named(dvp.deposits)}"
                )
            return replace(dvp, status=DvpStatus.REFUNDED, step=number)


def _expect(number: int, actual: str, expected: str, who: str) -> None:
    if actual != expected:
        raise StepError(f"step {number} names {actual}, but {who} is {expected}")


def _expect_leg(number: int, step: DvpDeposited | DvpWithdrawn, due: Leg | None) -> None:
    if due is None or (step.asset_address, step.amount_base) != (due.asset_address, due.amount_base):
        raise StepError(f"step {number} moves {step.amount_base} of {step.asset_address}, but due is {due}")


def _named(roles: frozenset[DvpRole]) -> str:
    return " and ".join(sorted(roles)) or "nobody"
