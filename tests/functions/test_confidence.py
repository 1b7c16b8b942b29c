"""Collateral at the mark less its confidence and debt at the mark plus it, from the source to the API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from google.cloud import firestore

from local import price_data, pyth
from local.chain import borrow, deposit
from shared.domain.margin import State
from shared.events import topics
from tests.conftest import Project
from tests.functions.book import records
from tests.functions.conftest import Caller, Market, Tap
from tests.functions.relaying import relay
from tests.gateway.conftest import running
from tests.gateway.world import World

SHOWN = """query($id: ID!) {
  account(id: $id) { margin { state collateralUsd debtUsd } requirements { state collateralUsd debtUsd } }
  stressTest(accountIds: [$id], shocks: [{asset: "ETH", shock: "-0.1"}, {asset: "USDC", shock: "0"}]) {
    accounts { before { state collateralUsd debtUsd } after { state collateralUsd debtUsd } } }
}"""


def describe(market: Market, project: Project, valuation: str) -> None:
    """A network whose only prices are Pyth's on chain, valued by this policy."""
    network = market.deployment.network(start_block=market.start_block, with_pyth_contract=True)
    quotes = price_data.pyth_quotes(network["assets"], price_data.PYTH_CONTRACT)
    for asset, described in network["assets"].items():
        described["prices"] = {**price_data.price_policy(quotes[asset]), "valuation": valuation}
    project.write_network(network)


@pytest.mark.parametrize(
    ("valuation", "state", "collateral", "debt", "stressed"),
    [
        # At the mark one ether of 1,510 against 1,000 is a little above the warning threshold of 50 %.
        ("mark", State.HEALTHY, Decimal(1510), Decimal(1000), Decimal(1359)),
        ("confidence", State.WARNING, Decimal("1494.9"), Decimal(1010), Decimal("1345.41")),
    ],
)
def test_the_state_that_is_recorded_and_what_the_api_shows_are_valued_by_the_assets_policy(
    call: Caller,
    market: Market,
    project: Project,
    store: firestore.Client,
    tap: Callable[[str], Tap],
    valuation: str,
    state: State,
    collateral: Decimal,
    debt: Decimal,
    stressed: Decimal,
) -> None:
    describe(market, project, valuation)
    events, published = tap(topics.SETTLEMENT_EVENTS), tap(topics.MARKET_PRICES)
    borrower = market.account()
    market.chain.mine(deposit(market.deployment, borrower, "ETH", 10**18))
    market.chain.mine(borrow(market.deployment, borrower, "USDC", 1_000 * 10**6))
    assert relay(call) == 200
    for event in events.events():
        assert call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, event).acknowledged
    prices = {"ETH": Decimal(1510), "USDC": Decimal(1), "WBTC": Decimal(60_000), "LINK": Decimal(15)}
    pyth.publish_prices(market.chain, market.deployment, prices, confidence_bps=100)
    assert call.request("fetch_prices", schedule_time=datetime.now(UTC)).status == 200
    tick = published.events()[-1]

    assert call.push("evaluate_margin", topics.MARKET_PRICES, tick).acknowledged

    record = records(store)[borrower]
    assert record.valuation is not None
    recorded = (record.state, record.valuation.collateral_usd, record.valuation.debt_usd)
    assert recorded == (state, collateral, with_interest(debt))
    with running() as server:
        shown = server.query(SHOWN, {"id": borrower}, key=World(project).key())
    expected = (state.value, collateral, with_interest(debt))
    (after_shock,) = shown["stressTest"]["accounts"]
    for place in (shown["account"]["margin"], shown["account"]["requirements"], after_shock["before"]):
        assert figures(place) == expected
    assert figures(after_shock["after"])[1:] == (stressed, with_interest(debt))


def with_interest(debt_usd: Decimal) -> Any:
    """A debt some time after it was made: a few minutes at a few per cent a year."""
    return pytest.approx(debt_usd, rel=Decimal("1e-6"))


def figures(margin: dict[str, Any]) -> tuple[str, Decimal, Decimal]:
    """State, collateral and debt."""
    return margin["state"], Decimal(margin["collateralUsd"]), Decimal(margin["debtUsd"])
