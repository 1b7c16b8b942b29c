"""Scenario sets: matrices of simple returns that every account of a book is revalued in.

Simple returns, because P&L is linear in them (log returns overstate a fall of 40 % by 28 %). One matrix for
all accounts: the filtered set scales each asset's past returns to its present volatility before any account
is looked at, so a book's P&L is one matrix product.

A mark cannot fall below zero: a scaled return is floored at −1.

Sources: Hull and White, Incorporating volatility updating into the historical simulation method, J. Risk 1
(1998); Boudoukh, Richardson and Whitelaw, The best of both worlds, Risk 11 (1998), for age weights;
RiskMetrics Technical Document (1996) for λ = 0.94.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.risk.positions import BoolArray, Float64Array
from shared.risk.tail import InsufficientHistoryError

DateArray = NDArray[np.datetime64]
HorizonMethod = Literal["overlapping", "square_root"]
_SEED_OBSERVATIONS: Final = 30


@dataclass(frozen=True, slots=True)
class PriceHistory:
    """Daily closes of one asset: `dates` datetime64[D] ascending, `closes` float64 of the same length, all
    positive."""

    dates: DateArray
    closes: Float64Array

    def __post_init__(self) -> None:
        if self.dates.shape != self.closes.shape or self.dates.ndim != 1:
            raise ValueError(f"dates: {self.dates.shape} against closes {self.closes.shape}")
        if np.any(np.diff(self.dates) <= np.timedelta64(0, "D")):
            raise ValueError("dates: not strictly ascending")
        if not np.all((self.closes > 0.0) & np.isfinite(self.closes)):
            raise ValueError("closes: a value is missing or not positive; leave the day out instead")


@dataclass(frozen=True, slots=True)
class Proxy:
    """Stands in for an asset before its first day: `beta` times the return of the asset `asset`."""

    asset: int
    beta: float


@dataclass(frozen=True, slots=True)
class JoinedHistory:
    """Returns of all assets on common dates: `returns` float64[T, n_assets] simple, `dates` the day each
    ends.

    `missing`: assets that have no return on some day and no proxy; their column is NaN and they must not
    enter a product. `proxied`: for each asset a proxy stands in for, on how many of the T days.
    """

    dates: DateArray
    returns: Float64Array
    missing: tuple[int, ...]
    proxied: Mapping[int, int]


def join_histories(
    histories: Mapping[int, PriceHistory],
    n_assets: int,
    n_returns: int,
    *,
    proxies: Mapping[int, Proxy] | None = None,
) -> JoinedHistory:
    """The last `n_returns` returns between dates on which every asset that had begun has a close.

    A day that an asset lacks after its first is left out for all, so a return never mixes different days.
    An asset younger than the window takes its declared proxy's returns for the days before its first, or
    is `missing`; it is never filled with zeros. Raises InsufficientHistoryError if there are not so many
    common returns.
    """
    if not histories:
        raise InsufficientHistoryError("history", n_returns, 0)
    dates = np.unique(np.concatenate([history.dates for history in histories.values()]))
    closes = np.full((dates.size, n_assets), np.nan)
    begun = np.zeros((dates.size, n_assets), dtype=bool)
    for asset, history in histories.items():
        closes[np.searchsorted(dates, history.dates), asset] = history.closes
        begun[np.searchsorted(dates, history.dates[0]) :, asset] = True
    is_common = ~(begun & np.isnan(closes)).any(axis=1)
    dates, closes = dates[is_common], closes[is_common]
    available = max(dates.size - 1, 0)
    if available < n_returns:
        raise InsufficientHistoryError("history", n_returns, available)
    closes = closes[-n_returns - 1 :]
    returns = closes[1:] / closes[:-1] - 1.0
    proxied: dict[int, int] = {}
    own = returns.copy()
    for asset, proxy in (proxies or {}).items():
        absent = np.isnan(own[:, asset])
        if absent.any() and not np.isnan(own[absent, proxy.asset]).any():
            returns[absent, asset] = np.maximum(-1.0, proxy.beta * own[absent, proxy.asset])
            proxied[asset] = int(absent.sum())
    missing = np.flatnonzero(np.isnan(returns).any(axis=0))
    return JoinedHistory(dates[-n_returns:], returns, tuple(missing.tolist()), proxied)


@dataclass(frozen=True)
class ScenarioSet:
    """Scenarios for a book: `returns` float64[S, n_assets] over `horizon_days`, `weights` float64[S] summing
    to 1 or None for equal ones. `missing` assets have a column of zeros, and an account exposed to one has no
    result.

    `definition` names how it was made; `first`, `last` and `n_observations` the history behind it (None
    for made-up shocks). `id` is a digest of the content: equal sets have equal ids.
    """

    returns: Float64Array
    definition: str
    horizon_days: int
    weights: Float64Array | None = None
    missing: tuple[int, ...] = ()
    first: str | None = None
    last: str | None = None
    n_observations: int = 0

    def __post_init__(self) -> None:
        if self.returns.ndim != 2 or not np.isfinite(self.returns).all():
            raise ValueError("returns: must be [scenarios, assets] and finite; mask missing assets before")
        # A copy that cannot be written to, so that the id and the working matrices stay true.
        own = self.returns.astype(np.float64, order="C", copy=True)
        own.setflags(write=False)
        object.__setattr__(self, "returns", own)

    @cached_property
    def n_scenarios(self) -> int:
        """S."""
        return int(self.returns.shape[0])

    @cached_property
    def n_assets(self) -> int:
        """Assets, with or without scenarios."""
        return int(self.returns.shape[1])

    @cached_property
    def provenance(self) -> tuple[str, str, int, str | None, str | None, int, tuple[int, ...]]:
        """Id, definition, horizon, first and last day, observations, missing assets: what a result on these
        scenarios says of them."""
        return (
            self.id,
            self.definition,
            self.horizon_days,
            self.first,
            self.last,
            self.n_observations,
            self.missing,
        )

    @cached_property
    def id(self) -> str:
        """Hexadecimal digest of definition, horizon, returns, weights and missing assets."""
        digest = hashlib.sha256(
            f"{self.definition}|{self.horizon_days}|{self.missing}|{self.returns.shape}".encode()
        )
        digest.update(np.ascontiguousarray(self.returns).tobytes())
        if self.weights is not None:
            digest.update(np.ascontiguousarray(self.weights).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def by_asset(self) -> Float64Array:
        """The returns as [n_assets, S], contiguous: the right-hand side of a book's product."""
        return np.ascontiguousarray(self.returns.T)

    @cached_property
    def by_asset_float32(self) -> NDArray[np.float32]:
        """`by_asset` in float32."""
        return np.ascontiguousarray(self.returns.T, dtype=np.float32)

    @property
    def is_missing(self) -> BoolArray:
        """bool[n_assets]: True for assets without scenarios."""
        mask = np.zeros(self.returns.shape[1], dtype=bool)
        mask[list(self.missing)] = True
        return mask


