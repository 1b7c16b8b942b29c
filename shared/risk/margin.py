"""Margin health and margin states: vectorised in float64, exact at the boundary.

    health_pct = (collateral_usd − debt_usd) / debt_usd · 100

A state is never decided on that ratio (at C = 1.15·B, computed in binary, it reads below 15 in most
cases), but on the sign of f = C − (1 + t)·B. `classify_states` evaluates f in float64 and bounds its error
rigorously; where |f| is not above the bound the sign is unknown, the entry is reported as uncertain, and
`decide_state_exact` decides it from the integers. So the answer equals integer arithmetic always, and
costs a few float64 operations almost always.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from shared.risk.policy import MarginPolicy
from shared.risk.positions import BoolArray, FactorTable, Float64Array, Int8Array, Position
from shared.risk.states import NEVER_EVALUATED, MarginState

_UNIT_ROUNDOFF: Final = 2.0**-53
_FIRST_SEVERITY: Final = int(MarginState.HEALTHY)
_LAST_SEVERITY: Final = int(MarginState.INSOLVENT)
_CHUNK: Final = 8192


def stay_bounds(policy: MarginPolicy) -> tuple[Float64Array, Float64Array]:
    """(worsen_below, improve_from), each indexed by previous state + 1, as multiples of debt.

    An account keeps its state exactly while worsen_below·debt ≤ collateral < improve_from·debt. NaN,
    which no comparison satisfies, stands for a bound that does not exist; an account never evaluated
    leaves at any value.
    """
    worsen_below = np.full(len(MarginState) + 1, np.nan)
    improve_from = np.full(len(MarginState) + 1, np.nan)
    worsen_below[_FIRST_SEVERITY + 1 : _LAST_SEVERITY + 1] = policy.multiples
    improve_from[_FIRST_SEVERITY + 2 : _LAST_SEVERITY + 2] = policy.reentry_multiples
    improve_from[NEVER_EVALUATED + 1] = 0.0
    return worsen_below, improve_from


class Classification(NamedTuple):
    """States (int8[n]) and the entries (bool[n]) whose sign of f is within its error bound and must be
    decided exactly; the state given for those is only the float64 reading."""

    states: Int8Array
    uncertain: BoolArray


def health_pct(collateral_usd: ArrayLike, debt_usd: ArrayLike) -> Float64Array:
    """(C − B) / B · 100 for each account; inf without debt; NaN only where an input is NaN (an unvalued
    account).

    For display and history. States are decided by `classify_states`, never on this ratio.
    """
    collateral = np.asarray(collateral_usd, dtype=np.float64)
    debt = np.asarray(debt_usd, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        health = (collateral - debt) / debt * 100.0
    unvalued = np.isnan(collateral) | np.isnan(debt)
    return np.where((debt == 0.0) & ~unvalued, np.inf, health)


def error_bound(terms: int) -> float:
    """Bound on |fl(f) − f| relative to C + (1 + t)·B, for sums of at most `terms` products.

    Every term is non-negative, so relative errors do not cancel: weight, mark and product are each rounded
    once, the sum adds at most terms − 1 roundings in any order, 1 + t and its product two, the difference
    one. That is γ₍terms+5₎ in Higham's notation (Accuracy and Stability of Numerical Algorithms, 2nd ed.,
    lemma 3.1); 3 more roundings cover forming the bound itself.
    """
    roundings = (terms + 8) * _UNIT_ROUNDOFF
    return roundings / (1.0 - roundings)


def classify_states(
    collateral_usd: ArrayLike, debt_usd: ArrayLike, policy: MarginPolicy, previous: ArrayLike, *, terms: int
) -> Classification:
    """The state of each account from float64 sums of at most `terms` weight·mark products a side.

    `previous` (int[n] or a scalar): the state last recorded, for hysteresis; NEVER_EVALUATED, NO_DEBT and
    UNVALUED mean none. NaN collateral or debt gives UNVALUED. Worsening acts at once; improving from a
    state needs each passed threshold plus the hysteresis band. Raises ValueError for a negative collateral
    or debt.
    """
    collateral, debt, previous_state = np.broadcast_arrays(
        np.asarray(collateral_usd, dtype=np.float64),
        np.asarray(debt_usd, dtype=np.float64),
        np.asarray(previous, dtype=np.int8),
    )
    if np.any(collateral < 0.0) or np.any(debt < 0.0):
        raise ValueError(
            "collateral_usd, debt_usd: a negative value; each side is a sum of non-negative positions"
        )
    states = np.empty(collateral.shape, dtype=np.int8)
    uncertain = np.empty(collateral.shape, dtype=bool)
    relative = error_bound(terms)
    flat_collateral, flat_debt = collateral.reshape(-1), debt.reshape(-1)
    flat_previous, flat_states, flat_uncertain = (x.reshape(-1) for x in (previous_state, states, uncertain))
    for start in range(0, flat_states.size, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        flat_states[chunk], flat_uncertain[chunk] = _classify(
            flat_collateral[chunk], flat_debt[chunk], flat_previous[chunk], policy, relative
        )
    return Classification(states, uncertain)


def _classify(
    collateral: Float64Array, debt: Float64Array, previous: Int8Array, policy: MarginPolicy, relative: float
) -> tuple[Int8Array, BoolArray]:
    """`classify_states` of a chunk that stays in cache: all thresholds at once, [thresholds, n]."""
    has_band = (previous >= _FIRST_SEVERITY) & (previous <= _LAST_SEVERITY)
    required = np.array((*policy.multiples, *policy.reentry_multiples))[:, None] * debt
    below = collateral < required
    is_near = np.abs(collateral - required) <= relative * (collateral + required)
    n_thresholds = len(policy.multiples)
    severity = below[:n_thresholds].sum(axis=0) + _FIRST_SEVERITY
    banded = below[n_thresholds:].sum(axis=0) + _FIRST_SEVERITY
    states = np.where(has_band, np.clip(previous, severity, banded), severity)
    states[debt == 0.0] = MarginState.NO_DEBT
    unvalued = np.isnan(collateral) | np.isnan(debt)
    states[unvalued] = MarginState.UNVALUED
    uncertain = is_near[:n_thresholds].any(axis=0) | (has_band & is_near[n_thresholds:].any(axis=0))
    return states.astype(np.int8), uncertain & (debt > 0.0)


def decide_states(
    collateral_usd: ArrayLike, debt_usd: ArrayLike, policy: MarginPolicy, previous: ArrayLike
) -> Int8Array:
    """States (int8[n]) of float64 collateral and debt taken as exact numbers, with the same hysteresis as
    `classify_states`; what float64 cannot decide is decided in rational arithmetic.

    For sums computed from positions use `classify_states` with their number of terms, or a `BookEvaluator`.
    """
    states, uncertain = classify_states(collateral_usd, debt_usd, policy, previous, terms=0)
    if uncertain.any():
        collateral, debt, previous_state = np.broadcast_arrays(collateral_usd, debt_usd, previous)
        for entry in zip(*np.nonzero(uncertain), strict=True):
            states[entry] = decide_state_from_values(
                Fraction(float(collateral[entry])),
                Fraction(float(debt[entry])),
                policy,
                int(previous_state[entry]),
            )
    return states


def decide_state_from_values(
    collateral_usd: Fraction, debt_usd: Fraction, policy: MarginPolicy, previous: int
) -> MarginState:
    """The state of one account from exact values, in rational arithmetic only."""
    if debt_usd == 0:
        return MarginState.NO_DEBT
    severity = _FIRST_SEVERITY + sum(
        collateral_usd < multiple * debt_usd for multiple in policy.exact_multiples
    )
    if not _FIRST_SEVERITY <= previous <= _LAST_SEVERITY:
        return MarginState(severity)
    banded = _FIRST_SEVERITY + sum(
        collateral_usd < multiple * debt_usd for multiple in policy.exact_reentry_multiples
    )
    return MarginState(min(max(previous, severity), banded))


def decide_state_exact(
    positions: Iterable[Position],
    marks: Mapping[int, Decimal | Fraction] | Sequence[Decimal | Fraction],
    factors: FactorTable,
    policy: MarginPolicy,
    previous: int,
    *,
    debt_marks: Mapping[int, Decimal | Fraction] | Sequence[Decimal | Fraction] | None = None,
) -> MarginState:
    """The state of one account from integer base units, exact marks and exact factors.

    `marks` by asset index, `debt_marks` where debt is valued at others; every asset the account holds or
    owes must have a positive one (an account that misses one is UNVALUED and has no state to decide:
    ValueError names the asset).
    """
    rows = [position for position in positions if position.collateral_base or position.debt_base]
    held = {position.asset for position in rows}
    held_at = _exact_marks(held, marks)
    owed_at = held_at if debt_marks is None else _exact_marks(held, debt_marks)
    return decide_state_from_values(*factors.exact_values(rows, held_at, owed_at), policy, previous)


def _exact_marks(
    assets: Iterable[int], marks: Mapping[int, Decimal | Fraction] | Sequence[Decimal | Fraction]
) -> dict[int, Fraction]:
    exact: dict[int, Fraction] = {}
    for asset in assets:
        try:
            mark = Fraction(marks[asset])
        except LookupError:
            raise ValueError(f"marks[{asset}]: missing; the account is UNVALUED") from None
        if mark <= 0:
            raise ValueError(f"marks[{asset}]: {mark} is not positive; the account is UNVALUED")
        exact[asset] = mark
    return exact
