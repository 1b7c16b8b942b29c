"""Value at risk and expected shortfall of P&L samples: the definitions, stated once and used everywhere.

With n scenarios and tail probability α = 1 − level, on P&L sorted from the worst:

    k   = ceil(round(α·n, 9))
    VaR = −(k-th worst P&L)
    ES  = −(sum of the ⌊α·n⌋ worst + (α·n − ⌊α·n⌋) · next worst) / (α·n)

α·n is rounded first, since (1 − 0.99)·500 is 5.000000000000004 in binary. The k-th worst is Hull's order
statistic, the smaller of the two textbook ones where α·n is whole.

Scenario weights w (summing to 1) replace 1/n: VaR is the first loss at which the accumulated weight reaches
α, ES the mean over exactly the worst α of weight. Losses are positive; the VaR of a position that only gains
is negative. A tail that holds less than one scenario is refused: it would report the worst case under another
name.

Sources: Hull, Risk Management and Financial Institutions, ch. 13; Acerbi and Tasche, On the coherence of
expected shortfall, J. Banking & Finance 26 (2002), definition 2.6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.risk.positions import Float64Array

WorkingArray = NDArray[Any]
"""float32 or float64, the precision a book's P&L is computed in."""

TAIL_DEFINITION: Final = "order-statistic-ceil.fractional-es.v1"
_SORT_NETWORK: Final = {np.dtype(np.float32): 512, np.dtype(np.float64): 256}
"""Longest row that NumPy's vectorised sort keeps in registers; a candidate for the measurement, not a
decision."""


class InsufficientHistoryError(ValueError):
    """Too few scenarios for the tail asked for. `needed` and `available` are in (effective) scenarios."""

    def __init__(self, what: str, needed: int, available: float) -> None:
        self.needed = needed
        self.available = available
        super().__init__(
            f"{what}: needs {needed} scenarios, has {available:g}; {ceil(needed - available)} missing"
        )


class Tail(NamedTuple):
    """The tail of `n` scenarios at one level: α·n, the order statistic k of VaR, the whole scenarios in
    ES."""

    mass: float
    order: int
    whole: int

    @property
    def depth(self) -> int:
        """How many of the worst scenarios VaR and ES need: k = ⌈α·n⌉ is also the last one in ES."""
        return self.order


@lru_cache(maxsize=1024)
def tail_of(level: float, n_scenarios: int) -> Tail:
    """The tail at confidence `level` (0 < level < 1). Raises InsufficientHistoryError if it holds less
    than one scenario."""
    alpha = tail_probability(level)
    mass = round(alpha * n_scenarios, 9)
    if mass < 1.0:
        raise InsufficientHistoryError(f"tail at {level:.4%}", ceil(round(1.0 / alpha, 9)), n_scenarios)
    return Tail(mass, ceil(mass), floor(mass))


