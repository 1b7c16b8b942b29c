"""Random accounts with what the back office says of each, for the vault's contract to agree with.

An account deposits, borrows, waits and pays; prices move. The lending markets are simulated by
:mod:`shared.domain.interest`, the account's state is decided by the risk core, exactly. The contract test
``contracts/test/differential/MarginDifferential.t.sol`` plays the same and compares every number.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from eth_abi.abi import encode

from shared.domain.interest import BPS, RAY, Market, RateCurve
from shared.risk.margin import decide_state_exact
from shared.risk.policy import MarginPolicy
from shared.risk.positions import AssetFactors, FactorTable, Position
from shared.risk.states import NEVER_EVALUATED, MarginState

COMMITTED_COUNT = 25
COMMITTED_SEED = 1
COMMITTED_FILE = Path(__file__).resolve().parents[2] / "contracts" / "test" / "differential" / "cases.hex"

_CASE_TYPES = (
    *("uint256", "int256[4]", "uint256[4]", "uint256[4]", "uint256", "uint256[4]", "int256[4]"),
    *("uint256[4]", "uint256", "uint256", "uint256", "uint256"),
)
_USD_UNIT = 10**36
_INITIAL_MARGIN_BPS = 5_000
_LIQUIDATION_MARGIN_BPS = 1_500
_START = 1_800_000_000
_POLICY = MarginPolicy(liquidation_pct=Decimal(15))


@dataclass(frozen=True, slots=True)
class Listing:
    """An asset of the contracts' VaultFixture; the price is in USD."""

    decimals: int
    feed_decimals: int
    collateral_factor_bps: int
    borrow_factor_bps: int
    price: int
    supplied_base: int


LISTINGS = (
    Listing(18, 8, 8_000, 10_000, 2_000, 5_000 * 10**18),
    Listing(6, 8, 10_000, 10_000, 1, 10_000_000 * 10**6),
    Listing(8, 8, 10_000, 10_000, 50_000, 100 * 10**8),
    Listing(18, 18, 10_000, 8_000, 2_000, 5_000 * 10**18),
)
_CURVE = RateCurve(base_bps=200, slope_below_bps=400, slope_above_bps=7_500, kink_bps=8_000)
_FACTORS = FactorTable(
    [
        AssetFactors(Decimal(item.collateral_factor_bps) / BPS, Decimal(item.borrow_factor_bps) / BPS)
        for item in LISTINGS
    ]
)

Answers = tuple[int, int, int, int]
"""What the four feeds answer."""


@dataclass(frozen=True, slots=True)
class Account:
    """What an account did, and what it is worth in the end: debts in base units, USD with 36 decimals."""

    elapsed_s: int
    opening_answers: Answers
    collateral: list[int]
    loans: list[int]
    held_s: int
    payments: list[int]
    closing_answers: Answers
    debts: list[int]
    collateral_usd: int
    debt_usd: int
    health_factor: int
    state: MarginState

    @property
    def is_liquidatable(self) -> bool:
        """What the vault must say: the back office's LIQUIDATION, or worse."""
        return self.state in (MarginState.LIQUIDATION, MarginState.INSOLVENT)

    def positions(self) -> list[Position]:
        """The account as the risk core takes it."""
        return [
            Position(i, LISTINGS[i].decimals, self.collateral[i], self.debts[i]) for i in range(len(LISTINGS))
        ]

    def marks(self) -> list[Fraction]:
        """The closing prices, exact."""
        return [
            Fraction(a, 10**item.feed_decimals)
            for a, item in zip(self.closing_answers, LISTINGS, strict=True)
        ]


