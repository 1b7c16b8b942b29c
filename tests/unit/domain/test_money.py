"""Amounts are exact: the only rounding is the stated one."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.money import USD_PLACES, usd, whole_tokens


@given(st.integers(0, 2**256 - 1), st.integers(0, 77))
def test_whole_tokens_are_exact(amount_base: int, decimals: int) -> None:
    assert Fraction(whole_tokens(amount_base, decimals)) == Fraction(amount_base, 10**decimals)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_usd_is_the_float_rounded_half_even_to_a_millionth(value: float) -> None:
    with localcontext(prec=1_000):
        expected = Decimal(value).quantize(USD_PLACES, rounding=ROUND_HALF_EVEN)
    if len(expected.as_tuple().digits) <= 120:
        assert usd(value) == expected
        assert usd(value).as_tuple().exponent == -6


@pytest.mark.parametrize(
    ("value", "expected"), [(2**-7, "0.007812"), (3 * 2**-7, "0.023438"), (-(2**-7), "-0.007812")]
)
def test_a_half_goes_to_the_even_side(value: float, expected: str) -> None:
    """2^-7 = 0.0078125 is one of the few halves that a float holds exactly."""
    assert str(usd(value)) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_amount_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        usd(value)
