"""Transactions and fees: what to do next, for whatever a node may show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.fees import FeeCap, FeeMarket, Fees, opening_bid, raised_bid
from shared.domain.transactions import (
    Attempt,
    Conclude,
    Hold,
    Lose,
    Mined,
    Note,
    Patience,
    Replace,
    Resend,
    Sight,
    Transaction,
    TransactionStatus,
    Wait,
    decide,
    gaps,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GWEI = 10**9
PATIENCE = Patience(timedelta(seconds=30), timedelta(seconds=60))
CAP = FeeCap(100 * GWEI, 1_000 * GWEI)
MARKET = FeeMarket(10 * GWEI, GWEI)
FEES = Fees(21 * GWEI, GWEI)


def _attempt(age_s: float = 0, resent_s: float | None = None, *, no_op: bool = False) -> Attempt:
    resent = None if resent_s is None else NOW - timedelta(seconds=resent_s)
    return Attempt("0xaa", "0x02", FEES, no_op, NOW - timedelta(seconds=age_s), resent)


def _transaction(attempt: Attempt | None = None) -> Transaction:
    return Transaction(
        chain_id=1,
        signer="0x" + "11" * 20,
        nonce=7,
        command_id="cmd",
        to="0x" + "22" * 20,
        data="0x",
        value_base=0,
        gas_limit=21_000,
        deadline=NOW + timedelta(hours=1),
        attempts=(attempt or _attempt(),),
        status=TransactionStatus.PENDING,
        created_at=NOW - timedelta(hours=1),
    )


def _sight(**seen: object) -> Sight:
    sight = Sight(
        latest_count=7, pending_count=8, final_count=7, final_number=100, receipt=None, market=MARKET
    )
    return replace(sight, **seen)  # type: ignore[arg-type]


def _decide(transaction: Transaction, sight: Sight, cap: FeeCap = CAP) -> object:
    return decide(transaction, sight, PATIENCE, cap, NOW)


RECEIPT = Mined("0xaa", 101, "0xb1", succeeded=True)


def test_a_receipt_is_noted_followed_and_concluded() -> None:
    transaction = _transaction()
    assert _decide(transaction, _sight(latest_count=8, receipt=RECEIPT)) == Note(RECEIPT)
    noted = replace(transaction, mined=RECEIPT, status=TransactionStatus.MINED)
    assert _decide(noted, _sight(latest_count=8, receipt=RECEIPT)) == Wait()
    moved = replace(RECEIPT, block_number=102, block_hash="0xb2")
    assert _decide(noted, _sight(latest_count=8, receipt=moved)) == Note(moved)
    assert _decide(noted, _sight(latest_count=8, receipt=RECEIPT, final_number=101)) == Conclude(RECEIPT)


def test_a_receipt_that_vanishes_is_taken_back() -> None:
    noted = replace(_transaction(), mined=RECEIPT, status=TransactionStatus.MINED)
    for latest in (7, 8):
        assert _decide(noted, _sight(latest_count=latest)) == Note(None)


def test_a_counted_nonce_without_a_receipt_waits_until_that_is_final() -> None:
    assert _decide(_transaction(_attempt(900, 800)), _sight(latest_count=8)) == Wait()
    assert _decide(_transaction(), _sight(latest_count=8, final_count=8)) == Lose()


@pytest.mark.parametrize(
    ("age_s", "resent_s", "seen", "expected"),
    [
        (5, None, {}, Wait),
        (29, None, {}, Wait),
        (31, None, {}, Resend),
        # However long it waits, its own bytes come first.
        (900, None, {}, Resend),
        (50, 20, {}, Wait),
        (70, 10, {}, Replace),
        # Only what is first in line holds others up.
        (900, 10, {"latest_count": 5}, Wait),
        # The node does not have it: sooner.
        (8, None, {"pending_count": 7}, Resend),
        (5, None, {"pending_count": 7}, Wait),
    ],
)
def test_the_same_bytes_go_out_before_a_higher_bid(
    age_s: float, resent_s: float | None, seen: dict[str, object], expected: type
) -> None:
    action = _decide(_transaction(_attempt(age_s, resent_s)), _sight(**seen))
    assert type(action) is expected


def test_what_may_not_happen_any_more_is_replaced_by_a_no_op() -> None:
    overdue = replace(_transaction(), deadline=NOW)
    abandoned = replace(_transaction(), abandoned="too large")
    for transaction in (overdue, abandoned):
        action = _decide(transaction, _sight())
        assert isinstance(action, Replace)
        assert action.no_op
    with_no_op = replace(overdue, attempts=(*overdue.attempts, _attempt(70, 10, no_op=True)))
    again = _decide(with_no_op, _sight())
    assert isinstance(again, Replace)
    assert again.no_op
    assert _decide(replace(overdue, attempts=(_attempt(5, no_op=True),)), _sight()) == Wait()


def test_a_bid_at_its_cap_goes_on_once_the_cap_has_risen() -> None:
    stuck = _transaction(_attempt(300, 40))
    tight = FeeCap(22 * GWEI, 22 * GWEI)
    assert _decide(stuck, _sight(), tight) == Resend(capped=True)
    assert isinstance(_decide(stuck, _sight(), FeeCap(22 * GWEI, 40 * GWEI)), Replace)


def test_the_cap_rises_evenly_to_its_ceiling() -> None:
    since, deadline = NOW, NOW + timedelta(hours=1)
    seen = [
        CAP.at(since=since, deadline=deadline, now=NOW + timedelta(minutes=minutes))
        for minutes in (0, 30, 60, 600)
    ]
    most = 1_000 * GWEI * 1_000 // 1_125
    assert seen == [100 * GWEI, 100 * GWEI + (most - 100 * GWEI) // 2, most, most]
    assert CAP.at(since=since, deadline=None, now=NOW) == 1_000 * GWEI
    assert CAP.at(since=since, deadline=deadline, now=NOW - timedelta(minutes=1)) == 100 * GWEI


def test_an_overdue_call_at_the_ceiling_was_sent_again_and_gives_way_to_a_no_op_here() -> None:
    """The highest bid that a call may make leaves room for the no-op."""
    ceiling = 50 * GWEI
    cap = FeeCap(ceiling, ceiling)
    overdue = replace(_transaction(_attempt(900, 40)), deadline=NOW)
    highest = opening_bid(
        FeeMarket(ceiling, GWEI), cap.at(since=NOW - timedelta(hours=1), deadline=NOW, now=NOW)
    )
    overdue = replace(overdue, attempts=(replace(overdue.newest, fees=highest),))
    action = _decide(overdue, _sight(market=FeeMarket(ceiling, GWEI)), cap)
    assert isinstance(action, Replace)
    assert action.no_op
    assert action.fees.max_fee_wei <= ceiling


def test_what_may_not_happen_any_more_is_never_sent_again_even_where_no_no_op_is_allowed() -> None:
    """The ceiling was lowered after the call had bid."""
    for transaction in (
        replace(_transaction(_attempt(900, 40)), deadline=NOW),
        replace(_transaction(_attempt(900, 40)), abandoned="too large"),
    ):
        assert _decide(transaction, _sight(), FeeCap(GWEI, 22 * GWEI)) == Hold()
        assert _decide(transaction, _sight(pending_count=7), FeeCap(GWEI, 22 * GWEI)) == Hold()


WEI = st.integers(0, 10**13)


@given(WEI, WEI, WEI, WEI, WEI)
def test_a_raised_bid_is_one_that_nodes_take_and_never_above_the_cap(
    fee: int, tip: int, base: int, market_tip: int, cap: int
) -> None:
    bid = Fees(max(fee, tip), min(fee, tip))
    raised = raised_bid(bid, FeeMarket(base, market_tip), cap)
    if raised is None:
        assert 1_125 * bid.max_fee_wei > 1_000 * cap - 1_000 or bid.max_fee_wei >= cap
        return
    assert raised.max_fee_wei <= cap
    assert raised.max_priority_fee_wei <= raised.max_fee_wei
    assert 10 * raised.max_fee_wei >= 11 * bid.max_fee_wei
    assert 10 * raised.max_priority_fee_wei >= 11 * bid.max_priority_fee_wei
    assert raised.max_fee_wei > bid.max_fee_wei
    assert raised.max_priority_fee_wei > bid.max_priority_fee_wei


@given(WEI, WEI, WEI)
def test_an_opening_bid_covers_the_base_fee_where_the_cap_allows(base: int, tip: int, cap: int) -> None:
    bid = opening_bid(FeeMarket(base, tip), cap)
    assert bid.max_fee_wei == min(2 * base + tip, cap)
    assert bid.max_priority_fee_wei == min(tip, bid.max_fee_wei)


@pytest.mark.parametrize(
    ("latest", "pending", "open_nonces", "expected"),
    [
        (5, 5, {5, 6, 7}, []),
        (5, 5, {6, 8}, [5, 7]),
        (5, 7, {6, 8}, [7]),
        (5, 9, {6, 8}, []),
        (9, 9, {6, 8}, []),
        (5, 5, set[int](), []),
    ],
)
def test_gaps_are_the_nonces_below_open_ones_that_nothing_uses(
    latest: int, pending: int, open_nonces: set[int], expected: list[int]
) -> None:
    assert gaps(latest, pending, frozenset(open_nonces)) == expected


def test_what_happened_is_what_was_asked_for_or_its_no_op() -> None:
    call, no_op = _attempt(), replace(_attempt(no_op=True), hash="0xbb")
    transaction = replace(_transaction(), attempts=(call, no_op))
    assert not transaction.happened
    assert replace(transaction, mined=RECEIPT).happened
    assert not replace(transaction, mined=replace(RECEIPT, hash="0xbb")).happened