class Simulation:
    """The vault of the contracts' fixture, its time, and accounts that come one after the other."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self.now = _START
        self.markets: list[Market] = []
        for item in LISTINGS:
            listed = Market(0, 0, 0, RAY, 0, 0, 0, 1_000, _START, 0).with_rate_of(_CURVE)
            supplied, _ = listed.supply(item.supplied_base)
            self.markets.append(supplied.with_rate_of(_CURVE))

    def accounts(self, count: int) -> Iterator[Account]:
        """The next accounts."""
        for _ in range(count):
            yield self._account()

    def _account(self) -> Account:
        draw = self._draw
        elapsed_s = draw.randrange(0, 600)
        self.now += elapsed_s
        opening = self._answers([Fraction(1)] * 4, spread=0.3)
        held = draw.sample(range(4), draw.choice((1, 1, 2, 3)))
        value_usd = Fraction(str(round(draw.lognormvariate(8.0, 1.2) + 20, 2)))
        collateral = [0] * 4
        for i in held:
            collateral[i] = max(
                1, int(value_usd / len(held) / _unit_usd(i, opening[i]) * Fraction(draw.random()))
            )
        loans = self._loans(collateral, opening)
        shares = [self._borrow(i, loan) if loan else 0 for i, loan in enumerate(loans)]

        held_s = draw.choice((0, draw.randrange(1, 3_600), draw.randrange(3_600, 400 * 86_400) // 400))
        self.now += held_s
        due = [self.markets[i].accrue(self.now).debt_of(shares[i]) for i in range(4)]
        payments = [self._payment(amount) for amount in due]
        for i, payment in enumerate(payments):
            if payment:
                shares[i] -= self._repay(i, shares[i], payment)
        debts = [self.markets[i].accrue(self.now).debt_of(shares[i]) for i in range(4)]
        closing = self._closing(collateral, debts, opening)
        return _valued(elapsed_s, opening, collateral, loans, held_s, payments, closing, debts)

    def _answers(self, factors: list[Fraction], *, spread: float) -> Answers:
        first, second, third, fourth = (
            max(
                1,
                int(
                    item.price
                    * 10**item.feed_decimals
                    * factor
                    * Fraction(1 + self._draw.uniform(-spread, spread))
                ),
            )
            for item, factor in zip(LISTINGS, factors, strict=True)
        )
        return first, second, third, fourth

    def _loans(self, collateral: list[int], answers: Answers) -> list[int]:
        """Up to what the initial margin allows, often all of it."""
        draw = self._draw
        loans = [0] * 4
        limit_usd = (
            sum(
                (
                    amount * _unit_usd(i, answers[i]) * LISTINGS[i].collateral_factor_bps / BPS
                    for i, amount in enumerate(collateral)
                ),
                start=Fraction(0),
            )
            * BPS
            / (BPS + _INITIAL_MARGIN_BPS)
        )
        owed = draw.sample(range(4), draw.choice((0, 1, 1, 1, 2)))
        used = Fraction(1) if draw.random() < 0.4 else Fraction(draw.random())
        for i in owed:
            part_usd = limit_usd * used / len(owed) * LISTINGS[i].borrow_factor_bps / BPS
            # Debt is rounded up to a share: one base unit less than the limit is always granted.
            loans[i] = max(
                0, min(int(part_usd / _unit_usd(i, answers[i])) - 2, self.markets[i].cash_base // 100)
            )
        return loans

    def _payment(self, due: int) -> int:
        if due < 10 or self._draw.random() > 0.25:
            return 0
        return due if self._draw.random() < 0.3 else self._draw.randrange(2, due)

    def _closing(self, collateral: list[int], debts: list[int], opening: Answers) -> Answers:
        """Prices that leave many accounts near their liquidation threshold, on either side."""
        if not any(debts) or self._draw.random() < 0.2:
            return self._answers(
                [
                    Fraction(a, item.price * 10**item.feed_decimals)
                    for a, item in zip(opening, LISTINGS, strict=True)
                ],
                spread=0.4,
            )
        marks = [Fraction(a, 10**item.feed_decimals) for a, item in zip(opening, LISTINGS, strict=True)]
        held = [Position(i, LISTINGS[i].decimals, collateral[i], debts[i]) for i in range(4)]
        collateral_usd, debt_usd = _FACTORS.exact_values(held, marks)
        target = Fraction(BPS + _LIQUIDATION_MARGIN_BPS, BPS) * Fraction(
            1 + self._draw.choice((0, self._draw.gauss(0, 0.0001), self._draw.gauss(0, 0.05)))
        )
        fall = target * debt_usd / collateral_usd
        first, second, third, fourth = (
            max(1, round(answer * fall)) if collateral[i] and not debts[i] else answer
            for i, answer in enumerate(opening)
        )
        return first, second, third, fourth

    def _borrow(self, i: int, amount: int) -> int:
        market, shares = self.markets[i].accrue(self.now).borrow(amount)
        self.markets[i] = market.with_rate_of(_CURVE)
        return shares

    def _repay(self, i: int, held_shares: int, amount: int) -> int:
        market, shares = self.markets[i].accrue(self.now).repay(held_shares, amount)
        self.markets[i] = market.with_rate_of(_CURVE)
        return shares


def _unit_usd(i: int, answer: int) -> Fraction:
    """USD of one base unit."""
    return Fraction(answer, 10 ** (LISTINGS[i].feed_decimals + LISTINGS[i].decimals))


def _valued(
    elapsed_s: int,
    opening: Answers,
    collateral: list[int],
    loans: list[int],
    held_s: int,
    payments: list[int],
    closing: Answers,
    debts: list[int],
) -> Account:
    """The account with its worth: the vault's rounding restated, and the back office's own decision."""
    collateral_usd = debt_usd = 0
    for i, item in enumerate(LISTINGS):
        unit = closing[i] * 10 ** (36 - item.feed_decimals - item.decimals)
        collateral_usd += collateral[i] * unit * item.collateral_factor_bps // BPS
        debt_usd += -(-debts[i] * unit * BPS // item.borrow_factor_bps)
    health_factor = (
        collateral_usd * 10**18 * BPS // (debt_usd * (BPS + _LIQUIDATION_MARGIN_BPS))
        if debt_usd
        else 2**256 - 1
    )
    account = Account(
        elapsed_s,
        opening,
        collateral,
        loans,
        held_s,
        payments,
        closing,
        debts,
        collateral_usd,
        debt_usd,
        health_factor,
        MarginState.NO_DEBT,
    )
    state = decide_state_exact(account.positions(), account.marks(), _FACTORS, _POLICY, NEVER_EVALUATED)
    return Account(
        elapsed_s,
        opening,
        collateral,
        loans,
        held_s,
        payments,
        closing,
        debts,
        collateral_usd,
        debt_usd,
        health_factor,
        state,
    )


def exact_values(account: Account) -> tuple[Fraction, Fraction]:
    """Collateral and debt of an account in USD as the risk core values them, without rounding."""
    return _FACTORS.exact_values(account.positions(), account.marks())


def _hexadecimal(types: Sequence[str], values: Sequence[Any]) -> str:
    return encode(types, values).hex()


def write_cases(path: Path, count: int, seed: int) -> list[Account]:
    """Write a file of accounts for the contract test; the accounts."""
    simulation = Simulation(seed)
    accounts = list(simulation.accounts(count))
    with path.open("w", encoding="ascii") as file:
        file.write("0x")
        for account in accounts:
            file.write(
                _hexadecimal(
                    _CASE_TYPES,
                    (
                        account.elapsed_s,
                        account.opening_answers,
                        account.collateral,
                        account.loans,
                        account.held_s,
                        account.payments,
                        account.closing_answers,
                        account.debts,
                        account.collateral_usd,
                        account.debt_usd,
                        account.health_factor,
                        int(account.is_liquidatable),
                    ),
                )
            )
        for market in simulation.markets:
            file.write(
                _hexadecimal(
                    ("uint256[10]",),
                    (
                        (
                            market.cash_base,
                            market.supply_shares,
                            market.debt_shares,
                            market.borrow_index,
                            market.pending_reserves_base,
                            market.reserves_base,
                            market.rate_per_second,
                            market.reserve_factor_bps,
                            market.accrued_at,
                            market.sequence,
                        ),
                    ),
                )
            )
    return accounts
