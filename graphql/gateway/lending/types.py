"""Lending markets, and what an account has lent to them."""

from __future__ import annotations

import decimal
from collections.abc import Mapping
from datetime import UTC, datetime

import strawberry

from gateway.scalars import BigInt, DateTime, Decimal
from shared.domain import lending as domain
from shared.domain.interest import RAY_DECIMALS, SECONDS_PER_YEAR
from shared.domain.money import whole_tokens


@strawberry.type(
    description=(
        "The books of one asset's lenders and borrowers on one chain, with interest up to asOf: what the "
        "vault itself would say in a block of that time, to the base unit."
    )
)
class LendingMarket:
    chain_id: int
    asset: str
    decimals: int
    sequence: int = strawberry.field(description="Rises by one per change of the market on chain.")
    changed_at: DateTime = strawberry.field(description="The time of the block of its last change.")
    as_of: DateTime = strawberry.field(
        description="Now, or changedAt where the chain's clock is ahead of ours."
    )
    borrow_index: Decimal = strawberry.field(
        description="What one share of debt has grown to, in base units; 27 places."
    )
    borrow_rate_per_second: Decimal = strawberry.field(
        description="A fraction of 1; 27 places. It stays until the market's next change."
    )
    borrow_rate_per_year: Decimal = strawberry.field(
        description="A fraction of 1: the rate per second times 365 days, interest on interest not counted."
    )
    cash_base: BigInt = strawberry.field(description="What can be borrowed or redeemed, in base units.")
    borrowed_base: BigInt = strawberry.field(
        description="What borrowers owe together, in base units, rounded down."
    )
    supplied_base: BigInt = strawberry.field(
        description="What lenders own together, in base units: the cash, and the debts without the "
        "treasury's part of their interest."
    )
    cash: Decimal = strawberry.field(description="In whole tokens.")
    borrowed: Decimal = strawberry.field(description="In whole tokens.")
    supplied: Decimal = strawberry.field(description="In whole tokens.")
    utilisation: Decimal = strawberry.field(
        description="borrowed / (cash + borrowed), a fraction of 1, 27 places rounded down; 0 where nothing "
        "is borrowed."
    )


@strawberry.type(description="What an account has lent to one market. It is no collateral.")
class Supply:
    chain_id: int
    asset: str
    decimals: int
    shares: BigInt = strawberry.field(description="Shares of the market's supply.")
    amount_base: BigInt | None = strawberry.field(
        description="What the shares can be redeemed for, in base units, rounded down as the vault does; "
        "null while the market is not known. No more than the market's cash can be redeemed at once."
    )
    amount: Decimal | None = strawberry.field(description="In whole tokens.")
    as_of: DateTime | None = strawberry.field(description="The amount's moment, as the market's asOf.")


def from_market(market: domain.LendingMarket, now: datetime) -> LendingMarket:
    """A market with interest up to ``now``."""
    books = market.books_at(int(now.timestamp()))
    return LendingMarket(
        chain_id=market.chain_id,
        asset=market.asset,
        decimals=market.decimals,
        sequence=books.sequence,
        changed_at=_moment(market.books.accrued_at),
        as_of=_moment(books.accrued_at),
        borrow_index=_fraction(books.borrow_index),
        borrow_rate_per_second=_fraction(books.rate_per_second),
        borrow_rate_per_year=_fraction(books.rate_per_second * SECONDS_PER_YEAR),
        cash_base=BigInt(books.cash_base),
        borrowed_base=BigInt(books.total_debt_base),
        supplied_base=BigInt(books.supply_assets_base),
        cash=whole_tokens(books.cash_base, market.decimals),
        borrowed=whole_tokens(books.total_debt_base, market.decimals),
        supplied=whole_tokens(books.supply_assets_base, market.decimals),
        utilisation=_fraction(books.utilisation),
    )


def from_supplies(
    supplies: Mapping[str, domain.Supply], markets: Mapping[str, domain.LendingMarket], now: datetime
) -> list[Supply]:
    """An account's supplies, by key as their markets are, at what they are worth at ``now``; those without
    shares are left out."""
    return [
        _supply(supply, markets.get(key), now)
        for key, supply in sorted(supplies.items(), key=lambda each: (each[1].chain_id, each[1].asset))
        if supply.shares
    ]


def _supply(supply: domain.Supply, market: domain.LendingMarket | None, now: datetime) -> Supply:
    books = None if market is None else market.books_at(int(now.timestamp()))
    amount_base = None if books is None else books.assets_of(supply.shares)
    return Supply(
        chain_id=supply.chain_id,
        asset=supply.asset,
        decimals=supply.decimals,
        shares=BigInt(supply.shares),
        amount_base=None if amount_base is None else BigInt(amount_base),
        amount=None if amount_base is None else whole_tokens(amount_base, supply.decimals),
        as_of=None if books is None else _moment(books.accrued_at),
    )


def _fraction(value: int) -> decimal.Decimal:
    """A number with 27 decimals, exactly: made of its digits, no context rounds it."""
    return decimal.Decimal(f"{value}e-{RAY_DECIMALS}")


def _moment(unix_s: int) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)
