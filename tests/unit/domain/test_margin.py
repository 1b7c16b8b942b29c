"""What a change of margin state means for people."""

from __future__ import annotations

import itertools

import pytest

from shared.domain.margin import Severity, State, concerns_client, severity, state_of
from shared.risk.states import MarginState

VALUED = [state for state in State if state is not State.UNVALUED]
RANK = list(Severity)


def test_names_and_codes_are_one_to_one() -> None:
    assert {state.code for state in State} == set(MarginState)
    assert [state_of(state.code) for state in State] == list(State)


@pytest.mark.parametrize(
    ("previous", "state", "expected"),
    [
        (None, State.HEALTHY, Severity.INFO),
        (None, State.MARGIN_CALL, Severity.HIGH),
        (State.HEALTHY, State.WARNING, Severity.MEDIUM),
        (State.WARNING, State.MARGIN_CALL, Severity.HIGH),
        (State.NO_DEBT, State.LIQUIDATION, Severity.CRITICAL),
        (State.LIQUIDATION, State.INSOLVENT, Severity.CRITICAL),
        (State.INSOLVENT, State.LIQUIDATION, Severity.INFO),
        (State.MARGIN_CALL, State.WARNING, Severity.INFO),
        (State.WARNING, State.NO_DEBT, Severity.INFO),
    ],
)
def test_severity(previous: State | None, state: State, expected: Severity) -> None:
    assert severity(previous, state) is expected


@pytest.mark.parametrize(("better", "worse"), list(itertools.combinations(VALUED, 2)))
def test_a_fall_is_as_urgent_as_where_it_ends(better: State, worse: State) -> None:
    assert severity(worse, better) is Severity.INFO
    assert severity(better, worse) is severity(None, worse)


def test_worse_states_are_never_less_urgent() -> None:
    ranks = [RANK.index(severity(None, state)) for state in VALUED]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("previous", [None, *VALUED])
@pytest.mark.parametrize("state", VALUED)
def test_the_client_hears_of_every_state_from_warning_on_and_of_leaving_it(
    previous: State | None, state: State
) -> None:
    calm = {None, State.NO_DEBT, State.HEALTHY}
    assert concerns_client(previous, state) == (not {previous, state} <= calm)