def tail_probability(level: float) -> float:
    """1 − level without the binary noise of the subtraction. Raises ValueError outside 0 < level < 1."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: {level} is outside 0 < level < 1 (0.99 is 99 %)")
    return round(1.0 - level, 12)


TailMethod = Callable[[WorkingArray, int], WorkingArray]
"""(P&L block [n, S], k) -> its k smallest values a row, ascending. May reorder the block in place."""


def _by_sort(block: WorkingArray, k: int) -> WorkingArray:
    block.sort(axis=1)
    return block[:, :k]


def _by_partition(block: WorkingArray, k: int) -> WorkingArray:
    block.partition(k - 1, axis=1)
    worst = block[:, :k]
    worst.sort(axis=1)
    return worst


def _by_groups(block: WorkingArray, k: int) -> WorkingArray:
    """Sort groups short enough for the sorting network, keep k of each, and sort what is left, again in
    groups."""
    limit = _SORT_NETWORK[block.dtype]
    rows, columns = block.shape
    while columns > limit:
        n_groups = -(-columns // limit)
        length, rest = divmod(columns, n_groups)
        if length <= k:
            break
        head = block[:, : columns - rest] if rest else block
        groups = head.reshape(rows, n_groups, length)
        groups.sort(axis=2)
        kept = groups[:, :, :k].reshape(rows, n_groups * k)
        block = np.concatenate([kept, block[:, columns - rest :]], axis=1) if rest else kept
        columns = block.shape[1]
    block.sort(axis=1)
    return block[:, :k]


TAIL_METHODS: Final[dict[str, TailMethod]] = {
    "sort": _by_sort,
    "partition": _by_partition,
    "groups": _by_groups,
}


@dataclass(frozen=True, slots=True)
class TailSelector:
    """The method that found the smallest values fastest on this processor, and what was measured (ns a
    row)."""

    name: str
    nanoseconds_per_row: dict[str, float]

    @classmethod
    def measure(
        cls, n_scenarios: int, depth: int, dtype: type[np.floating], timer_ns: Callable[[], int]
    ) -> "TailSelector":
        """Time each method on a few milliseconds of made-up P&L. `timer_ns`: e.g. time.perf_counter_ns.

        The methods return the same values; which is fastest differs by processor (NumPy's sort has a cliff
        at 512 float32 or 256 float64 elements on some, none on others), so it is measured where it runs.
        """
        rows = max(16, 40_000 // n_scenarios)
        sample = np.random.default_rng(0).standard_normal((rows, n_scenarios)).astype(dtype)
        timings = {}
        for name, method in TAIL_METHODS.items():
            runs = []
            for _ in range(4):
                block = sample.copy()
                start = timer_ns()
                method(block, depth)
                runs.append(timer_ns() - start)
            timings[name] = min(runs) / rows
        return cls(min(timings, key=timings.__getitem__), timings)

    def worst(self, block: WorkingArray, depth: int) -> WorkingArray:
        """The `depth` smallest values of each row, ascending; may reorder `block`."""
        return TAIL_METHODS[self.name](block, depth)


BY_PARTITION: Final = TailSelector("partition", {})
"""A selector that needs no measurement, for single accounts and tests."""


class TailReading(NamedTuple):
    """VaR and ES at several levels as a linear map of a row's `depth` worst P&L, ascending.

    Their product with `weights` (float64[depth, 2·n_levels]) is VaR at each level, then ES at each; NaN or
    infinite where one of them is.
    """

    depth: int
    weights: Float64Array


@lru_cache(maxsize=256)
def tail_reading(levels: tuple[float, ...], n_scenarios: int) -> TailReading:
    """How VaR and ES at `levels` are read off the worst of `n_scenarios` equally weighted scenarios. Raises
    as `tail_of` does."""
    tails = [tail_of(level, n_scenarios) for level in levels]
    depth = max((tail.depth for tail in tails), default=1)
    weights = np.zeros((depth, 2 * len(tails)))
    for column, tail in enumerate(tails):
        weights[tail.order - 1, column] = -1.0
        of_es = weights[:, len(tails) + column]
        of_es[: tail.whole] = -1.0 / tail.mass
        if tail.order > tail.whole:
            of_es[tail.whole] = -(tail.mass - tail.whole) / tail.mass
    weights.setflags(write=False)
    return TailReading(depth, weights)


def var_es(
    pnl: Float64Array, level: float, weights: Float64Array | None = None
) -> tuple[Float64Array, Float64Array]:
    """(VaR, ES) float64[n] of P&L samples [n, S] or [S]; `weights` float64[S], positive, summing to 1.

    P&L that is NaN or infinite gives NaN (it is never a gain). Raises InsufficientHistoryError for an empty
    tail.
    """
    block = np.atleast_2d(np.asarray(pnl, dtype=np.float64))
    is_known = np.asarray(np.isfinite(block).all(axis=1, keepdims=True))
    known = np.where(is_known, block, 0.0)
    if weights is None:
        reading = tail_reading((level,), block.shape[1])
        value_at_risk, shortfall = _by_partition(known, reading.depth).dot(reading.weights).T
    else:
        value_at_risk, shortfall = _weighted_var_es(known, level, weights)
    unknown = ~is_known[:, 0]
    value_at_risk[unknown] = np.nan
    shortfall[unknown] = np.nan
    return value_at_risk, shortfall


def effective_scenarios(weights: Float64Array) -> float:
    """1 / Σ w²: how many equal weights carry the same information (Kish)."""
    return float(1.0 / np.square(weights).sum())


def check_weights(weights: Float64Array, n_scenarios: int, level: float) -> float:
    """α, after refusing weights that do not fit, do not sum to 1, or leave less than one effective
    scenario in the tail."""
    alpha = tail_probability(level)
    if weights.shape != (n_scenarios,) or np.any(weights <= 0.0) or abs(weights.sum() - 1.0) > 1e-9:
        raise ValueError(f"weights: need {n_scenarios} positive values that sum to 1")
    effective = round(effective_scenarios(weights), 6)
    if effective * alpha < 1.0:
        raise InsufficientHistoryError(
            f"weighted tail at {level:.4%}", ceil(round(1.0 / alpha, 9)), effective
        )
    return alpha


def _weighted_var_es(
    block: Float64Array, level: float, weights: Float64Array
) -> tuple[Float64Array, Float64Array]:
    shares, boundary = weighted_tail(block, level, weights)
    return -boundary, -(block * shares).sum(axis=1)


def tail_shares(block: Float64Array, level: float) -> tuple[Float64Array, Float64Array]:
    """(share of ES [n, S], P&L at VaR [n]) of equally weighted scenarios.

    Shares sum to 1 a row; scenarios tied with the boundary split its fractional weight, so that the
    components of an account do not depend on the order of its scenarios.
    """
    tail = tail_of(level, block.shape[1])
    boundary = np.partition(block, tail.order - 1, axis=1)[:, tail.order - 1]
    worse = block < boundary[:, None]
    tied = block == boundary[:, None]
    left = (tail.mass - worse.sum(axis=1)) / tied.sum(axis=1)
    return (worse + tied * left[:, None]) / tail.mass, boundary


def weighted_tail(
    block: Float64Array, level: float, weights: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """`tail_shares` for weighted scenarios; ties split what is left of α in proportion to their weights."""
    alpha = check_weights(weights, block.shape[1], level)
    order = np.argsort(block, axis=1, kind="stable")
    accumulated = np.cumsum(weights[order], axis=1)
    # The accumulated sum carries rounding; 1e-12 of weight is far below any scenario's.
    position = np.argmax(accumulated >= alpha - 1e-12, axis=1)
    rows = np.arange(block.shape[0])
    boundary = block[rows, order[rows, position]]
    worse = block < boundary[:, None]
    tied = (block == boundary[:, None]) * weights
    left = (alpha - (worse * weights).sum(axis=1)) / tied.sum(axis=1)
    return (worse * weights + tied * left[:, None]) / alpha, boundary
