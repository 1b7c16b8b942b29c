"""Daily closes as the warehouse has them, what they lack, and the risk models made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from shared.risk.measurement_policy import MeasurementPolicy
from shared.risk.models import RiskModels, common_history
from shared.risk.scenarios import JoinedHistory, PriceHistory, Proxy


@dataclass(frozen=True, slots=True)
class Closes:
    """One asset's daily closes: `history` of the days that have one."""

    asset: str
    history: PriceHistory

    @classmethod
    def of(cls, asset: str, days: Sequence[tuple[date, float]]) -> Closes:
        """The closes of days in ascending order."""
        return cls(
            asset,
            PriceHistory(
                np.array([day for day, _ in days], dtype="datetime64[D]"),
                np.array([close for _, close in days], dtype=np.float64),
            ),
        )

    @property
    def missing_days(self) -> int:
        """Days between the first and the last close that have none."""
        dates = self.history.dates
        return int((dates[-1] - dates[0]).astype(int)) + 1 - dates.size if dates.size else 0


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much history an asset has: closes, of how many that are needed, between which days, and how many
    days between them have none. ``has_returns`` says whether it takes part in the common history."""

    asset: str
    closes: int
    needed: int
    first: date | None
    last: date | None
    missing_days: int
    has_returns: bool

    @property
    def shortfall(self) -> str | None:
        """What is missing, in words; None where nothing is."""
        if self.has_returns:
            return None
        if self.closes == 0 or self.last is None:
            return f"{self.asset}: no daily close, {self.needed} are needed"
        if self.closes < self.needed:
            return (
                f"{self.asset}: {self.closes} daily closes of {self.needed} needed, "
                f"{self.needed - self.closes} missing"
            )
        return (
            f"{self.asset}: its {self.closes} daily closes, the last of {self.last}, lack "
            f"{self.missing_days} days and do not cover the common {self.needed}"
        )


@dataclass(frozen=True, slots=True)
class ModelledHistory:
    """The common history of listed assets in their order (one more column for whatever is not listed), its
    models, and each asset's coverage. ``models`` is None where no asset has enough history."""

    models: RiskModels | None
    coverage: Mapping[str, Coverage]

    def shortfalls(self, assets: Sequence[str]) -> list[str]:
        """What the history of these assets lacks, in words."""
        found = [self.coverage[asset].shortfall for asset in assets if asset in self.coverage]
        return [shortfall for shortfall in found if shortfall is not None]


def first_day_needed(last: date, policy: MeasurementPolicy) -> date:
    """From which day closes are read: the window, and a fifth more for days that have none."""
    return last - timedelta(days=(policy.n_returns + 1) * 6 // 5)


def model_history(
    closes: Mapping[str, Closes], assets: Sequence[str], policy: MeasurementPolicy
) -> ModelledHistory:
    """Models of the assets, in their order, on what their closes have in common."""
    index = {asset: number for number, asset in enumerate(assets)}
    proxies = {
        index[asset]: Proxy(index[proxy.asset], proxy.beta)
        for asset, proxy in policy.history_proxies.items()
        if asset in index and proxy.asset in index
    }
    histories = {index[asset]: found.history for asset, found in closes.items() if asset in index}
    joined = common_history(histories, len(assets) + 1, policy.n_returns, proxies=proxies)
    return ModelledHistory(
        None if joined is None else RiskModels(joined, policy), _coverage(closes, assets, joined, policy)
    )


def _coverage(
    closes: Mapping[str, Closes],
    assets: Sequence[str],
    joined: JoinedHistory | None,
    policy: MeasurementPolicy,
) -> dict[str, Coverage]:
    found: dict[str, Coverage] = {}
    for number, asset in enumerate(assets):
        known = closes.get(asset)
        dates = known.history.dates if known is not None else np.empty(0, dtype="datetime64[D]")
        found[asset] = Coverage(
            asset,
            int(dates.size),
            policy.n_returns + 1,
            date.fromisoformat(str(dates[0])) if dates.size else None,
            date.fromisoformat(str(dates[-1])) if dates.size else None,
            known.missing_days if known is not None else 0,
            joined is not None and number not in joined.missing,
        )
    return found
