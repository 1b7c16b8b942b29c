"""The book decides what an account-by-account evaluation in exact arithmetic would, and each thing once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.interest import RAY, RAY_DECIMALS
from shared.domain.margin import MarginRecord, State, state_of
from shared.domain.margin_book import Decision, MarginBook, Reading
from shared.domain.market import UsableMarks
from shared.domain.marks import UsableMark, with_debt_marks
from shared.domain.network import NATIVE_ASSET, Asset, Chain, Network, Token
from shared.domain.positions import Account, Position, position_key
from shared.domain.price_sources import PricePolicy, Valuation
from shared.risk.policy import MarginPolicy
from shared.risk.positions import AssetFactors
from shared.risk.positions import Position as RiskPosition
from shared.risk.states import NEVER_EVALUATED
from tests.unit.risk.books import oracle_state

START = datetime(2025, 3, 1, tzinfo=UTC)
PRICES = PricePolicy(
    quorum=1,
    outlier_limit_pct=Decimal(3),
    outlier_floor_pct=Decimal("0.5"),
    outlier_mads=Decimal(5),
    max_confidence_pct=Decimal(3),
    max_jump_pct=None,
    hold_s=10,
    carry_s=30,
    valuation=Valuation.MARK,
    peg=None,
    quotations={},
)
ASSETS = ("ETH", "USDC", "WBTC")
NETWORK = Network(
    margin_policy=MarginPolicy(),
    tick_max_age_s=60,
    price_sources={},
    assets={
        "WBTC": Asset("WBTC", Decimal("0.8"), Decimal("0.9"), PRICES),
        "ETH": Asset("ETH", Decimal(1), Decimal(1), PRICES),
        "USDC": Asset("USDC", Decimal(1), Decimal(1), PRICES),
    },
    chains={
        chain_id: Chain(
            chain_id=chain_id,
            name=f"chain {chain_id}",
            confirmations=0,
            finality=0,
            start_block=0,
            block_range=1,
            vault=NATIVE_ASSET,
            escrow_factory=NATIVE_ASSET,
            multicall=NATIVE_ASSET,
            tokens={asset: Token(asset, NATIVE_ASSET, 0) for asset in ASSETS},
        )
        for chain_id in (1, 2)
    },
)
ONE = UsableMark.plain(Decimal(1))


def marked(usable: UsableMarks, indexes: Mapping[str, int] | None = None) -> UsableMarks:
    """Marks, and debts' at some indexes by asset, on each of the network's chains; without any, at one."""
    grown = dict.fromkeys(ASSETS, RAY) if indexes is None else indexes
    by_market = {
        position_key(chain_id, asset): grown[asset] for chain_id in NETWORK.chains for asset in grown
    }
    return with_debt_marks(usable, by_market)


ACCOUNTS = ("0xaa", "0xbb", "0xcc", "0xdd")

# Round figures, so that accounts often stand exactly on a threshold.
amounts = st.sampled_from([0, 0, 10, 20, 23, 26, 30, 31, 40, 90])
levels = st.sampled_from([Decimal("0.5"), Decimal(1), Decimal("1.15"), Decimal(2)])


def _with_confidence(price: Decimal, confidence: Decimal) -> UsableMark:
    return UsableMark(price, price - confidence, price + confidence)


# Some at the mark, some at the mark less and plus a confidence, as each asset's policy says.
prices = st.dictionaries(
    st.sampled_from(ASSETS),
    st.one_of(
        st.builds(UsableMark.plain, levels),
        st.builds(_with_confidence, levels, st.sampled_from([Decimal("0.02"), Decimal("0.1")])),
    ),
)
# Nothing, a wei's worth, and what takes an account from one threshold to the next.
growths = st.fixed_dictionaries(
    {asset: st.sampled_from([0, 0, 1, RAY // 10**9, RAY // 4]) for asset in ASSETS}
)
holdings = st.fixed_dictionaries({asset: st.tuples(amounts, amounts) for asset in ASSETS})


@dataclass
class Model:
    """Accounts evaluated one by one in rational arithmetic, from their definition."""

    accounts: dict[str, Account] = field(default_factory=dict)
    records: dict[str, MarginRecord] = field(default_factory=dict)
    indexes: dict[str, int] = field(default_factory=dict)

    def held(self, account: Account) -> list[str]:
        return sorted(
            position.asset
            for position in account.positions.values()
            if position.collateral_base or position.debt_shares
        )

    def state(self, account: Account, marks: UsableMarks, previous: State | None) -> State:
        held = [(ASSETS.index(each.asset), each) for each in account.positions.values()]
        return state_of(
            oracle_state(
                [
                    RiskPosition(
                        index,
                        RAY_DECIMALS,
                        each.collateral_base * RAY,
                        each.debt_shares * self.indexes.get(each.asset, RAY),
                    )
                    for index, each in held
                ],
                [marks.get(asset, ONE).collateral_price for asset in ASSETS],
                [
                    AssetFactors(NETWORK.assets[asset].collateral_factor, NETWORK.assets[asset].borrow_factor)
                    for asset in ASSETS
                ],
                NETWORK.margin_policy,
                NEVER_EVALUATED if previous is None else previous.code,
                debt_marks=[marks.get(asset, ONE).debt_price for asset in ASSETS],
            )
        )

    def expect(self, marks: UsableMarks) -> dict[str, tuple[State, State | None, bool, tuple[str, ...]]]:
        """(state, previous state, whether it is a transition, unvalued assets) of every account that
        must be recorded."""
        expected = {}
        for account_id, account in self.accounts.items():
            record = self.records.get(account_id)
            previous = record.valued_state if record else None
            missing = tuple(asset for asset in self.held(account) if marks.get(asset) is None)
            if missing:
                if record is None or record.state is not State.UNVALUED:
                    expected[account_id] = (State.UNVALUED, previous, False, missing)
                continue
            state = self.state(account, marks, previous)
            if state is not previous:
                expected[account_id] = (state, previous, True, ())
            elif record is not None and record.state is State.UNVALUED:
                expected[account_id] = (state, previous, False, ())
        return expected

    def take(self, decisions: list[Decision]) -> None:
        self.records.update({decision.record.account_id: decision.record for decision in decisions})

    def restart(self) -> MarginBook:
        """A book as a new process loads it."""
        book = MarginBook(NETWORK)
        for record in self.records.values():
            book.set_record(record)
        for account in self.accounts.values():
            book.replace_positions(account)
        return book


def _account(account_id: str, version: int, held: dict[str, tuple[int, int]]) -> Account:
    positions = [
        Position(1, asset, 0, collateral, debt, version) for asset, (collateral, debt) in held.items()
    ]
    return Account(account_id, version, START, {position.key: position for position in positions})


def _said(decisions: list[Decision]) -> dict[str, tuple[State, State | None, bool, tuple[str, ...]]]:
    return {
        each.record.account_id: (
            each.record.state,
            each.previous_state,
            each.is_transition,
            each.record.unvalued_assets,
        )
        for each in decisions
    }


moves = st.one_of(
    st.tuples(st.just("tick"), st.tuples(prices, growths)),
    st.tuples(st.just("positions"), st.tuples(st.sampled_from(ACCOUNTS), holdings)),
    st.tuples(st.just("old positions"), st.tuples(st.sampled_from(ACCOUNTS), holdings)),
    st.tuples(st.just("redelivery"), st.none()),
    st.tuples(st.just("restart"), st.none()),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(moves, min_size=1, max_size=25))
def test_every_decision_is_the_one_of_exact_arithmetic(story: list[tuple[str, Any]]) -> None:
    model, book, sequence = Model(), MarginBook(NETWORK), 0
    latest: UsableMarks = {}
    for move, detail in story:
        if move == "positions":
            account_id, held = detail
            version = book.version(account_id) + 1
            model.accounts[account_id] = _account(account_id, version, held)
            assert book.replace_positions(model.accounts[account_id])
        elif move == "old positions":
            account_id, held = detail
            if account_id in model.accounts:
                assert not book.replace_positions(_account(account_id, book.version(account_id), held))
        elif move == "restart":
            book = model.restart()
        elif move == "tick":
            sequence += 1
            prices_now, grown_by = detail
            model.indexes = {
                asset: model.indexes.get(asset, RAY) + grown for asset, grown in grown_by.items()
            }
            latest = marked(prices_now, model.indexes)
        if move not in {"tick", "redelivery"} or sequence == 0:
            continue
        expected = model.expect(latest)
        before = dict(model.records)
        decisions = book.decide(latest, tick_sequence=sequence, as_of=START + timedelta(seconds=sequence))
        assert _said(decisions) == expected
        assert [each.record.account_id for each in decisions] == sorted(expected)
        for each in decisions:
            known = before.get(each.record.account_id)
            counted = 0 if known is None else known.transitions
            assert each.record.transitions == counted + each.is_transition
            assert each.record.position_version == model.accounts[each.record.account_id].version
            assert each.record.tick_sequence == sequence
            _check_valuation(model, each, latest)
        model.take(decisions)
        assert book.decide(latest, tick_sequence=sequence, as_of=START) == [], "said twice"


def _check_valuation(model: Model, decision: Decision, marks: UsableMarks) -> None:
    record = decision.record
    if record.state is State.UNVALUED:
        assert record.valuation is None
        return
    assert record.valuation is not None
    collateral = debt = Fraction(0)
    for position in model.accounts[record.account_id].positions.values():
        asset = NETWORK.assets[position.asset]
        mark = marks.get(position.asset, ONE)
        factor = Fraction(asset.collateral_factor)
        collateral += position.collateral_base * Fraction(mark.collateral_price) * factor
        index = Fraction(model.indexes.get(position.asset, RAY), RAY)
        debt += position.debt_shares * index * Fraction(mark.debt_price) / Fraction(asset.borrow_factor)
    assert abs(Fraction(record.valuation.collateral_usd) - collateral) <= Fraction(1, 10**6)
    assert abs(Fraction(record.valuation.debt_usd) - debt) <= Fraction(1, 10**6)
    if debt == 0:
        assert record.valuation.health_pct is None
    else:
        assert record.valuation.health_pct == pytest.approx(float((collateral - debt) / debt * 100))


def _book(**held: tuple[int, int]) -> MarginBook:
    book = MarginBook(NETWORK)
    book.replace_positions(_account("0xaa", 1, held))
    return book


FAIR: UsableMarks = marked({"ETH": ONE, "USDC": ONE, "WBTC": ONE})


def _at(price: str) -> UsableMark:
    return UsableMark.plain(Decimal(price))


def _decide(book: MarginBook, marks: UsableMarks, tick: int) -> list[Decision]:
    return book.decide(marks, tick_sequence=tick, as_of=START + timedelta(seconds=tick))


def test_a_tick_that_a_record_is_ahead_of_decides_nothing() -> None:
    book = _book(ETH=(130, 0), USDC=(0, 100))
    (first,) = _decide(book, FAIR, 7)
    behind = _book(ETH=(130, 0), USDC=(0, 100))
    behind.set_record(first.record)
    assert _decide(behind, {**FAIR, "ETH": _at("0.9")}, 6) == []
    assert behind.standing("0xaa") == first.record.standing
    (next_one,) = _decide(behind, {**FAIR, "ETH": _at("0.9")}, 8)
    assert next_one.previous_state is first.record.state
    assert next_one.record.transitions == 2


def test_a_decision_that_was_not_recorded_is_made_again() -> None:
    book = _book(ETH=(130, 0), USDC=(0, 100))
    (lost,) = _decide(book, FAIR, 1)
    book.forget_record("0xaa")
    assert _decide(book, FAIR, 1) == [lost]


def test_an_account_on_the_threshold_does_not_flap() -> None:
    book = _book(ETH=(130, 0), USDC=(0, 100))
    assert [each.record.state for each in _decide(book, FAIR, 1)] == [State.WARNING]
    assert [each.record.state for each in _decide(book, {**FAIR, "ETH": _at("0.99999")}, 2)] == [
        State.MARGIN_CALL
    ]
    assert _decide(book, FAIR, 3) == []
    assert [each.record.state for each in _decide(book, {**FAIR, "ETH": _at("1.016")}, 4)] == [State.WARNING]


def test_new_positions_without_a_new_state_are_acknowledged_once() -> None:
    book = _book(ETH=(200, 0), USDC=(0, 100))
    (first,) = _decide(book, FAIR, 1)
    assert book.acknowledge("0xaa", FAIR, tick_sequence=1, as_of=START) is None
    book.replace_positions(_account("0xaa", 2, {"ETH": (210, 0), "USDC": (0, 100)}))
    assert _decide(book, FAIR, 1) == []
    noted = book.acknowledge("0xaa", FAIR, tick_sequence=1, as_of=START)
    assert noted is not None
    assert not noted.is_transition
    assert noted.record.position_version == 2
    assert noted.record.transitions == first.record.transitions
    assert noted.record.valuation is not None
    assert noted.record.valuation.collateral_usd == 210
    assert book.acknowledge("0xaa", FAIR, tick_sequence=1, as_of=START) is None


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(ACCOUNTS), holdings, min_size=1), prices, prices)
def test_reading_one_and_reading_all_agree(
    held: dict[str, dict[str, tuple[int, int]]], first: UsableMarks, second: UsableMarks
) -> None:
    first, second = marked(first), marked(second)
    book = MarginBook(NETWORK)
    for account_id, positions in held.items():
        book.replace_positions(_account(account_id, 1, positions))
    _decide(book, first, 1)
    recorded = {account_id: known for account_id in held if (known := book.standing(account_id))}
    together = {reading.account_id: reading for reading in book.read_all(second)}
    for account_id, reading in together.items():
        alone = book.read(account_id, second)
        assert alone.unvalued_assets == reading.unvalued_assets
        if alone.valuation is None or reading.valuation is None:
            assert alone.valuation is reading.valuation
        else:
            # Two orders of the same additions: the last bit may differ, a millionth of a dollar may not.
            assert alone.valuation.collateral_usd == reading.valuation.collateral_usd
            assert alone.valuation.debt_usd == reading.valuation.debt_usd
            assert alone.valuation.health_pct == pytest.approx(reading.valuation.health_pct)
        if reading.state is not State.UNVALUED:
            assert reading.state is recorded[account_id].valued_state
    never_valued = {account_id for account_id, known in recorded.items() if known.valued_state is None}
    assert set(held) - set(together) <= never_valued
    assert {book.standing(account_id) for account_id in recorded} == set(recorded.values()), "reading records"


def test_a_removed_account_is_gone() -> None:
    book = _book(ETH=(130, 0), USDC=(0, 100))
    _decide(book, FAIR, 1)
    book.remove("0xaa")
    assert "0xaa" not in book
    assert len(book) == 0
    assert list(book.read_all(FAIR)) == []
    assert _decide(book, {}, 2) == []
    with pytest.raises(KeyError):
        book.read("0xaa", FAIR)


def test_an_unlisted_asset_unvalues_its_holders_and_nobody_else() -> None:
    book = _book(ETH=(200, 0), USDC=(0, 100))
    book.replace_positions(_account("0xbb", 1, {"DAI": (1, 0), "ETH": (200, 0), "ZRX": (0, 5)}))
    marks = {**FAIR, "DAI": ONE, "ZRX": ONE}
    valued, unvalued = _decide(book, marks, 1)
    assert (valued.record.state, valued.is_transition) == (State.HEALTHY, True)
    assert (unvalued.record.state, unvalued.is_transition) == (State.UNVALUED, False)
    assert unvalued.record.unvalued_assets == ("DAI", "ZRX")
    assert book.read("0xbb", marks) == Reading("0xbb", State.UNVALUED, ("DAI", "ZRX"), None)
    book.replace_positions(_account("0xbb", 2, {"ETH": (200, 0), "DAI": (0, 0)}))
    (back,) = _decide(book, marks, 2)
    assert (back.record.account_id, back.record.state) == ("0xbb", State.NO_DEBT)
