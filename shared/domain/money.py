"""Exact amounts: base units are ints, USD is ``Decimal``; floats come only from the risk core."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

USD_PLACES = Decimal("0.000001")
# 78 digits hold any uint256; the default context's 28 would round large balances.
_EXACT = Context(prec=120, rounding=ROUND_HALF_EVEN)


def usd(value: float) -> Decimal:
    """USD from the risk core's float64, rounded half-even to a millionth of a dollar.

    Raises:
        ValueError: for NaN and infinities, which are not amounts.
    """
    amount = Decimal(float(value))
    if not amount.is_finite():
        raise ValueError(f"not an amount of USD: {value}")
    return amount.quantize(USD_PLACES, context=_EXACT)


def whole_tokens(amount_base: int, decimals: int) -> Decimal:
    """Whole tokens from base units, exactly."""
    return _EXACT.scaleb(Decimal(amount_base), -decimals)
