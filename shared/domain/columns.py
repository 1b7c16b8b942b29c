"""Where prices and debts stand in the risk core's arrays of marks.

A debt is kept in shares of a market, one per chain and asset, whose index only time moves. So the core weighs
it in whole shares, in a *column* of that market, and the column's mark is USD per whole share: what a debt in
the asset is valued at, times the index (:func:`shared.domain.marks.with_debt_marks`). Interest is then a move
of marks like any other: what the core proves of moves of marks (:mod:`shared.risk.index`), and its exact
decisions, hold for accruing debts without a word about time.

Margin counts ``shares · index`` as the rational number that it is. The vault asks for it rounded up to a base
unit, so the two differ by less than one base unit per debt.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.domain.market import UsableMarks, core_marks
from shared.domain.network import Network
from shared.domain.positions import position_key
from shared.risk.evaluator import Marks
from shared.risk.index import DEFAULT_TUNING, IndexTuning
from shared.risk.positions import AssetFactors, FactorTable, Position


class Columns:
    """The listed assets in order, every listed market, and one column more, which never has a mark.

    The one more stands for every asset and market that the network description does not list: whoever holds
    or owes one is unvalued, and nobody else is touched.
    """

    def __init__(self, network: Network) -> None:
        self.assets = tuple(sorted(network.assets))
        self.markets = tuple(
            sorted(
                position_key(chain.chain_id, token.asset)
                for chain in network.chains.values()
                for token in chain.tokens.values()
            )
        )
        self._of_asset = {asset: column for column, asset in enumerate(self.assets)}
        self._of_market = {key: len(self.assets) + number for number, key in enumerate(self.markets)}
        self.unlisted = len(self.assets) + len(self.markets)
        by_asset = {
            name: AssetFactors(asset.collateral_factor, asset.borrow_factor)
            for name, asset in network.assets.items()
        }
        self.factors = FactorTable(
            [
                *(by_asset[asset] for asset in self.assets),
                *(by_asset[key.partition(":")[2]] for key in self.markets),
                AssetFactors(),
            ]
        )
        # One asset's jump moves the columns of its markets too, and costs the index as many outliers.
        self.tuning = IndexTuning(max_outliers=DEFAULT_TUNING.max_outliers * (1 + len(network.chains)))

    def of_collateral(self, asset: str) -> int:
        """The column of an asset held as collateral."""
        return self._of_asset.get(asset, self.unlisted)

    def of_debt(self, chain_id: int, asset: str) -> int:
        """The column of a debt to a market."""
        return self._of_market.get(position_key(chain_id, asset), self.unlisted)

    def positions(
        self, chain_id: int, asset: str, decimals: int, collateral_base: int, debt_shares: int
    ) -> list[Position]:
        """One position as the risk core takes it: a side of nothing is left out."""
        found: list[Position] = []
        if collateral_base:
            found.append(Position(self.of_collateral(asset), decimals, collateral_base=collateral_base))
        if debt_shares:
            found.append(Position(self.of_debt(chain_id, asset), decimals, debt_base=debt_shares))
        return found

    def marks(self, usable: UsableMarks) -> Marks:
        """Usable marks (of assets and of markets) in the order of the columns."""
        return core_marks((*self.assets, *self.markets), usable)

    def is_usable(self, column: int, usable: UsableMarks) -> bool:
        """Whether a column has a mark."""
        return column < self.unlisted and (*self.assets, *self.markets)[column] in usable


def held_columns(columns: Columns, held: Iterable[tuple[int, str, int, int]]) -> tuple[tuple[str, int], ...]:
    """(asset, column) of every side of something, in order, of (chain, asset, collateral, debt shares)."""
    found: set[tuple[str, int]] = set()
    for chain_id, asset, collateral_base, debt_shares in held:
        if collateral_base:
            found.add((asset, columns.of_collateral(asset)))
        if debt_shares:
            found.add((asset, columns.of_debt(chain_id, asset)))
    return tuple(sorted(found))
