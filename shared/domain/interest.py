"""A lending market's books in whole numbers: what the vault's contracts compute, to the last base unit.

The twin of ``contracts/src/libraries/InterestMath.sol`` and ``LendingMarket.sol``. Rates and indexes have 27
decimals (:data:`RAY`). Between two changes of its books a market's rate is constant, so every amount at every
later time follows from the last ``MarketChanged`` event: debt is ``shares · index`` rounded up, supply
``shares · assets`` rounded down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

RAY_DECIMALS = 27
RAY = 10**27
BPS = 10_000
SECONDS_PER_YEAR = 365 * 86_400
MAX_INDEX = 2**128 - 1
VIRTUAL_SHARES = 10**6
VIRTUAL_ASSETS = 1


class MarketTimeError(ValueError):
    """A market was asked about a time before its last change."""


class MarketAmountError(ValueError):
    """An amount is more than the market has, or less than one share."""


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Yearly rates in basis points: ``base`` without loans, ``base + slope_below`` at the kink, which is a
    utilisation, and ``base + slope_below + slope_above`` when everything is lent."""

    base_bps: int
    slope_below_bps: int
    slope_above_bps: int
    kink_bps: int

    def rate_per_second(self, cash_base: int, debt_base: int) -> int:
        """The rate at a utilisation of ``debt / (cash + debt)``, with 27 decimals, rounded down."""
        used = utilisation(cash_base, debt_base)
        kink = self.kink_bps * RAY // BPS
        yearly = self.base_bps * RAY // BPS
        if used <= kink:
            yearly += used * self.slope_below_bps // self.kink_bps
        else:
            yearly += self.slope_below_bps * RAY // BPS
            yearly += (used - kink) * self.slope_above_bps // (BPS - self.kink_bps)
        return yearly // SECONDS_PER_YEAR


def utilisation(cash_base: int, debt_base: int) -> int:
    """The part of a market's funds that is lent, with 27 decimals, rounded down; 0 where nothing is."""
    return debt_base * RAY // (cash_base + debt_base) if debt_base else 0


def grow_index(index: int, rate_per_second: int, elapsed_s: int) -> int:
    """The index after a time at a rate: the terms of e^x up to the third, x = rate · time, rounded down."""
    first = rate_per_second * elapsed_s
    second = first * first // (2 * RAY)
    third = second * first // (3 * RAY)
    return min(index + index * (first + second + third) // RAY, MAX_INDEX)


def debt_of(shares: int, index: int) -> int:
    """What debt shares amount to in base units, rounded up."""
    return _ceil(shares * index, RAY)


def shares_of_loan(amount_base: int, index: int) -> int:
    """The debt shares that a loan creates, rounded up."""
    return _ceil(amount_base * RAY, index)


def shares_of_payment(amount_base: int, index: int) -> int:
    """The debt shares that a payment extinguishes, rounded down."""
    return amount_base * RAY // index


@dataclass(frozen=True, slots=True)
class Market:
    """One asset's books on one chain as of ``accrued_at`` (Unix seconds of the block).

    ``cash_base`` can be lent or redeemed; ``pending_reserves_base`` is the treasury's part of interest that
    borrowers have not paid, ``reserves_base`` of what they have. ``sequence`` counts the market's changes.
    """

    cash_base: int
    supply_shares: int
    debt_shares: int
    borrow_index: int
    pending_reserves_base: int
    reserves_base: int
    rate_per_second: int
    reserve_factor_bps: int
    accrued_at: int
    sequence: int

    def index_at(self, at: int) -> int:
        """The borrow index at a Unix time.

        Raises:
            MarketTimeError: the time is before the books' own.
        """
        if at < self.accrued_at:
            raise MarketTimeError(f"the market's books are of {self.accrued_at}, later than {at}")
        return grow_index(self.borrow_index, self.rate_per_second, at - self.accrued_at)

    def accrue(self, at: int) -> Market:
        """The books with interest up to a Unix time; the rate stays.

        Raises:
            MarketTimeError: the time is before the books' own.
        """
        index = self.index_at(at)
        interest = self.debt_shares * index // RAY - self.debt_shares * self.borrow_index // RAY
        pending = self.pending_reserves_base + interest * self.reserve_factor_bps // BPS
        return replace(self, borrow_index=index, pending_reserves_base=pending, accrued_at=at)

    @property
    def total_debt_base(self) -> int:
        """What borrowers owe together, rounded down."""
        return self.debt_shares * self.borrow_index // RAY

    @property
    def supply_assets_base(self) -> int:
        """What lenders own together."""
        return self.cash_base + max(0, self.total_debt_base - self.pending_reserves_base)

    @property
    def utilisation(self) -> int:
        """:func:`utilisation` of these books."""
        return utilisation(self.cash_base, self.total_debt_base)

    def debt_of(self, shares: int) -> int:
        """What debt shares amount to as of these books, rounded up."""
        return debt_of(shares, self.borrow_index)

    def assets_of(self, shares: int) -> int:
        """What supply shares can be redeemed for as of these books, rounded down."""
        return shares * (self.supply_assets_base + VIRTUAL_ASSETS) // (self.supply_shares + VIRTUAL_SHARES)

    def supply(self, amount_base: int) -> tuple[Market, int]:
        """The books after a lender's payment, and the shares it bought."""
        shares = (
            amount_base * (self.supply_shares + VIRTUAL_SHARES) // (self.supply_assets_base + VIRTUAL_ASSETS)
        )
        return (
            replace(self, cash_base=self.cash_base + amount_base, supply_shares=self.supply_shares + shares),
            shares,
        )

    def borrow(self, amount_base: int) -> tuple[Market, int]:
        """The books after a loan, and the debt shares it created.

        Raises:
            MarketAmountError: there is less cash.
        """
        if amount_base > self.cash_base:
            raise MarketAmountError(f"{amount_base} asked for, {self.cash_base} there")
        shares = shares_of_loan(amount_base, self.borrow_index)
        return (
            replace(self, cash_base=self.cash_base - amount_base, debt_shares=self.debt_shares + shares),
            shares,
        )

    def repay(self, held_shares: int, amount_base: int) -> tuple[Market, int]:
        """The books after a payment on ``held_shares`` of debt, not above that debt; the shares extinguished.

        Raises:
            MarketAmountError: the payment is less than one share.
        """
        is_all = amount_base >= self.debt_of(held_shares)
        shares = held_shares if is_all else shares_of_payment(amount_base, self.borrow_index)
        if shares == 0:
            raise MarketAmountError(f"{amount_base} is less than one share")
        paid = min(self.pending_reserves_base * shares // self.debt_shares, amount_base)
        return (
            replace(
                self,
                cash_base=self.cash_base + amount_base - paid,
                debt_shares=self.debt_shares - shares,
                pending_reserves_base=self.pending_reserves_base - paid,
                reserves_base=self.reserves_base + paid,
            ),
            shares,
        )

    def with_rate_of(self, curve: RateCurve) -> Market:
        """The books with the rate that holds until the next change, and one change more."""
        rate = curve.rate_per_second(self.cash_base, self.total_debt_base)
        return replace(self, rate_per_second=rate, sequence=self.sequence + 1)


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
