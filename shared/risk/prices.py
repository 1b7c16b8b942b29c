"""Trigger prices: the mark of one asset at which an account's health meets a threshold, all other marks held.

f = C − (1 + t)·B is linear in each mark. With w_j = c_j − (1 + t)·b_j (collateral and debt weight of asset j,
so an asset on both sides counts net) it is zero at

    p_j* = p_j − f / w_j,

reached by a fall of the mark if w_j > 0 and by a rise if w_j < 0. The other positions enter through f;
leaving out their share (an isolated estimate) overstates the room. Where collateral is valued at p − e and
debt at p + e, e is held and the same formula gives the mark p between them.
"""

from dataclasses import dataclass

import numpy as np

from shared.risk.margin import error_bound
from shared.risk.policy import MarginPolicy
from shared.risk.positions import BookRow, BoolArray, Float64Array, two_sided


@dataclass(frozen=True, slots=True)
class TriggerPrices:
    """For each asset of the universe: `price` (float64[n_assets], NaN where no positive mark meets the
    threshold) and `triggers_on_rise` (bool[n_assets]: a rise of the mark lowers health). `is_breached`:
    health is already below the threshold, and each price is one at which it would be met again."""

    price: Float64Array
    triggers_on_rise: BoolArray
    is_breached: bool


def trigger_prices(row: BookRow, marks: Float64Array, threshold: float) -> TriggerPrices:
    """The mark of each asset at which health = `threshold` (a fraction of debt, e.g. 0.15), the others held.

    No price for an asset the account does not hold, for an account without debt, where only a mark of zero or
    below would do, and for an account that misses a mark (the whole health is unknown).
    """
    collateral_marks, debt_marks = two_sided(marks)
    prices, half_spread = (collateral_marks + debt_marks) / 2.0, (debt_marks - collateral_marks) / 2.0
    multiple = 1.0 + threshold
    net = np.zeros(prices.size)
    gross = np.zeros(prices.size)
    np.add.at(net, row.collateral_assets, row.collateral_weights)
    np.add.at(gross, row.collateral_assets, row.collateral_weights)
    np.subtract.at(net, row.debt_assets, multiple * row.debt_weights)
    np.add.at(gross, row.debt_assets, multiple * row.debt_weights)
    held = np.union1d(row.collateral_assets, row.debt_assets)
    triggers = np.full(prices.size, np.nan)
    excess = float(net[held] @ prices[held] - gross[held] @ half_spread[held])
    has_debt = bool(np.any(row.debt_weights > 0.0))
    if has_debt and np.isfinite(excess):
        # A root that rounding alone could have made positive is not a price: the true one is zero or below.
        noise = 2.0 * error_bound(2 * held.size) * float(gross[held] @ prices[held])
        usable = held[net[held] != 0.0]
        roots = prices[usable] - excess / net[usable]
        least = half_spread[usable] + noise / np.abs(net[usable])
        triggers[usable] = np.where(roots > least, roots, np.nan)
    return TriggerPrices(triggers, net < 0.0, has_debt and excess < 0.0)


def call_prices(row: BookRow, marks: Float64Array, policy: MarginPolicy) -> TriggerPrices:
    """The mark of each asset at which a margin call is issued; see `trigger_prices`."""
    return trigger_prices(row, marks, policy.margin_call_t)


def liquidation_prices(row: BookRow, marks: Float64Array, policy: MarginPolicy) -> TriggerPrices:
    """The mark of each asset at which the account is liquidated; see `trigger_prices`."""
    return trigger_prices(row, marks, policy.liquidation_t)
