"""An escrow is a fold over its numbered steps, in whatever order they arrive; contradictions are refused."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.escrows import (
    Approved,
    Created,
    Escrow,
    EscrowRole,
    EscrowStatus,
    EscrowStep,
    EscrowStepError,
    Refunded,
    Released,
    ReleasePolicy,
    StepRecord,
    Withdrawn,
    fold_records,
)

MOMENT = datetime(2025, 3, 1, tzinfo=UTC)
TERMS = Created("0xaa", "0xbb", "0xcc", "ETH", 18, 10**18, MOMENT, MOMENT, ReleasePolicy.PAYER_AND_ARBITER)
PAYER, PAYEE, ARBITER = (Approved(role) for role in EscrowRole)

LIVES: dict[str, tuple[EscrowStep, ...]] = {
    "created": (TERMS,),
    "approved": (TERMS, PAYER, ARBITER),
    "released": (TERMS, PAYER, ARBITER, Released()),
    "released and withdrawn": (TERMS, ARBITER, PAYER, Released(), Withdrawn()),
    "refunded": (TERMS, Refunded()),
    "refunded and withdrawn": (TERMS, PAYER, Refunded(), Withdrawn()),
}
every_life = pytest.mark.parametrize("life", LIVES.values(), ids=list(LIVES))


def fold_steps(steps: Mapping[int, EscrowStep]) -> Escrow | None:
    """The escrow after these steps, on a chain that takes nothing back."""
    return fold_records({number: StepRecord(step, revision=0) for number, step in steps.items()})


def _numbered(life: Sequence[EscrowStep]) -> dict[int, EscrowStep]:
    return dict(enumerate(life, start=1))


def _arrive(
    arrivals: Sequence[tuple[int, EscrowStep]],
) -> tuple[Mapping[int, EscrowStep], list[Escrow | None]]:
    """The document after each arrival, as the projection keeps it, and what it adds up to each time."""
    document: dict[int, EscrowStep] = {}
    seen: list[Escrow | None] = []
    for number, step in arrivals:
        document.setdefault(number, step)
        seen.append(fold_steps(document))
    return document, seen


@every_life
def test_every_order_of_arrival_ends_the_same(life: tuple[EscrowStep, ...]) -> None:
    expected = fold_steps(_numbered(life))
    for order in itertools.permutations(_numbered(life).items()):
        document, seen = _arrive(order)
        assert seen[-1] == expected
        assert document == _numbered(life)
        steps = [escrow.step if escrow else 0 for escrow in seen]
        assert steps == sorted(steps), "a step that has been counted is never taken back"


repeated = st.sampled_from(sorted(LIVES)).flatmap(
    lambda name: st.tuples(st.just(name), st.permutations(list(_numbered(LIVES[name]).items()) * 2))
)


@given(repeated)
def test_every_repetition_ends_the_same(drawn: tuple[str, list[tuple[int, EscrowStep]]]) -> None:
    name, arrivals = drawn
    _, seen = _arrive(arrivals)
    assert seen[-1] == fold_steps(_numbered(LIVES[name]))


@every_life
def test_a_gap_stops_the_fold_before_it(life: tuple[EscrowStep, ...]) -> None:
    for missing in range(1, len(life) + 1):
        steps = _numbered(life)
        del steps[missing]
        assert fold_steps(steps) == fold_steps(_numbered(life[: missing - 1]))


@pytest.mark.parametrize(
    ("life", "escrow"),
    [
        ("created", Escrow(TERMS, frozenset(), EscrowStatus.CREATED, withdrawn=False, step=1)),
        (
            "approved",
            Escrow(
                TERMS,
                frozenset({EscrowRole.PAYER, EscrowRole.ARBITER}),
                EscrowStatus.CREATED,
                withdrawn=False,
                step=3,
            ),
        ),
        (
            "released and withdrawn",
            Escrow(
                TERMS,
                frozenset({EscrowRole.PAYER, EscrowRole.ARBITER}),
                EscrowStatus.RELEASED,
                withdrawn=True,
                step=5,
            ),
        ),
        (
            "refunded and withdrawn",
            Escrow(TERMS, frozenset({EscrowRole.PAYER}), EscrowStatus.REFUNDED, withdrawn=True, step=4),
        ),
    ],
)
def test_what_a_life_adds_up_to(life: str, escrow: Escrow) -> None:
    assert fold_steps(_numbered(LIVES[life])) == escrow


def test_nothing_is_known_before_the_first_step() -> None:
    assert fold_steps({}) is None
    assert fold_steps({2: PAYER}) is None


@pytest.mark.parametrize(
    ("life", "said"),
    [
        ((PAYER,), "step 1 must create"),
        ((Withdrawn(),), "step 1 must create"),
        ((TERMS, TERMS), "step 2 creates an escrow that exists"),
        ((TERMS, PAYER, PAYER), "step 3 repeats the approval of the payer"),
        ((TERMS, Withdrawn()), "step 2 withdraws before"),
        ((TERMS, Released(), Refunded()), "step 3 is Refunded, but the escrow is released"),
        ((TERMS, Refunded(), Released()), "step 3 is Released, but the escrow is refunded"),
        ((TERMS, Released(), Released()), "step 3 is Released"),
        ((TERMS, Refunded(), PAYER), "step 3 is Approved, but the escrow is refunded"),
        ((TERMS, Released(), Withdrawn(), Withdrawn()), "step 4 withdraws what has been withdrawn"),
    ],
)
def test_a_contradiction_is_refused(life: tuple[EscrowStep, ...], said: str) -> None:
    with pytest.raises(EscrowStepError, match=said):
        fold_steps(_numbered(life))
