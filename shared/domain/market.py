"""The network's assets with the marks that may be used, and accounts valued at them. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal

import numpy as np

from shared.domain.interest import RAY, RAY_DECIMALS, debt_of
from shared.domain.margin import MarginRecord, State, state_of
from shared.domain.marks import UsableMark
from shared.domain.network import Network
from shared.domain.positions import Account, Position
from shared.risk import positions as core
from shared.risk.book import Book
from shared.risk.evaluator import Marks
from shared.risk.margin import classify_states, decide_state_exact, health_pct
from shared.risk.policy import MarginPolicy
from shared.risk.positions import AssetFactors, BookRow, FactorTable, Float64Array
from shared.risk.states import NEVER_EVALUATED, MarginState

_TWELVE_DIGITS = Context(prec=12)


def factor_table(network: Network) -> tuple[dict[str, int], FactorTable]:
    """The index of each asset in arrays of marks, and the assets' factors in that order.

    The table has one asset more, which never has a mark: it stands for every asset that the network
    description does not list, so that an account that holds one is unvalued.
    """
    index = {asset: i for i, asset in enumerate(sorted(network.assets))}
    factors = [
        AssetFactors(network.assets[asset].collateral_factor, network.assets[asset].borrow_factor)
        for asset in index
    ]
    return index, FactorTable([*factors, AssetFactors()])


UsableMarks = Mapping[str, UsableMark]
"""What assets are valued at; no entry where there is no usable mark."""


def core_marks(assets: Sequence[str], usable: UsableMarks) -> Marks:
    """Usable marks in the order of ``assets``, as the risk core takes them, and none for the asset behind
    them, which stands for whatever is not listed.

    The one place where an asset's policy for valuing collateral and debt enters the risk core.
    """
    marks = [*(usable.get(asset) for asset in assets), None]
    return Marks.from_decimals(
        [None if mark is None else mark.collateral_price for mark in marks],
        [None if mark is None else mark.debt_price for mark in marks],
    )


@dataclass(frozen=True)
class Market:
    """The listed assets in the order of the risk core's arrays, their factors, and one tick's usable marks.

    The arrays have one asset more, which never has a mark: it stands for every asset that the network
    description does not list. ``tick_sequence`` is None before the first tick.
    """

    assets: tuple[str, ...]
    factors: FactorTable
    policy: MarginPolicy
    valued_at: Marks
    prices: dict[str, Decimal]
    indexes: Mapping[str, int]
    """The borrow index of each market at ``as_of``, by the key of a position in it."""
    tick_sequence: int | None
    as_of: datetime

    @classmethod
    def at(
        cls,
        network: Network,
        usable: UsableMarks,
        *,
        indexes: Mapping[str, int],
        tick_sequence: int | None,
        as_of: datetime,
    ) -> Market:
        """The listed assets at the usable marks and the markets' indexes of a tick."""
        index, factors = factor_table(network)
        prices = {asset: usable[asset].price for asset in index if asset in usable}
        return cls(
            tuple(index),
            factors,
            network.margin_policy,
            core_marks(tuple(index), usable),
            prices,
            indexes,
            tick_sequence,
            as_of,
        )

    @property
    def marks(self) -> Float64Array:
        """The marks themselves, NaN where there is none: float64[n_assets + 1]. What collateral and debt is
        valued at, ``valued_at``, may lie on either side of them."""
        return Marks.from_decimals([*(self.prices.get(asset) for asset in self.assets), None]).values

    def index(self, asset: str) -> int:
        """Where an asset stands in the core's arrays."""
        return self.assets.index(asset) if asset in self.assets else len(self.assets)

    def core_positions(self, held: Iterable[Position]) -> list[core.Position]:
        """Positions as the risk core takes them: debts as of the tick, to the last fraction of a base unit.

        A debt whose market has no index stands where nothing has a mark.
        """
        found: list[core.Position] = []
        for each in held:
            asset, index = self.index(each.asset), self.indexes.get(each.key)
            found.append(core.Position(asset, each.decimals, collateral_base=each.collateral_base))
            if index is None:
                unmarked = len(self.assets)
                found.append(core.Position(unmarked, each.decimals, debt_base=each.debt_shares))
                continue
            whole, fraction = divmod(each.debt_shares * index, RAY)
            if fraction == 0:
                found.append(core.Position(asset, each.decimals, debt_base=whole))
            else:
                decimals = each.decimals + RAY_DECIMALS
                found.append(core.Position(asset, decimals, debt_base=each.debt_shares * index))
        return found

    def debt_base(self, position: Position) -> int | None:
        """What a position owes at the tick, rounded up as the vault does; None while its market has no
        index."""
        if position.debt_shares == 0:
            return 0
        index = self.indexes.get(position.key)
        return None if index is None else debt_of(position.debt_shares, index)

    def unvalued_assets(self, positions: Iterable[Position]) -> tuple[str, ...]:
        """Assets held without a usable mark, or owed to a market without an index, in order."""
        return tuple(
            sorted(
                {
                    each.asset
                    for each in positions
                    if (each.collateral_base or each.debt_shares)
                    and (each.asset not in self.prices or self.debt_base(each) is None)
                }
            )
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """An account and the risk core's code of its last valued state, for hysteresis."""

    account: Account
    previous: int

    @classmethod
    def of(cls, account: Account, record: MarginRecord | None) -> Holder:
        """An account with what is recorded of it."""
        known = None if record is None else record.valued_state
        return cls(account, NEVER_EVALUATED if known is None else known.code)

    @property
    def held_assets(self) -> tuple[str, ...]:
        """Assets in which anything is held or owed, in order."""
        held = self.account.positions.values()
        return tuple(sorted({p.asset for p in held if p.collateral_base or p.debt_shares}))


@dataclass(frozen=True, slots=True)
class Valuation:
    """An account at a market's marks; the amounts are NaN while it is UNVALUED.

    ``state`` has the hysteresis of the state before; ``threshold_state`` has none: it says on which side of
    each threshold the account is, exactly.
    """

    holder: Holder
    row: BookRow
    state: State
    threshold_state: MarginState
    unvalued_assets: tuple[str, ...]
    collateral_usd: float
    debt_usd: float
    health_pct: float

    @property
    def is_valued(self) -> bool:
        """Whether there are numbers."""
        return self.state is not State.UNVALUED


def value_accounts(market: Market, holders: Sequence[Holder]) -> list[Valuation]:
    """Accounts at a market's marks, in one pass; recorded nowhere."""
    positions = [market.core_positions(holder.account.positions.values()) for holder in holders]
    rows = [market.factors.row(held) for held in positions]
    book = Book.from_rows(rows, len(market.factors))
    in_rows = book.revalue(market.valued_at.values)
    order = book.rows_of(range(len(holders)))
    collateral, debt = in_rows.collateral_usd[order], in_rows.debt_usd[order]
    health = health_pct(collateral, debt)
    previous = np.array([[holder.previous for holder in holders], [NEVER_EVALUATED] * len(holders)])
    states, uncertain = classify_states(collateral, debt, market.policy, previous, terms=book.max_terms)
    for kind, number in zip(*np.nonzero(uncertain), strict=True):
        held = positions[number]
        held_at, owed_at = market.valued_at.exact_for({position.asset for position in held})
        states[kind, number] = decide_state_exact(
            held,
            held_at,
            market.factors,
            market.policy,
            int(previous[kind, number]),
            debt_marks=owed_at,
        )
    return [
        Valuation(
            holder=holder,
            row=rows[i],
            # An account that holds nothing has no mark to miss; without a tick it is still not valued.
            state=State.UNVALUED if market.tick_sequence is None else state_of(int(states[0, i])),
            threshold_state=MarginState(int(states[1, i])),
            unvalued_assets=market.unvalued_assets(holder.account.positions.values()),
            collateral_usd=float(collateral[i]),
            debt_usd=float(debt[i]),
            health_pct=float(health[i]),
        )
        for i, holder in enumerate(holders)
    ]


def price_decimal(value: float) -> Decimal:
    """A price from the risk core's float64, to 12 significant digits: a coin may cost millionths."""
    return _TWELVE_DIGITS.create_decimal_from_float(value)
