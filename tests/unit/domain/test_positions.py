"""However reports of positions are repeated and reordered, an account ends the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.positions import Account, Position, apply_position, position_key
from shared.domain.steps import StepError

ACCOUNT = "0x" + "a1" * 20
START = datetime(2025, 3, 1, tzinfo=UTC)

Report = tuple[Position, datetime]

chains_and_assets = st.tuples(st.sampled_from([1, 10]), st.sampled_from(["ETH", "USDC", "WBTC"]))


@st.composite
def histories(draw: st.DrawFn) -> list[Report]:
    """What the vaults of two chains report of one account: each counts its own events from 1."""
    counts = {1: 0, 10: 0}
    reports: list[Report] = []
    for number, (chain_id, asset) in enumerate(draw(st.lists(chains_and_assets, min_size=1, max_size=12))):
        counts[chain_id] += 1
        position = Position(
            chain_id=chain_id,
            asset=asset,
            decimals=18,
            collateral_base=draw(st.integers(0, 2**256 - 1)),
            debt_shares=draw(st.integers(0, 2**256 - 1)),
            sequence=counts[chain_id],
        )
        reports.append((position, START + timedelta(seconds=number)))
    return reports


def _fold(reports: list[Report]) -> Account:
    account: Account | None = None
    for position, moment in reports:
        account = apply_position(account, ACCOUNT, position, moment) or account
    assert account is not None
    return account


@given(histories().flatmap(lambda h: st.tuples(st.just(h), st.permutations(h), st.lists(st.sampled_from(h)))))
def test_any_order_and_any_repeats_end_in_the_same_account(
    drawn: tuple[list[Report], list[Report], list[Report]],
) -> None:
    history, shuffled, repeats = drawn
    expected, seen = _fold(history), _fold([*shuffled, *repeats])
    assert seen.positions == expected.positions
    assert seen.as_of <= expected.as_of
    latest = {position_key(position.chain_id, position.asset): position for position, _ in history}
    assert expected.positions == latest


@given(histories().flatmap(lambda h: st.tuples(st.just(h), st.lists(st.sampled_from(h), min_size=1))))
def test_a_repeat_changes_nothing(drawn: tuple[list[Report], list[Report]]) -> None:
    history, repeats = drawn
    account = _fold(history)
    for position, moment in repeats:
        assert apply_position(account, ACCOUNT, position, moment) is None


@given(histories())
def test_the_version_rises_by_one_with_every_change(history: list[Report]) -> None:
    account: Account | None = None
    for number, (position, moment) in enumerate(history, start=1):
        account = apply_position(account, ACCOUNT, position, moment)
        assert account is not None
        assert account.version == number
        assert account.account_id == ACCOUNT
        assert account.as_of == moment


def test_an_earlier_report_does_not_take_back_time() -> None:
    late = Position(1, "ETH", 18, 5, 0, sequence=2)
    early = Position(1, "USDC", 6, 7, 0, sequence=1)
    account = apply_position(None, ACCOUNT, late, START + timedelta(seconds=9))
    assert account is not None
    after = apply_position(account, ACCOUNT, early, START)
    assert after is not None
    assert after.as_of == START + timedelta(seconds=9)
    assert after.version == 2
    assert set(after.positions) == {"1:ETH", "1:USDC"}


def test_two_reports_of_one_rank_were_taken_for_a_repeat_and_contradict_each_other_here() -> None:
    report = Position(1, "ETH", 18, 5, 0, sequence=2)
    account = apply_position(None, ACCOUNT, report, START)
    for wrong in (replace(report, collateral_base=6), replace(report, debt_shares=1)):
        with pytest.raises(StepError, match="there are two"):
            apply_position(account, ACCOUNT, wrong, START)
    assert apply_position(account, ACCOUNT, report, START) is None
    assert apply_position(account, ACCOUNT, replace(report, sequence=1, collateral_base=9), START) is None
