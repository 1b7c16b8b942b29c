"""One mark of several quotes: what no single source can do, whatever it says, and what is held or refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.marks import (
    NOTHING_BEFORE,
    Before,
    GoodMark,
    MarkDecision,
    MarkStatus,
    Method,
    decide_mark,
    valuation_prices,
    weighted_median,
)
from shared.domain.price_sources import Peg, PricePolicy, Valuation
from shared.domain.quotes import Refusal, SourceAnswer
from tests.unit.domain.pricing import AS_OF, NOW_S, SOURCES, policy_over, usd

THREE = policy_over("chainlink", "pyth", "third")
TWO = policy_over("chainlink", "pyth")
LIMIT = THREE.outlier_limit_pct / 100


def _decide(
    policy: PricePolicy, before: Before = NOTHING_BEFORE, as_of: datetime = AS_OF, **answers: Any
) -> MarkDecision:
    said = {name.replace("_", "-"): usd(each) if _is_price(each) else each for name, each in answers.items()}
    return decide_mark(said, SOURCES, policy, before=before, as_of=as_of)


def _is_price(said: Any) -> bool:
    try:
        Decimal(said)
    except (ArithmeticError, TypeError, ValueError):
        return False
    return True


def _refusals(decision: MarkDecision) -> dict[str, Refusal | None]:
    return {quote.source: quote.refusal for quote in decision.quotes}


def _price(decision: MarkDecision) -> Any:
    return None if decision.good is None else decision.good.price


def _after(decision: MarkDecision) -> Before:
    return Before(decision.last_good, decision.held_since, {quote.source: quote for quote in decision.quotes})


def test_the_mark_is_the_median_and_its_interval_holds_every_quote() -> None:
    decision = _decide(THREE, chainlink="1000", pyth="1001", third=usd("1003", confidence="0.5"))
    assert (decision.status, decision.method) == (MarkStatus.OK, Method.WEIGHTED_MEDIAN)
    assert decision.good == GoodMark(Decimal(1001), Decimal(2), AS_OF - timedelta(seconds=1), 3600)
    assert decision.reason is None


def test_a_stated_confidence_that_is_wider_than_the_quotes_apart_counts() -> None:
    decision = _decide(TWO, chainlink=usd("1000", confidence="5"), pyth=usd("1000", confidence="7"))
    assert decision.good is not None
    assert decision.good.confidence == 6


def test_collateral_and_debt_are_valued_as_the_policy_says() -> None:
    good = GoodMark(Decimal(100), Decimal(2), AS_OF, 60)
    assert valuation_prices(good, TWO) == (Decimal(100), Decimal(100))
    careful = policy_over("chainlink", "pyth", valuation=Valuation.CONFIDENCE)
    assert valuation_prices(good, careful) == (Decimal(98), Decimal(102))


def test_an_outlier_is_refused_and_the_mark_is_degraded() -> None:
    decision = _decide(THREE, chainlink="1000", pyth="1001", third="1100")
    assert (decision.status, _price(decision)) == (MarkStatus.DEGRADED, Decimal(1001))
    assert _refusals(decision) == {"chainlink": None, "pyth": None, "third": Refusal.OUTLIER}
    assert decision.reason is not None
    assert decision.reason.startswith("third: ")


def test_within_the_limit_the_spread_of_the_others_decides_what_is_an_outlier() -> None:
    near = _decide(THREE, chainlink="1000", pyth="1001", third="1004")
    assert _refusals(near)["third"] is None
    off = _decide(THREE, chainlink="1000", pyth="1001", third="1020")
    assert _refusals(off)["third"] is Refusal.OUTLIER


def test_two_that_contradict_each_other_give_the_last_good_mark_and_then_none() -> None:
    first = _decide(TWO, chainlink="1000", pyth="1000")
    apart: dict[str, Any] = {"chainlink": "1000", "pyth": "1100"}
    held = _decide(TWO, _after(first), AS_OF + timedelta(seconds=1), **apart)
    assert (held.status, held.method, _price(held)) == (MarkStatus.DEGRADED, Method.HELD, 1000)
    assert set(_refusals(held).values()) == {Refusal.CONTRADICTED}
    still = _decide(TWO, _after(held), AS_OF + timedelta(seconds=11), **apart)
    assert (still.status, _price(still)) == (MarkStatus.DEGRADED, 1000)
    halted = _decide(TWO, _after(still), AS_OF + timedelta(seconds=12), **apart)
    assert (halted.status, _price(halted)) == (MarkStatus.HALTED, None)
    assert halted.last_good is not None
    assert halted.last_good.price == 1000
    agreed = _decide(TWO, _after(halted), AS_OF + timedelta(seconds=13), chainlink="1100", pyth="1101")
    assert (agreed.status, _price(agreed)) == (MarkStatus.OK, Decimal("1100.5"))


def test_without_a_good_mark_before_contradiction_halts_at_once() -> None:
    assert _decide(TWO, chainlink="1000", pyth="1100").status is MarkStatus.HALTED


def test_a_tie_breaker_counts_only_where_there_is_a_tie() -> None:
    policy = policy_over("chainlink", "pyth", "exchange")
    agreed = _decide(policy, chainlink="1000", pyth="1000", exchange="1010")
    assert (agreed.status, _price(agreed)) == (MarkStatus.OK, 1000)
    assert _refusals(agreed)["exchange"] is Refusal.NOT_NEEDED
    broken = _decide(policy, chainlink="1000", pyth="1100", exchange="1001")
    assert (broken.status, _price(broken)) == (MarkStatus.DEGRADED, Decimal(1001))
    assert _refusals(broken)["pyth"] is Refusal.OUTLIER


def test_two_sources_of_one_provider_are_one_voice_the_newer_ones() -> None:
    policy = policy_over("chainlink", "pyth", "pyth-contract", quorum=2)
    decision = _decide(policy, chainlink="1000", pyth=usd("1001"), pyth_contract=usd("900", age_s=30))
    assert (decision.status, _price(decision)) == (MarkStatus.OK, Decimal("1000.5"))
    assert _refusals(decision)["pyth-contract"] is Refusal.NOT_NEEDED
    alone = _decide(policy, chainlink="down", pyth="1000", pyth_contract="1000")
    assert alone.status is MarkStatus.STALE


def test_a_missing_source_degrades_and_a_missed_quorum_is_stale() -> None:
    one = _decide(TWO, chainlink="1000", pyth="HTTP 503")
    assert (one.status, one.method, _price(one)) == (MarkStatus.DEGRADED, Method.SINGLE, 1000)
    none = _decide(policy_over("chainlink", "pyth", quorum=2), chainlink="1000", pyth="HTTP 503")
    assert (none.status, none.good, none.reason) == (MarkStatus.STALE, None, "pyth: HTTP 503")


def test_words_that_cannot_be_believed_halt() -> None:
    decision = _decide(policy_over("chainlink"), chainlink="0")
    assert (decision.status, decision.reason) == (
        MarkStatus.HALTED,
        "chainlink: the answer is 0, not above zero",
    )


@pytest.mark.parametrize("factor", ["0.79", "1.21"])
def test_a_jump_waits_for_a_second_source(factor: str) -> None:
    first = _decide(TWO, chainlink="1000", pyth="1000")
    there = Decimal(1000) * Decimal(factor)
    alone = _decide(TWO, _after(first), AS_OF + timedelta(seconds=31), chainlink=there, pyth="HTTP 503")
    assert (alone.method, _price(alone)) == (Method.HELD, 1000)
    assert _refusals(alone)["chainlink"] is Refusal.UNCONFIRMED
    both = _decide(TWO, _after(alone), AS_OF + timedelta(seconds=32), chainlink=there, pyth=there)
    assert (both.status, _price(both), both.held_since) == (MarkStatus.OK, there, None)


@pytest.mark.parametrize("factor", ["0.80", "1.20"])
def test_a_move_within_the_limit_needs_no_second_source(factor: str) -> None:
    first = _decide(TWO, chainlink="1000", pyth="1000")
    there = Decimal(1000) * Decimal(factor)
    alone = _decide(TWO, _after(first), AS_OF + timedelta(seconds=31), chainlink=there, pyth="HTTP 503")
    assert (alone.status, _price(alone)) == (MarkStatus.DEGRADED, there)


def test_a_market_that_moves_while_a_source_is_silent_does_not_wait_for_its_carried_quote() -> None:
    first = _decide(TWO, chainlink="1000", pyth="1000")
    moved = _decide(TWO, _after(first), AS_OF + timedelta(seconds=2), chainlink="900", pyth="HTTP 503")
    assert (moved.status, _price(moved)) == (MarkStatus.DEGRADED, 900)


def test_a_jump_is_never_forgotten_however_long_the_silence() -> None:
    first = _decide(TWO, chainlink="1000", pyth="1000")
    silent = _decide(TWO, _after(first), AS_OF + timedelta(seconds=4_000), chainlink="down", pyth="down")
    assert silent.status is MarkStatus.STALE
    back = decide_mark(
        {"chainlink": SourceAnswer(10**10, -8, 0, NOW_S + 4_100, "2"), "pyth": "down"},
        SOURCES,
        TWO,
        before=_after(silent),
        as_of=AS_OF + timedelta(seconds=4_101),
    )
    assert (back.status, back.good) == (MarkStatus.HALTED, None)


def test_a_depeg_is_seen_and_not_clipped() -> None:
    policy = policy_over("chainlink", "pyth", peg=Peg(Decimal(1), Decimal(2)))
    pegged = _decide(policy, chainlink="0.9990", pyth="0.9991")
    assert not pegged.is_off_peg
    slid = _decide(policy, _after(pegged), AS_OF + timedelta(seconds=1), chainlink="0.88", pyth="0.879")
    assert (slid.status, _price(slid), slid.is_off_peg) == (MarkStatus.OK, Decimal("0.8795"), True)


def test_a_mark_lasts_until_its_quorum_is_lost() -> None:
    answers: dict[str, Any] = {"chainlink": usd("1000", age_s=600), "pyth": usd("1000", age_s=60)}
    one = _decide(TWO, **answers)
    assert one.good is not None
    assert (one.good.observed_at, one.good.max_age_s) == (AS_OF - timedelta(seconds=60), 3_600)
    two = _decide(policy_over("chainlink", "pyth", quorum=2), **answers)
    assert two.good is not None
    assert two.good.max_age_s == 3_600 - 540


def test_a_spread_that_is_too_wide_is_a_contradiction() -> None:
    policy = policy_over("chainlink", "pyth", max_confidence_pct=Decimal("0.1"))
    assert _decide(policy, chainlink="1000", pyth="1000.1").status is MarkStatus.OK
    assert _decide(policy, chainlink="1000", pyth="1010").status is MarkStatus.HALTED


PRICES = st.decimals("0.01", "100000", places=4)
HONEST = st.decimals("990", "1010", places=4)
LIES = st.one_of(
    st.builds(
        SourceAnswer,
        value=st.integers(-(2**80), 2**80),
        exponent=st.integers(-20, 5),
        confidence=st.integers(-1, 2**40),
        observed_s=st.integers(0, NOW_S + 100) | st.integers(NOW_S - 100, NOW_S),
        reference=st.just("9"),
    ),
    st.builds(usd, st.decimals("900", "1100", places=4)),
    st.just("no answer"),
)


@given(st.tuples(HONEST, HONEST), LIES)
def test_of_three_of_equal_weight_no_single_one_moves_the_mark_beyond_the_others(
    honest: tuple[Decimal, Decimal], lie: SourceAnswer | str
) -> None:
    decision = _decide(THREE, chainlink=honest[0], pyth=honest[1], third=lie)
    price = _price(decision)
    if price is not None:
        assert min(honest) <= price <= max(honest)


@given(HONEST, LIES, st.tuples(*[st.integers(1, 5)] * 2))
def test_of_two_none_moves_the_mark_by_more_than_the_stated_bound(
    honest: Decimal, lie: SourceAnswer | str, weights: tuple[int, int]
) -> None:
    policy = policy_over(
        "chainlink", "pyth", weights=dict(zip(("chainlink", "pyth"), weights, strict=True)), quorum=2
    )
    price = _price(_decide(policy, chainlink=honest, pyth=lie))
    if price is not None:
        assert abs(price - honest) <= LIMIT * price


@given(st.lists(HONEST, min_size=3, max_size=3), LIES, st.lists(st.integers(1, 9), min_size=4, max_size=4))
def test_with_any_weights_the_stated_bound_holds(
    honest: list[Decimal], lie: SourceAnswer | str, weights: list[int]
) -> None:
    names = ("chainlink", "pyth", "third", "exchange")
    policy = policy_over(*names, weights=dict(zip(names, weights, strict=True)), quorum=2)
    answers: dict[str, Any] = dict(zip(names, honest, strict=False)) | {"exchange": lie}
    price = _price(_decide(policy, **answers))
    if price is not None:
        assert min(abs(price - each) for each in honest) <= LIMIT * price


def _said(names: Sequence[str], prices: Sequence[Decimal], order: Iterable[int]) -> dict[str, Any]:
    return {names[index]: prices[index] for index in order}


@given(st.lists(PRICES, min_size=3, max_size=3))
def test_the_order_of_the_sources_does_not_matter(prices: list[Decimal]) -> None:
    names = ("chainlink", "pyth", "third")
    found = {
        (decision.status, decision.method, decision.good)
        for order in itertools.permutations(range(3))
        for answers in [_said(names, prices, order)]
        for decision in [_decide(THREE, **answers)]
    }
    assert len(found) == 1
    # Nor does it matter which source says which price.
    swapped = _decide(THREE, **_said(names, prices[::-1], range(3)))
    assert found == {(swapped.status, swapped.method, swapped.good)}


@given(st.dictionaries(st.sampled_from(["chainlink", "pyth", "third"]), LIES), st.integers(0, 60))
def test_nothing_that_is_no_price_gets_through(answers: Mapping[str, Any], later_s: int) -> None:
    first = _decide(THREE, chainlink="1000", pyth="1000", third="1000")
    decision = decide_mark(
        answers, SOURCES, THREE, before=_after(first), as_of=AS_OF + timedelta(seconds=later_s)
    )
    assert decision.status.is_usable == (decision.good is not None)
    if decision.good is not None:
        assert decision.good.price.is_finite()
        assert decision.good.price > 0
        assert decision.good.confidence * 100 <= THREE.max_confidence_pct * decision.good.price
    if decision.status is not MarkStatus.OK:
        assert decision.reason


@given(st.integers(1, 600), st.integers(1, 600), PRICES, PRICES)
def test_of_one_source_the_newer_observation_counts_whichever_comes_first(
    age_s: int, other_age_s: int, price: Decimal, other: Decimal
) -> None:
    policy = policy_over("chainlink")
    first = _decide(policy, chainlink=usd(price, age_s=age_s))
    second = _decide(policy, _after(first), chainlink=usd(other, age_s=other_age_s))
    newest = price if age_s < other_age_s else other
    assert second.good is None or second.good.price == newest or second.method is Method.HELD


@given(st.lists(st.tuples(PRICES, st.integers(1, 9)), min_size=1, max_size=7))
def test_a_weighted_median_is_that_of_so_many_copies(weighted: list[tuple[Decimal, int]]) -> None:
    copies = sorted(price for price, weight in weighted for _ in range(weight))
    middle = len(copies) // 2
    expected = copies[middle] if len(copies) % 2 else (copies[middle - 1] + copies[middle]) / 2
    assert weighted_median(weighted) == expected


@given(st.decimals("0.01", "5000", places=4), st.booleans())
def test_alone_a_source_moves_the_mark_by_no_more_than_the_limit_a_tick(
    price: Decimal, had_answered: bool
) -> None:
    before = _after(_decide(TWO, chainlink="1000", pyth="1000" if had_answered else "down"))
    # What Pyth said has been carried for as long as it may.
    alone = _decide(TWO, before, AS_OF + timedelta(seconds=31), chainlink=price, pyth="down")
    moved = _price(alone)
    assert moved is None or abs(moved - 1000) <= (TWO.max_jump_pct or 0) * 10
    if abs(price - 1000) <= 200:
        assert (alone.status, moved) == (MarkStatus.DEGRADED, price)


@given(st.decimals("0.0001", "3", places=4), st.decimals("0.995", "1.005", places=4))
def test_a_stablecoins_mark_is_what_its_sources_say_wherever_that_is(price: Decimal, apart: Decimal) -> None:
    peg = Peg(Decimal(1), Decimal(2))
    policy = policy_over("chainlink", "pyth", peg=peg)
    pegged = _after(_decide(policy, chainlink="1", pyth="1"))
    other = (price * apart).quantize(Decimal("1e-8"))
    decision = _decide(policy, pegged, AS_OF + timedelta(seconds=1), chainlink=price, pyth=other)
    assert decision.good is not None
    assert min(price, other) <= decision.good.price <= max(price, other)
    assert decision.is_off_peg == (abs(decision.good.price - 1) > Decimal("0.02"))