def historical_scenarios(
    history: JoinedHistory, *, horizon_days: int = 1, horizon_method: HorizonMethod = "overlapping"
) -> ScenarioSet:
    """Plain historical simulation: each observed return is one equally likely scenario.

    Over more days: `overlapping` compounds every run of `horizon_days` days (T − h + 1 scenarios),
    `square_root` multiplies daily returns by √h.
    """
    returns = _over_horizon(_masked(history), horizon_days, horizon_method)
    return _from_history(
        history, returns, f"historical.{_horizon_name(horizon_days, horizon_method)}", horizon_days
    )


def age_weighted_scenarios(
    history: JoinedHistory, *, decay: float = 0.995, horizon_days: int = 1
) -> ScenarioSet:
    """Boudoukh–Richardson–Whitelaw: the scenario i days old weighs λⁱ·(1 − λ)/(1 − λⁿ); over h days scaled
    by √h."""
    _check_decay(decay)
    returns = _over_horizon(_masked(history), horizon_days, "square_root")
    ages = np.arange(returns.shape[0])[::-1]
    weights = decay**ages * (1.0 - decay) / (1.0 - decay ** returns.shape[0])
    name = f"age-weighted-{decay:g}.{_horizon_name(horizon_days, 'square_root')}"
    return _from_history(history, returns, name, horizon_days, weights)


