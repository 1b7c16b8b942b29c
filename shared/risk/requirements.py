"""Margin requirements and what they leave free, for whole arrays of accounts.

Equity is E = C − B. A policy asks for equity in proportion to debt:

    initial margin      = warning threshold · B        needed to open or enlarge a borrowed position
    maintenance margin  = margin call threshold · B    below it the account is called
    free collateral     = max(0, E − initial margin)   collateral value that may leave the account
    leverage            = C / E

Buying power is the largest purchase, in USD, wholly on credit, after which the initial margin is just met: x
with C + k·x = (1 + t)·(B + x / b), for collateral factor k and borrow factor b.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from shared.risk.policy import MarginPolicy
from shared.risk.positions import Float64Array

REQUIREMENTS_DEFINITION: Final = "margin-requirements.v1"
"""The id of the definitions above, which every result carries."""


class Requirements(NamedTuple):
    """Per account, float64[n], USD; NaN for an unvalued account."""

    initial_margin_usd: Float64Array
    maintenance_margin_usd: Float64Array
    free_collateral_usd: Float64Array
    leverage: Float64Array


def requirements(collateral_usd: ArrayLike, debt_usd: ArrayLike, policy: MarginPolicy) -> Requirements:
    """Requirements of each account. Leverage is 1 without debt, 0 without anything, inf where equity is
    not positive."""
    collateral = np.asarray(collateral_usd, dtype=np.float64)
    debt = np.asarray(debt_usd, dtype=np.float64)
    equity = collateral - debt
    initial = policy.warning_t * debt
    leverage = np.divide(collateral, equity, out=np.full(equity.shape, np.inf), where=equity > 0.0)
    leverage = np.where((collateral == 0.0) & (debt == 0.0), 0.0, leverage)
    leverage = np.where(np.isnan(equity), np.nan, leverage)
    return Requirements(initial, policy.margin_call_t * debt, np.maximum(0.0, equity - initial), leverage)


def buying_power(
    collateral_usd: ArrayLike,
    debt_usd: ArrayLike,
    policy: MarginPolicy,
    *,
    collateral_factor: float = 1.0,
    borrow_factor: float = 1.0,
) -> Float64Array:
    """USD of an asset with this collateral factor that can be bought with a loan in one with this borrow
    factor.

    0 where the initial margin is not met already. Always finite: with factors in 0..1 a purchase on credit
    uses margin. Raises ValueError for factors out of range.
    """
    if not 0.0 <= collateral_factor <= 1.0:
        raise ValueError(f"collateral_factor: {collateral_factor} is outside 0..1")
    if not 0.0 < borrow_factor <= 1.0:
        raise ValueError(f"borrow_factor: {borrow_factor} is outside 0 < factor <= 1")
    collateral = np.asarray(collateral_usd, dtype=np.float64)
    debt = np.asarray(debt_usd, dtype=np.float64)
    multiple = 1.0 + policy.warning_t
    margin_per_usd = multiple / borrow_factor - collateral_factor
    power: Float64Array = np.maximum(0.0, collateral - multiple * debt) / margin_per_usd
    return power
