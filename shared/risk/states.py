"""Margin states, ordered from the best to the worst, and the mark for an account never evaluated before."""

from enum import IntEnum
from typing import Final


class MarginState(IntEnum):
    """Where an account stands against the thresholds of a `MarginPolicy`.

    HEALTHY to INSOLVENT are ordered: a greater value is a worse state. NO_DEBT has no health to compare, and
    UNVALUED says that a mark the account depends on is missing, so nothing may be concluded about it.
    """

    NO_DEBT = 0
    HEALTHY = 1
    WARNING = 2
    MARGIN_CALL = 3
    LIQUIDATION = 4
    INSOLVENT = 5
    UNVALUED = 6


NEVER_EVALUATED: Final = -1
"""The previous state of an account that has none; hysteresis does not apply to it."""
