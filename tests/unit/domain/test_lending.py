"""Markets at a moment, and lenders' shares over reorganisations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.interest import RAY, Market, debt_of, grow_index
from shared.domain.lending import MAX_SUPPLY_RECORDS, LendingMarket, LostHistoryError, Supply
from shared.domain.steps import StepRecord

RATE = 3 * 10**17
BOOKS = Market(0, 0, 10**12, RAY + 7, 0, 0, RATE, 1_000, 1_000_000, 1)
MARKET = LendingMarket(1, "USDC", 6, BOOKS)


def test_a_debt_is_as_of_the_moment_and_never_less_than_was_reported() -> None:
    index = grow_index(RAY + 7, RATE, 86_400)
    assert MARKET.index_at(1_086_400) == index
    assert MARKET.debt_at(10**12, 1_086_400) == debt_of(10**12, index)
    # Our clock is behind the chain's.
    assert MARKET.books_at(999_000) == BOOKS
    assert MARKET.index_at(999_000) == BOOKS.borrow_index


@given(st.data())
def test_any_order_of_reports_and_retractions_ends_in_the_same_shares(data: st.DataObject) -> None:
    chain: list[tuple[int, int]] = []
    messages: list[tuple[int, int | None, int]] = []
    number = 0
    for revision in range(data.draw(st.integers(1, 4))):
        kept = data.draw(st.integers(0, len(chain)))
        messages += [(gone, None, revision) for gone, _ in chain[kept:]]
        chain = chain[:kept]
        number = chain[-1][0] if chain else 0
        for _ in range(data.draw(st.integers(0, 3))):
            number += data.draw(st.integers(1, 3))
            chain.append((number, data.draw(st.integers(0, 2**128 - 1))))
            messages.append((*chain[-1], revision))
    for order in (messages, data.draw(st.permutations(messages)), messages * 2):
        supply = Supply(1, "USDC", 6)
        for at, shares, revision in order:
            known: StepRecord[int] = supply.records.get(at, StepRecord())
            record = known.taken_back(revision) if shares is None else known.announced(shares, revision)
            supply = supply.with_record(at, record)
        assert supply.shares == (chain[-1][1] if chain else 0)


def test_a_reorganisation_deeper_than_what_is_kept_is_refused() -> None:
    supply = Supply(1, "USDC", 6)
    for number in range(1, MAX_SUPPLY_RECORDS + 2):
        supply = supply.with_record(number, StepRecord(number, 0))
    assert len(supply.records) == MAX_SUPPLY_RECORDS
    for number in range(2, MAX_SUPPLY_RECORDS + 2):
        assert supply.shares == MAX_SUPPLY_RECORDS + 1
        supply = supply.with_record(number, supply.records[number].taken_back(1)) if number < 201 else supply
    supply = supply.with_record(201, supply.records[201].taken_back(1))
    with pytest.raises(LostHistoryError, match="1:USDC"):
        _ = supply.shares
