"""Daily closes for tests, made up: nothing but their seed is needed."""

from __future__ import annotations

import numpy as np

VOLATILITIES = {"ETH": 0.04, "WBTC": 0.03, "LINK": 0.05, "USDC": 0.0005}
LEVELS = {"ETH": 1600.0, "WBTC": 60000.0, "LINK": 15.0, "USDC": 1.0}


def made_up_closes(asset: str, n_days: int, *, seed: int = 1) -> list[float]:
    """A geometric walk of fat-tailed returns (Student t, 4 degrees of freedom) that ends at the asset's
    level."""
    draws = np.random.default_rng([seed, *asset.encode()]).standard_t(4, n_days) / np.sqrt(2.0)
    walk = np.exp(np.cumsum(draws * VOLATILITIES[asset]))
    closes: list[float] = (walk / walk[-1] * LEVELS[asset]).tolist()
    return closes