def filtered_scenarios(history: JoinedHistory, *, decay: float = 0.94, horizon_days: int = 1) -> ScenarioSet:
    """Hull–White filtered historical simulation, asset by asset: each return times (volatility now /
    volatility then), EWMA volatilities; over h days scaled by √h. The default of the house."""
    returns = _masked(history)
    volatility = ewma_volatility(returns, decay)
    now = volatility[-1]
    then = volatility[:-1]
    ratio = np.divide(now, then, out=np.zeros_like(then), where=then > 0.0)
    scaled = np.maximum(-1.0, returns * ratio * np.sqrt(horizon_days))
    name = f"filtered-ewma-{decay:g}.{_horizon_name(horizon_days, 'square_root')}"
    return _from_history(history, scaled, name, horizon_days)


def shock_scenarios(shocks: Sequence[Sequence[float]] | Float64Array, name: str) -> ScenarioSet:
    """Arbitrary shock vectors (simple returns, [S, n_assets], none below −1) as a scenario set."""
    returns = np.atleast_2d(np.asarray(shocks, dtype=np.float64))
    if np.any(returns < -1.0):
        raise ValueError("shocks: a mark cannot fall by more than 100 % (−1)")
    return ScenarioSet(returns, f"shock.{name}", 1)


def ewma_volatility(returns: Float64Array, decay: float) -> Float64Array:
    """float64[T + 1, n]: σ before each return, and the one after the last (the forecast).

    σ²ₜ₊₁ = λσ²ₜ + (1 − λ)r²ₜ, begun at the mean square of the first 30 returns, zero mean.
    """
    _check_decay(decay)
    if returns.shape[0] < _SEED_OBSERVATIONS:
        raise InsufficientHistoryError("EWMA volatility", _SEED_OBSERVATIONS, returns.shape[0])
    variance = np.empty((returns.shape[0] + 1, returns.shape[1]))
    variance[0] = np.square(returns[:_SEED_OBSERVATIONS]).mean(axis=0)
    for t, r in enumerate(returns):
        variance[t + 1] = decay * variance[t] + (1.0 - decay) * r * r
    volatility: Float64Array = np.sqrt(variance)
    return volatility


def _masked(history: JoinedHistory) -> Float64Array:
    returns = history.returns.copy()
    returns[:, list(history.missing)] = 0.0
    return returns


def _over_horizon(returns: Float64Array, horizon_days: int, method: HorizonMethod) -> Float64Array:
    if horizon_days < 1:
        raise ValueError(f"horizon_days: {horizon_days} is below 1")
    if horizon_days == 1:
        return returns
    if method == "square_root":
        scaled: Float64Array = np.maximum(-1.0, returns * np.sqrt(horizon_days))
        return scaled
    if returns.shape[0] < horizon_days:
        raise InsufficientHistoryError(f"{horizon_days}-day returns", horizon_days, returns.shape[0])
    windows = np.lib.stride_tricks.sliding_window_view(1.0 + returns, horizon_days, axis=0)
    compounded: Float64Array = windows.prod(axis=-1) - 1.0
    return compounded


def _horizon_name(horizon_days: int, method: HorizonMethod) -> str:
    return "1d" if horizon_days == 1 else f"{horizon_days}d-{method}"


def _from_history(
    history: JoinedHistory,
    returns: Float64Array,
    definition: str,
    horizon_days: int,
    weights: Float64Array | None = None,
) -> ScenarioSet:
    return ScenarioSet(
        returns,
        definition,
        horizon_days,
        weights,
        history.missing,
        str(history.dates[0]),
        str(history.dates[-1]),
        int(history.dates.size),
    )


def _check_decay(decay: float) -> None:
    if not 0.0 < decay < 1.0:
        raise ValueError(f"decay: {decay} is outside 0 < decay < 1")
