"""Lives of escrows as the contracts allow them, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st

from shared.domain import dvp, escrows
from shared.domain.dvp import (
    DvpCreated,
    DvpDeposited,
    DvpRefunded,
    DvpRole,
    DvpSettled,
    DvpStatus,
    DvpStep,
    DvpWithdrawn,
)
from shared.domain.escrows import (
    BPS,
    UNDECIDED,
    Approved,
    ArbiterChanged,
    ArbiterProposed,
    Created,
    Disputed,
    Escrow,
    EscrowRole,
    EscrowStatus,
    EscrowStep,
    Refunded,
    Released,
    ReleasePolicy,
    Resolved,
    Withdrawn,
)
from shared.domain.steps import Contradiction, StepRecord

Step = TypeVar("Step")

MOMENT = datetime(2025, 3, 1, tzinfo=UTC)
PAYER, PAYEE, ARBITER, SUCCESSOR, STRANGER = ("0x" + digit * 40 for digit in "abcde")
AMOUNT_BASE = 2**256 - 1


def terms(policy: ReleasePolicy = ReleasePolicy.PAYER_AND_ARBITER) -> Created:
    """An escrow of the largest amount that there is."""
    return Created(
        payer=PAYER,
        payee=PAYEE,
        arbiter=ARBITER,
        asset="ETH",
        asset_address="0x" + "00" * 20,
        decimals=18,
        amount_base=AMOUNT_BASE,
        release_time=MOMENT,
        refund_time=MOMENT + timedelta(days=7),
        dispute_window_s=86_400,
        policy=policy,
    )


TRADE = DvpCreated(
    seller=PAYER,
    buyer=PAYEE,
    delivery_asset="WBTC",
    delivery_asset_address="0x" + "01" * 20,
    delivery_decimals=8,
    delivery_amount_base=AMOUNT_BASE,
    payment_asset=None,
    payment_asset_address="0x" + "02" * 20,
    payment_decimals=None,
    payment_amount_base=7,
    deadline=MOMENT,
)


def numbered(life: Sequence[Step]) -> dict[int, StepRecord[Step]]:
    """The records of a life on a chain that takes nothing back."""
    return {number: StepRecord(step, revision=0) for number, step in enumerate(life, start=1)}


def fold_escrow(life: Sequence[EscrowStep]) -> tuple[Escrow | None, Contradiction | None]:
    """The escrow after these steps."""
    return escrows.fold_records(numbered(life))


def split(payee_share_bps: int) -> Resolved:
    """The arbiter's split of :func:`terms`."""
    payee_part = AMOUNT_BASE * payee_share_bps // BPS
    return Resolved(payee_share_bps, payee_part, AMOUNT_BASE - payee_part)


def next_escrow_steps(life: Sequence[EscrowStep]) -> list[EscrowStep]:
    """What the contract allows next; empty at the end of a life."""
    escrow, contradiction = fold_escrow(life)
    assert contradiction is None
    if escrow is None:
        return [terms(policy) for policy in ReleasePolicy]
    if escrow.status in UNDECIDED:
        return _next_undecided(escrow)
    return [
        Withdrawn(role, escrow.holder(role), owed) for role in EscrowRole if (owed := escrow.owed_base(role))
    ]


def _next_undecided(escrow: Escrow) -> list[EscrowStep]:
    wanted = [escrow.proposals.get(role) for role in (EscrowRole.PAYER, EscrowRole.PAYEE)]
    if wanted[0] is not None and wanted[0] == wanted[1]:
        # The contract changes the arbiter in the transaction of the second proposal.
        return [ArbiterChanged(escrow.arbiter, wanted[0])]
    policy = escrow.terms.policy
    roles = {
        ReleasePolicy.PAYER: [EscrowRole.PAYER],
        ReleasePolicy.PAYER_AND_ARBITER: [EscrowRole.PAYER, EscrowRole.ARBITER],
        ReleasePolicy.TWO_OF_THREE: list(EscrowRole),
    }[policy]
    steps: list[EscrowStep] = [
        Approved(role, escrow.holder(role)) for role in roles if role not in escrow.approvals
    ]
    candidates = [None, *({ARBITER, SUCCESSOR} - {escrow.arbiter})]
    steps += [
        ArbiterProposed(role, candidate)
        for role in (EscrowRole.PAYER, EscrowRole.PAYEE)
        for candidate in candidates
    ]
    if escrow.approved:
        steps.append(Released(PAYEE, AMOUNT_BASE))
    elif escrow.status is EscrowStatus.CREATED:
        steps.append(Disputed(EscrowRole.PAYEE, MOMENT + timedelta(days=9)))
    else:
        steps += [split(0), split(3_333), split(10_000)]
    return [*steps, Refunded(PAYER, AMOUNT_BASE)]


def next_dvp_steps(life: Sequence[DvpStep]) -> list[DvpStep]:
    """What the contract allows next; empty at the end of a life."""
    escrow, contradiction = dvp.fold_records(numbered(life))
    assert contradiction is None
    if escrow is None:
        return [TRADE]
    if escrow.status is not DvpStatus.OPEN:
        return [
            DvpWithdrawn(role, escrow.holder(role), leg.asset_address, leg.amount_base)
            for role in DvpRole
            if (leg := escrow.owed(role)) is not None
        ]
    if len(escrow.deposits) == 2:
        return [DvpSettled()]
    deposits: list[DvpStep] = [
        DvpDeposited(role, escrow.holder(role), escrow.leg(role).asset_address, escrow.leg(role).amount_base)
        for role in DvpRole
        if role not in escrow.deposits
    ]
    refunds: list[DvpStep] = [DvpRefunded(role) for role in escrow.deposits]
    return deposits + refunds


NEXT_STEPS: Mapping[str, Callable[[Any], list[Any]]] = {"escrow": next_escrow_steps, "dvp": next_dvp_steps}
FOLDS: Mapping[str, Callable[[Any], tuple[Any, Contradiction | None]]] = {
    "escrow": escrows.fold_records,
    "dvp": dvp.fold_records,
}


def lives(kind: str, most: int = 12) -> st.SearchStrategy[list[Any]]:
    """Lives of up to ``most`` steps: each number chooses among what may follow."""

    def live(choices: list[int]) -> list[Any]:
        life: list[Any] = []
        for choice in choices:
            following = NEXT_STEPS[kind](life)
            if not following:
                break
            life.append(following[choice % len(following)])
        return life

    return st.lists(st.integers(0, 2**16), min_size=1, max_size=most).map(live)
