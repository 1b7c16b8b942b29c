"""The margin policy: thresholds as data.

Without NumPy, so that a function which only reads the network description does not pay for its import.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property


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
    def multiples(self) -> tuple[float, ...]:
        """`exact_multiples` as float64, each rounded once."""
        return tuple(float(multiple) for multiple in self.exact_multiples)

    @cached_property
    def reentry_multiples(self) -> tuple[float, ...]:
        """`exact_reentry_multiples` as float64, each rounded once."""
        return tuple(float(multiple) for multiple in self.exact_reentry_multiples)

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
