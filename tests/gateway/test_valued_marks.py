"""What a policy values collateral and debt at is the same for the recorded state and for the live one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.live.book import Holding, LiveBook
from shared.domain.interest import RAY
from shared.domain.margin_book import MarginBook
from shared.domain.market import Holder, Market, value_accounts
from shared.domain.marks import MarkStatus
from shared.domain.network import Network
from shared.domain.positions import Account, Position
from shared.events.prices import Mark, PriceTick
from tests.messages import market_index
from tests.unit.domain.test_margin_book import NETWORK

NOW = datetime(2025, 3, 1, tzinfo=UTC)
ASSETS = tuple(NETWORK.assets)
AMOUNTS = st.integers(0, 10**6)
CONFIDENCES = st.sampled_from([Decimal(0), Decimal("0.001"), Decimal("0.029")])


def _tick(sequence: int, marks: dict[str, tuple[Decimal, Decimal]], borrow_index: int = RAY) -> PriceTick:
    return PriceTick(
        event_id=f"tick:{sequence}",
        sequence=sequence,
        as_of=NOW,
        block_numbers={},
        marks=tuple(
            Mark(
                asset=asset,
                status=MarkStatus.OK,
                price=price,
                collateral_price=price * (1 - share),
                debt_price=price * (1 + share),
                source="chainlink",
                observed_at=NOW,
                max_age_s=60,
            )
            for asset, (price, share) in marks.items()
        ),
        markets=tuple(market_index(asset, NOW, borrow_index=borrow_index, chain_id=1) for asset in marks),
    )


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(ASSETS), st.tuples(AMOUNTS, AMOUNTS), min_size=1),
    st.lists(
        st.fixed_dictionaries(
            {asset: st.tuples(st.integers(1, 10**5).map(Decimal), CONFIDENCES) for asset in ASSETS}
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_recorded_live_and_risk_margins_are_one(
    held: dict[str, tuple[int, int]], ticks: list[dict[str, tuple[Decimal, Decimal]]]
) -> None:
    network: Network = NETWORK
    positions = {
        each.key: each for each in (Position(1, asset, 3, *amounts, 1) for asset, amounts in held.items())
    }
    account = Account("0xaa", 1, NOW, positions)
    recorded, live = MarginBook(network), LiveBook(network)
    recorded.replace_positions(account)
    live.put_positions("0xaa", 1, NOW, [Holding(1, asset, 3, *amounts) for asset, amounts in held.items()])
    for sequence, marks in enumerate(ticks, 1):
        tick = _tick(sequence, marks, RAY + sequence * RAY // 7)
        before = recorded.standing("0xaa")
        recorded.decide(tick.usable_marks(), tick_sequence=sequence, as_of=NOW)
        live.apply_tick(tick, NOW)
        live.settle()
        reading, margin = recorded.read("0xaa", tick.usable_marks()), live.margin("0xaa")
        assert reading.valuation is not None
        assert (margin.state, margin.collateral_usd, margin.debt_usd, margin.health_pct) == (
            reading.state,
            reading.valuation.collateral_usd,
            reading.valuation.debt_usd,
            reading.valuation.health_pct,
        )
        market = Market.at(
            network,
            tick.usable_marks(),
            indexes=tick.borrow_indexes,
            tick_sequence=sequence,
            as_of=NOW,
        )
        previous = -1 if before is None or before.valued_state is None else before.valued_state.code
        (valuation,) = value_accounts(market, [Holder(account, previous)])
        assert valuation.state is reading.state
        # Other orders of the same additions: the last bit may differ.
        assert valuation.collateral_usd == pytest.approx(float(reading.valuation.collateral_usd), abs=2e-6)
        assert valuation.debt_usd == pytest.approx(float(reading.valuation.debt_usd), abs=2e-6)


def test_wide_confidence_lowers_health_and_narrow_does_not() -> None:
    live = LiveBook(NETWORK)
    live.put_positions("0xaa", 1, NOW, [Holding(1, "ETH", 0, 1, 0), Holding(1, "USDC", 0, 0, 1_000)])
    healths = []
    for sequence, share in enumerate(("0", "0.01"), 1):
        confident = (Decimal(1), Decimal(0))
        live.apply_tick(
            _tick(sequence, {"ETH": (Decimal(2_000), Decimal(share)), "USDC": confident, "WBTC": confident}),
            NOW,
        )
        live.settle()
        healths.append(live.margin("0xaa").health_pct)
    assert healths == [100.0, pytest.approx(98.0)]
