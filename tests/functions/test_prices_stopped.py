"""Every source down: from the chain's silence to unvalued accounts and back, by the functions themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from google.cloud import firestore

from shared.domain.margin import State
from shared.events import topics
from shared.stores import ticks
from tests.contract_messages import market_changed
from tests.functions.book import account, records, store_accounts
from tests.functions.conftest import Caller, Market, Outage, Tap
from tests.messages import new_address, now

SWEEP = b'{"event_id": "sweep"}'


def test_prices_stop_and_come_back_and_nobody_is_called(
    call: Caller, market: Market, store: firestore.Client, tap: Callable[[str], Tap], without: Outage
) -> None:
    prices, margin, operations = (
        tap(topic) for topic in (topics.MARKET_PRICES, topics.MARGIN_ALERTS, topics.OPERATIONS_ALERTS)
    )
    holder = new_address()
    assert call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, market_changed(1)).acknowledged
    store_accounts(store, [account(holder, ETH=("1", "0"), USDC=("0", "1000"))])

    def fetch_and_evaluate() -> None:
        assert call.request("fetch_prices").status == 200
        for tick in prices.events():
            assert call.push("evaluate_margin", topics.MARKET_PRICES, tick).acknowledged

    fetch_and_evaluate()
    first = ticks.find_latest(store)
    assert first is not None
    assert records(store)[holder].state is State.HEALTHY
    assert [alert.previous_state for alert in margin.events()] == [None]

    with without("chain"):
        for _ in range(2):
            assert call.request("fetch_prices").status == 503
    assert ticks.find_latest(store) == first, "nothing was heard and yet a tick was written"
    assert prices.pull() == []
    later = now() + timedelta(seconds=122)
    assert call.push("evaluate_margin", topics.MARGIN_SWEEPS, SWEEP, published_at=later).acknowledged
    assert records(store)[holder].state is State.UNVALUED
    assert [alert.kind for alert in operations.events()] == ["prices_stopped"]

    fetch_and_evaluate()
    assert records(store)[holder].state is State.HEALTHY
    assert [alert.kind for alert in operations.events()] == ["prices_resumed"]
    assert margin.pull() == [], "somebody was called because prices stopped"
