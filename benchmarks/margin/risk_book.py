"""What a run of measure_risk measures: accounts with seven of a hundred assets, prices and daily closes."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from local.price_data import single_feed_prices
from shared.domain.interest import RAY
from shared.domain.marks import MarkStatus
from shared.domain.positions import Account, Position, position_key
from shared.events.prices import Mark, MarketIndex, PriceTick, tick_id
from shared.warehouse.rows import Row as WarehouseRow

CHAIN_ID, DECIMALS = 1, 18
ASSETS = tuple(f"A{number:03d}" for number in range(100))
PRICES = {asset: Decimal(100 + number) for number, asset in enumerate(ASSETS)}
HELD, OWED = 5, 2


def network() -> dict[str, Any]:
    """The network description: one chain, and a price of each asset."""
    sources, prices = single_feed_prices(CHAIN_ID, {a: f"0x{n:040x}" for n, a in enumerate(ASSETS, 1)})
    policy = {"warning_pct": "50", "margin_call_pct": "30", "liquidation_pct": "15", "hysteresis_pct": "2"}
    return {
        "margin_policy": policy,
        "tick_max_age_s": 120,
        "price_sources": sources,
        "assets": {
            asset: {"collateral_factor": "1", "borrow_factor": "1", "prices": prices[asset]}
            for asset in ASSETS
        },
        "chains": [
            {
                "chain_id": CHAIN_ID,
                "name": "chain",
                "confirmations": 0,
                "finality": 64,
                "start_block": 0,
                "block_range": 1000,
                "vault": "0x" + "aa" * 20,
                "escrow_factory": "0x" + "bb" * 20,
                "multicall": "0x" + "ca" * 20,
                "tokens": {},
            }
        ],
    }


def book(count: int) -> list[Account]:
    """Accounts that hold five assets and owe two; health from 5 to 300 percent: some end insolvent."""
    source = random.Random(1)
    found: list[Account] = []
    for _ in range(count):
        chosen = source.sample(ASSETS, HELD + OWED)
        debt_usd = source.uniform(1_000, 100_000)
        collateral_usd = debt_usd * (1 + source.uniform(0.05, 3.0))
        positions: dict[str, Position] = {}
        for number, asset in enumerate(chosen):
            held_usd = collateral_usd / HELD if number < HELD else 0.0
            owed_usd = 0.0 if number < HELD else debt_usd / OWED
            base = 10**DECIMALS / float(PRICES[asset])
            positions[position_key(CHAIN_ID, asset)] = Position(
                CHAIN_ID, asset, DECIMALS, int(held_usd * base), int(owed_usd * base), sequence=1
            )
        found.append(Account(f"0x{source.getrandbits(160):040x}", 1, datetime.now(UTC), positions))
    return found


def tick(sequence: int) -> PriceTick:
    """A tick of now."""
    moment = datetime.now(UTC)
    return PriceTick(
        event_id=tick_id(sequence),
        sequence=sequence,
        as_of=moment,
        block_numbers={str(CHAIN_ID): sequence},
        marks=tuple(
            Mark(
                asset=asset,
                status=MarkStatus.OK,
                price=price,
                source="benchmark",
                observed_at=moment,
                max_age_s=3_900,
            )
            for asset, price in PRICES.items()
        ),
        markets=tuple(
            MarketIndex(
                chain_id=CHAIN_ID, asset=asset, borrow_index=RAY, rate_per_second=0, reported_at=moment
            )
            for asset in PRICES
        ),
    )


def closes(n_days: int) -> list[WarehouseRow]:
    """Daily bars up to yesterday that end at the prices."""
    rng = np.random.default_rng(1)
    common = rng.normal(0.0, 0.025, (n_days, 1))
    walk = np.exp(np.cumsum(common + rng.standard_t(4, (n_days, len(ASSETS))) * 0.02, axis=0))
    walk *= np.array([float(price) for price in PRICES.values()]) / walk[-1]
    known_at = datetime.now(UTC)
    midnight = known_at.replace(hour=0, minute=0, second=0, microsecond=0)
    rows: list[WarehouseRow] = []
    for number, asset in enumerate(ASSETS):
        for day in range(n_days):
            start = (midnight - timedelta(days=n_days - day)).isoformat()
            close = f"{walk[day, number]:.6f}"
            values = {"asset": asset, "interval": "1d", "start": start, "ticks": 1, "source": "benchmark"}
            values |= dict.fromkeys(("open", "high", "low", "close"), close)
            row_id = f"{asset}:1d:{start}"
            rows.append(WarehouseRow("price_bars", row_id, {**values, "as_of": known_at.isoformat()}))
    return rows
