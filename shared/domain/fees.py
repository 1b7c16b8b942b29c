"""What a transaction bids: EIP-1559 fees, how they are raised, and the cap that rises with urgency.

Sources: EIP-1559 (https://eips.ethereum.org/EIPS/eip-1559); the replacement rule of go-ethereum's pool
(``core/txpool/legacypool``: both fees must rise by ``PriceBump``, 10 %), which other clients share.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

_BUMP_NUMERATOR, _BUMP_DENOMINATOR = 1_125, 1_000
"""12.5 %, above the 10 % that nodes ask for, so that their rounding cannot refuse it."""


@dataclass(frozen=True, slots=True)
class Fees:
    """A type 2 transaction's bid, in wei per gas."""

    max_fee_wei: int
    max_priority_fee_wei: int


@dataclass(frozen=True, slots=True)
class FeeMarket:
    """What a node says of the newest block, in wei per gas."""

    base_fee_wei: int
    priority_fee_wei: int


@dataclass(frozen=True, slots=True)
class FeeCap:
    """The most that is bid per gas: ``start_wei`` at first, ``ceiling_wei`` once the time is up.

    A cap that stays where it is holds a transaction for ever once a spike has passed it: the next bid, which
    nodes want to be a tenth higher, is then never allowed. A call stays one raise below the ceiling, so that
    the no-op that takes its place at the deadline is always allowed.
    """

    start_wei: int
    ceiling_wei: int

    def at(self, *, since: datetime, deadline: datetime | None, now: datetime) -> int:
        """The cap of a call at a moment, linear from ``since`` to ``deadline``; without one, the ceiling."""
        if deadline is None:
            return self.ceiling_wei
        most = self.ceiling_wei * _BUMP_DENOMINATOR // _BUMP_NUMERATOR
        least = min(self.start_wei, most)
        if deadline <= since or now >= deadline:
            return most
        elapsed_us = max(0, int((now - since).total_seconds() * 1_000_000))
        whole_us = int((deadline - since).total_seconds() * 1_000_000)
        return least + (most - least) * elapsed_us // max(whole_us, 1)


def opening_bid(market: FeeMarket, cap_wei: int) -> Fees:
    """The first bid: twice the base fee, which outlives five full blocks, and the usual tip; capped."""
    max_fee = min(2 * market.base_fee_wei + market.priority_fee_wei, cap_wei)
    return Fees(max_fee, min(market.priority_fee_wei, max_fee))


def raised_bid(bid: Fees, market: FeeMarket, cap_wei: int) -> Fees | None:
    """A bid that nodes take in place of ``bid``; None where the cap does not allow it."""
    least = _raised(bid.max_fee_wei)
    if least > cap_wei:
        return None
    max_fee = min(max(least, 2 * market.base_fee_wei + market.priority_fee_wei), cap_wei)
    tip = max(_raised(bid.max_priority_fee_wei), market.priority_fee_wei)
    return Fees(max_fee, min(tip, max_fee))


def _raised(fee_wei: int) -> int:
    return max(fee_wei + 1, -(-fee_wei * _BUMP_NUMERATOR // _BUMP_DENOMINATOR))
