"""Trigger prices: the mark of one asset at which an account's health meets a threshold, all other marks held.

f = C − (1 + t)·B is linear in each mark. With w_j = c_j − (1 + t)·b_j (collateral and debt weight of asset j,
so an asset on both sides counts net) it is zero at

    p_j* = p_j − f / w_j,

reached by a fall of the mark if w_j > 0 and by a rise if w_j < 0. The other positions enter through f;
leaving out their share (an isolated estimate) overstates the room. Where collateral is valued at p − e and
debt at p + e, e is held and the same formula gives the mark p between them.
"""

from collections.abc import Sequence
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
    (triggers,) = book_trigger_prices([row], marks, threshold)
    return triggers


def book_trigger_prices(
    rows: Sequence[BookRow], marks: Float64Array, threshold: float
) -> list[TriggerPrices]:
    """`trigger_prices` of every account, in one pass; an account's result does not depend on the others."""
    collateral_marks, debt_marks = two_sided(marks)
    prices, half_spread = (collateral_marks + debt_marks) / 2.0, (debt_marks - collateral_marks) / 2.0
    multiple = 1.0 + threshold
    held, owed = _dense(rows, prices.size)
    net, gross = held - multiple * owed, held + multiple * owed
    is_held = gross > 0.0
    # An asset that is not held may have no mark.
    at = np.where(is_held, prices, 0.0)
    spread = np.where(is_held, half_spread, 0.0)
    excess = (net * at).sum(axis=1) - (gross * spread).sum(axis=1)
    has_debt = (owed > 0.0).any(axis=1)
    bound = np.array([2.0 * error_bound(2 * count) for count in is_held.sum(axis=1).tolist()])
    # A root that rounding alone could have made positive is not a price: the true one is zero or below.
    noise = bound * (gross * at).sum(axis=1)
    is_usable = is_held & (net != 0.0) & (has_debt & np.isfinite(excess))[:, None]
    step = np.divide(excess[:, None], net, out=np.zeros_like(net), where=is_usable)
    least = spread + np.divide(noise[:, None], np.abs(net), out=np.zeros_like(net), where=is_usable)
    roots = at - step
    found = np.where(is_usable & (roots > least), roots, np.nan)
    is_breached = has_debt & (excess < 0.0)
    return [TriggerPrices(found[i], net[i] < 0.0, bool(is_breached[i])) for i in range(len(rows))]


def call_prices(rows: Sequence[BookRow], marks: Float64Array, policy: MarginPolicy) -> list[TriggerPrices]:
    """The mark of each asset at which each account is called; see `trigger_prices`."""
    return book_trigger_prices(rows, marks, policy.margin_call_t)


def liquidation_prices(
    rows: Sequence[BookRow], marks: Float64Array, policy: MarginPolicy
) -> list[TriggerPrices]:
    """The mark of each asset at which each account is liquidated; see `trigger_prices`."""
    return book_trigger_prices(rows, marks, policy.liquidation_t)


def _dense(rows: Sequence[BookRow], n_assets: int) -> tuple[Float64Array, Float64Array]:
    """(collateral weights, debt weights) float64[n, n_assets]."""
    held, owed = np.zeros((len(rows), n_assets)), np.zeros((len(rows), n_assets))
    for number, row in enumerate(rows):
        np.add.at(held[number], row.collateral_assets, row.collateral_weights)
        np.add.at(owed[number], row.debt_assets, row.debt_weights)
    return held, owed
