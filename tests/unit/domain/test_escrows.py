"""An escrow is a fold over its numbered steps, in whatever order they arrive; contradictions are named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.escrows import (
    Approved,
    ArbiterChanged,
    ArbiterProposed,
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
    parties_at,
)
from shared.domain.steps import StepRecord, without
from shared.stores import dvp_escrows, escrows
from tests.unit.domain.escrow_lives import (
    AMOUNT_BASE,
    ARBITER,
    FOLDS,
    MOMENT,
    PAYEE,
    PAYER,
    STRANGER,
    SUCCESSOR,
    fold_escrow,
    lives,
    numbered,
    split,
    terms,
)

TERMS = terms()
BY_PAYER = Approved(EscrowRole.PAYER, PAYER)
BY_ARBITER = Approved(EscrowRole.ARBITER, ARBITER)
DISPUTED = Disputed(EscrowRole.PAYEE, MOMENT + timedelta(days=9))
RELEASED, REFUNDED = Released(PAYEE, AMOUNT_BASE), Refunded(PAYER, AMOUNT_BASE)
TAKEN = Withdrawn(EscrowRole.PAYEE, PAYEE, AMOUNT_BASE)

KINDS = ("escrow", "dvp")
ENCODERS: dict[str, Any] = {"escrow": escrows.encode, "dvp": dvp_escrows.encode}
DECODERS: dict[str, Any] = {"escrow": escrows.decode_records, "dvp": dvp_escrows.decode_records}


@st.composite
def arrivals(draw: st.DrawFn, kind: str) -> tuple[list[Any], list[tuple[int, Any]]]:
    """A life, and its steps as they arrive: in any order, some of them several times."""
    life = draw(lives(kind))
    once = list(enumerate(life, start=1))
    repeated = draw(st.lists(st.sampled_from(once), max_size=8))
    return life, draw(st.permutations(once + repeated))


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)  # what is tested is no time, and the machine may be busy
@given(data=st.data())
def test_every_permutation_and_repetition_ends_in_the_same_document(kind: str, data: st.DataObject) -> None:
    life, arriving = data.draw(arrivals(kind))
    records: dict[int, StepRecord[Any]] = {}
    counted = 0
    for number, step in arriving:
        records[number] = records.get(number, StepRecord()).announced(step, 0)
        state, contradiction = FOLDS[kind](records)
        assert contradiction is None
        assert (state.step if state else 0) >= counted, "a step that has been counted is never taken back"
        counted = state.step if state else 0
    expected = ENCODERS[kind](1, PAYER, numbered(life))
    document = ENCODERS[kind](1, PAYER, records)
    assert repr(document) == repr(expected), "not even the order of its fields differs"
    assert DECODERS[kind](document) == numbered(life)
    assert document["step"] == len(life)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)  # what is tested is no time, and the machine may be busy
@given(data=st.data())
def test_a_gap_stops_the_fold_before_it(kind: str, data: st.DataObject) -> None:
    life = data.draw(lives(kind))
    missing = data.draw(st.integers(1, len(life)))
    records = numbered(life)
    del records[missing]
    assert FOLDS[kind](records) == FOLDS[kind](numbered(life[: missing - 1]))


@given(life=lives("escrow"))
def test_what_is_held_is_owed_to_somebody_or_undecided(life: list[EscrowStep]) -> None:
    escrow, _ = fold_escrow(life)
    assert escrow is not None
    taken = sum(step.amount_base for step in life if isinstance(step, Withdrawn))
    owed = sum(map(escrow.owed_base, EscrowRole))
    decided = escrow.status not in (EscrowStatus.CREATED, EscrowStatus.DISPUTED)
    assert owed + taken == (AMOUNT_BASE if decided else 0)
    assert escrow.withdrawn == (decided and owed == 0)


@pytest.mark.parametrize(
    ("life", "escrow"),
    [
        ((TERMS,), Escrow(TERMS, EscrowStatus.CREATED, 1, ARBITER)),
        (
            (TERMS, BY_ARBITER, BY_PAYER, RELEASED, TAKEN),
            Escrow(
                TERMS,
                EscrowStatus.RELEASED,
                5,
                ARBITER,
                approvals=frozenset({EscrowRole.PAYER, EscrowRole.ARBITER}),
                withdrawals=frozenset({EscrowRole.PAYEE}),
            ),
        ),
        (
            (TERMS, BY_PAYER, DISPUTED, REFUNDED),
            Escrow(
                TERMS,
                EscrowStatus.REFUNDED,
                4,
                ARBITER,
                approvals=frozenset({EscrowRole.PAYER}),
                dispute=DISPUTED,
            ),
        ),
        (
            (TERMS, DISPUTED, split(2_500)),
            Escrow(TERMS, EscrowStatus.RESOLVED, 3, ARBITER, dispute=DISPUTED, resolution=split(2_500)),
        ),
        (
            (
                TERMS,
                BY_PAYER,
                ArbiterProposed(EscrowRole.PAYER, SUCCESSOR),
                ArbiterProposed(EscrowRole.PAYEE, SUCCESSOR),
                ArbiterChanged(ARBITER, SUCCESSOR),
            ),
            Escrow(TERMS, EscrowStatus.CREATED, 5, SUCCESSOR, round=1),
        ),
    ],
)
def test_what_a_life_adds_up_to(life: tuple[EscrowStep, ...], escrow: Escrow) -> None:
    assert fold_escrow(life) == (escrow, None)


@pytest.mark.parametrize(
    ("policy", "roles", "approved"),
    [
        (ReleasePolicy.PAYER, "payer", True),
        (ReleasePolicy.PAYER_AND_ARBITER, "payer", False),
        (ReleasePolicy.PAYER_AND_ARBITER, "arbiter", False),
        (ReleasePolicy.PAYER_AND_ARBITER, "payer arbiter", True),
        (ReleasePolicy.TWO_OF_THREE, "payee", False),
        (ReleasePolicy.TWO_OF_THREE, "payee arbiter", True),
        (ReleasePolicy.TWO_OF_THREE, "payer payee arbiter", True),
    ],
)
def test_approvals_are_a_set_of_roles(policy: ReleasePolicy, roles: str, approved: bool) -> None:
    holders = {"payer": PAYER, "payee": PAYEE, "arbiter": ARBITER}
    steps = [Approved(EscrowRole(role), holders[role]) for role in roles.split()]
    escrow, _ = fold_escrow([terms(policy), *steps])
    assert escrow is not None
    assert escrow.approved == approved


def test_a_dispute_holds_the_refund_back_and_never_brings_it_forward() -> None:
    late, _ = fold_escrow([TERMS, DISPUTED])
    early, _ = fold_escrow([TERMS, Disputed(EscrowRole.PAYER, MOMENT)])
    assert late is not None
    assert early is not None
    assert late.refund_time == DISPUTED.deadline
    assert early.refund_time == TERMS.refund_time


def test_nothing_is_known_before_the_first_step() -> None:
    assert fold_escrow([]) == (None, None)
    records = numbered([TERMS, BY_PAYER])
    del records[1]
    assert FOLDS["escrow"](records) == (None, None)


@pytest.mark.parametrize(
    ("life", "said"),
    [
        ((BY_PAYER,), "step 1 must create"),
        ((TERMS, TERMS), "step 2 creates an escrow that exists"),
        ((TERMS, BY_PAYER, BY_PAYER), "step 3 repeats the approval of the payer"),
        ((TERMS, Approved(EscrowRole.PAYEE, PAYEE)), "step 2 approves as payee, which payer_and_arbiter"),
        ((TERMS, Approved(EscrowRole.PAYER, STRANGER)), f"step 2 names {STRANGER}, but the payer is {PAYER}"),
        ((TERMS, TAKEN), "but the payee is owed 0"),
        ((TERMS, RELEASED), "step 2 releases what payer_and_arbiter has not approved"),
        ((TERMS, BY_PAYER, BY_ARBITER, Released(STRANGER, AMOUNT_BASE)), f"names {STRANGER}"),
        ((TERMS, BY_PAYER, BY_ARBITER, Released(PAYEE, 1)), "step 4 moves 1, but the escrow holds"),
        ((TERMS, BY_PAYER, BY_ARBITER, RELEASED, REFUNDED), "step 5 is Refunded, but the escrow is released"),
        ((TERMS, REFUNDED, RELEASED), "step 3 is Released, but the escrow is refunded"),
        ((TERMS, REFUNDED, BY_PAYER), "step 3 is Approved, but the escrow is refunded"),
        ((TERMS, REFUNDED, TAKEN), "but the payee is owed 0"),
        ((TERMS, BY_PAYER, BY_ARBITER, RELEASED, TAKEN, TAKEN), "but the payee is owed 0"),
        ((TERMS, split(5_000)), "step 2 splits what is not disputed"),
        ((TERMS, DISPUTED, DISPUTED), "step 3 disputes what is disputed"),
        ((TERMS, BY_PAYER, BY_ARBITER, DISPUTED), "step 4 disputes what is disputed or approved"),
        ((TERMS, DISPUTED, Resolved(5_000, 1, 1)), "step 3 splits"),
        ((TERMS, Disputed(EscrowRole.ARBITER, MOMENT)), "step 2 is of the arbiter"),
        ((TERMS, ArbiterProposed(EscrowRole.ARBITER, SUCCESSOR)), "step 2 is of the arbiter"),
        ((TERMS, ArbiterChanged(ARBITER, SUCCESSOR)), "which both sides did not propose"),
        (
            (
                TERMS,
                ArbiterProposed(EscrowRole.PAYER, SUCCESSOR),
                ArbiterProposed(EscrowRole.PAYEE, SUCCESSOR),
                ArbiterProposed(EscrowRole.PAYER, None),
                ArbiterChanged(ARBITER, SUCCESSOR),
            ),
            "which both sides did not propose",
        ),
    ],
)
def test_a_contradiction_is_named_and_the_state_before_it_stands(
    life: tuple[EscrowStep, ...], said: str
) -> None:
    escrow, contradiction = fold_escrow(life)
    assert contradiction is not None
    assert contradiction.number == len(life)
    assert said in contradiction.reason
    assert escrow == fold_escrow(life[:-1])[0]


def test_what_contradicts_is_left_out_and_its_retraction_kept() -> None:
    records = numbered([TERMS, TERMS])
    assert without(records, 2) == numbered([TERMS])
    records[2] = records[2].taken_back(3)
    assert without(records, 2)[2] == StepRecord(retracted=3)


def test_a_step_concerns_those_who_were_parties_then() -> None:
    changed = ArbiterChanged(ARBITER, SUCCESSOR)
    records: dict[int, StepRecord[EscrowStep]] = {
        1: StepRecord(TERMS, 0),
        2: StepRecord(BY_PAYER, 0),
        3: StepRecord(changed, 0),
    }
    before = frozenset((PAYER, PAYEE, ARBITER))
    assert parties_at(1, TERMS, {}) == parties_at(1, TERMS, records) == before
    assert parties_at(2, BY_PAYER, records) == before
    assert parties_at(3, changed, records) == before | {SUCCESSOR}
    # Who was replaced is told that they were, and of nothing after it.
    assert parties_at(4, BY_PAYER, records) == frozenset((PAYER, PAYEE, SUCCESSOR))
    # Taken back, the change may have been told or not: both arbiters were told of what followed.
    records[3] = records[3].taken_back(1)
    assert parties_at(4, BY_PAYER, records) == before | {SUCCESSOR}


@pytest.mark.parametrize("missing", [1, 2])
def test_whom_a_step_concerns_is_not_known_while_one_before_it_is_missing(missing: int) -> None:
    records: dict[int, StepRecord[EscrowStep]] = {1: StepRecord(TERMS, 0), 2: StepRecord(BY_PAYER, 0)}
    del records[missing]
    assert parties_at(3, BY_ARBITER, records) is None
    records[missing] = StepRecord(retracted=1)
    assert parties_at(3, BY_ARBITER, records) is None


def test_a_contradiction_after_a_reorganisation_was_kept_quiet_and_is_told_here() -> None:
    records = numbered([TERMS, REFUNDED, RELEASED])
    for number in (2, 3):
        records[number] = replace(records[number], revision=3)
    escrow, contradiction = FOLDS["escrow"](records)
    assert escrow is not None
    assert (escrow.status, escrow.step) == ("refunded", 2)
    assert contradiction is not None
    assert (contradiction.number, contradiction.certain) == (3, False)
    # What was taken back after all explains it.
    records[1] = records[1].taken_back(3)
    assert FOLDS["escrow"](records) == (None, None)
