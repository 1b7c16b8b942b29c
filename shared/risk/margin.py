"""Margin health and margin states: vectorised in float64, exact at the boundary.

    health_pct = (collateral_usd − debt_usd) / debt_usd · 100

A state is never decided on that ratio (at C = 1.15·B, computed in binary, it reads below 15 in most
cases), but on the sign of f = C − (1 + t)·B. `classify_states` evaluates f in float64 and bounds its error
rigorously; where |f| is not above the bound the sign is unknown, the entry is reported as uncertain, and
`decide_state_exact` decides it from the integers. So the answer equals integer arithmetic always, and
costs a few float64 operations almost always.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from shared.risk.positions import BoolArray, FactorTable, Float64Array, Int8Array, Position
from shared.risk.states import NEVER_EVALUATED, MarginState

_UNIT_ROUNDOFF: Final = 2.0**-53
_FIRST_SEVERITY: Final = int(MarginState.HEALTHY)
_LAST_SEVERITY: Final = int(MarginState.INSOLVENT)


@dataclass(frozen=True)
class MarginPolicy:
    """Thresholds in per cent of debt, exact: HEALTHY ≥ warning > WARNING ≥ margin call > MARGIN_CALL ≥
    liquidation > LIQUIDATION ≥ 0 > INSOLVENT. A better state needs `hysteresis_pct` more than its threshold
    to be re-entered.

    Raises ValueError unless 0 < liquidation_pct < margin_call_pct < warning_pct and 0 ≤ hysteresis_pct,
    all finite.
    """

    warning_pct: Decimal = Decimal(50)
    margin_call_pct: Decimal = Decimal(30)
    liquidation_pct: Decimal = Decimal(15)
    hysteresis_pct: Decimal = Decimal(2)

    def __post_init__(self) -> None:
        for field in ("warning_pct", "margin_call_pct", "liquidation_pct", "hysteresis_pct"):
            value = getattr(self, field)
            if not isinstance(value, Decimal):
                raise TypeError(
                    f"{field}: {value!r} is a {type(value).__name__}; pass a Decimal, thresholds are exact"
                )
            if not value.is_finite():
                raise ValueError(f"{field}: {value} is not finite")
        if not 0 < self.liquidation_pct < self.margin_call_pct < self.warning_pct:
            raise ValueError(
                f"liquidation_pct {self.liquidation_pct}, margin_call_pct {self.margin_call_pct}, "
                f"warning_pct {self.warning_pct}: must be positive and rising in this order"
            )
        if self.hysteresis_pct < 0:
            raise ValueError(f"hysteresis_pct: {self.hysteresis_pct} is negative")

    @cached_property
    def exact_multiples(self) -> tuple[Fraction, ...]:
        """1 + t of the warning, margin call, liquidation and insolvency thresholds (the last is 1)."""
        percents = (self.warning_pct, self.margin_call_pct, self.liquidation_pct, Decimal(0))
        return tuple(1 + Fraction(pct) / 100 for pct in percents)

    @cached_property
    def exact_reentry_multiples(self) -> tuple[Fraction, ...]:
        """1 + t + hysteresis, in the same order: what an improving account must reach."""
        return tuple(multiple + Fraction(self.hysteresis_pct) / 100 for multiple in self.exact_multiples)

    @cached_property
    def multiples(self) -> Float64Array:
        """`exact_multiples` as float64, each rounded once."""
        return np.array([float(multiple) for multiple in self.exact_multiples])

    @cached_property
    def reentry_multiples(self) -> Float64Array:
        """`exact_reentry_multiples` as float64, each rounded once."""
        return np.array([float(multiple) for multiple in self.exact_reentry_multiples])

    @property
    def warning_t(self) -> float:
        """The warning threshold as a fraction of debt."""
        return float(Fraction(self.warning_pct) / 100)

    @property
    def margin_call_t(self) -> float:
        """The margin call threshold as a fraction of debt."""
        return float(Fraction(self.margin_call_pct) / 100)

    @property
    def liquidation_t(self) -> float:
        """The liquidation threshold as a fraction of debt."""
        return float(Fraction(self.liquidation_pct) / 100)

    def stay_bounds(self) -> tuple[Float64Array, Float64Array]:
        """(worsen_below, improve_from), each indexed by previous state + 1, as multiples of debt.

        An account keeps its state exactly while worsen_below·debt ≤ collateral < improve_from·debt. NaN,
        which no comparison satisfies, stands for a bound that does not exist; an account never evaluated
        leaves at any value.
        """
        worsen_below = np.full(len(MarginState) + 1, np.nan)
        improve_from = np.full(len(MarginState) + 1, np.nan)
        worsen_below[_FIRST_SEVERITY + 1 : _LAST_SEVERITY + 1] = self.multiples
        improve_from[_FIRST_SEVERITY + 2 : _LAST_SEVERITY + 2] = self.reentry_multiples
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
    has_band = (previous_state >= _FIRST_SEVERITY) & (previous_state <= _LAST_SEVERITY)
    relative = error_bound(terms)
    severity = np.full(collateral.shape, _FIRST_SEVERITY, dtype=np.int8)
    banded = severity.copy()
    uncertain = np.zeros(collateral.shape, dtype=bool)
    for multiple, reentry in zip(policy.multiples, policy.reentry_multiples, strict=True):
        required, required_again = multiple * debt, reentry * debt
        severity += collateral < required
        banded += collateral < required_again
        uncertain |= np.abs(collateral - required) <= relative * (collateral + required)
        uncertain |= has_band & (
            np.abs(collateral - required_again) <= relative * (collateral + required_again)
        )
    states = np.where(has_band, np.clip(previous_state, severity, banded), severity)
    states = np.where(debt == 0.0, np.int8(MarginState.NO_DEBT), states)
    unvalued = np.isnan(collateral) | np.isnan(debt)
    states = np.where(unvalued, np.int8(MarginState.UNVALUED), states).astype(np.int8)
    return Classification(states, uncertain & (debt > 0.0) & ~unvalued)


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
) -> MarginState:
    """The state of one account from integer base units, exact marks and exact factors.

    `marks` by asset index; every asset the account holds or owes must have a positive one (an account that
    misses one is UNVALUED and has no state to decide: ValueError names the asset).
    """
    rows = [position for position in positions if position.collateral_base or position.debt_base]
    exact_marks: dict[int, Fraction] = {}
    for position in rows:
        try:
            mark = Fraction(marks[position.asset])
        except LookupError:
            raise ValueError(f"marks[{position.asset}]: missing; the account is UNVALUED") from None
        if mark <= 0:
            raise ValueError(f"marks[{position.asset}]: {mark} is not positive; the account is UNVALUED")
        exact_marks[position.asset] = mark
    return decide_state_from_values(*factors.exact_values(rows, exact_marks), policy, previous)
