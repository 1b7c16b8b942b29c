"""fetch_prices: one sequence of ticks; a feed that cannot be believed gives no price and stops no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from google.cloud import firestore

from shared.events import topics
from shared.events.prices import Mark, PriceTick
from shared.stores import ticks
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Outage, Outbox, Tap
from tests.functions.instances import Instances
from tests.messages import CHAIN_ID

FUNCTION = "fetch_prices"
NO_CODE = "0x" + "c0" * 20


def _fetch(call: Caller) -> int:
    return call.request(FUNCTION, schedule_time=datetime.now(UTC)).status


def _marks(tick: PriceTick) -> dict[str, Mark]:
    return {mark.asset: mark for mark in tick.marks}


def _latest(store: firestore.Client) -> PriceTick:
    tick = ticks.find_latest(store)
    assert tick is not None
    return tick


def test_a_tick_carries_every_feeds_answer_exactly(
    call: Caller, market: Market, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    announced = tap(topics.MARKET_PRICES)
    market.chain.set_prices(market.deployment, {"ETH": Decimal("1234.56789012"), "USDC": Decimal("0.99991")})

    assert _fetch(call) == 200

    (tick,) = announced.events()
    marks = _marks(tick)
    assert tick.sequence == 1
    assert {asset: mark.price for asset, mark in marks.items()} == {
        "ETH": Decimal("1234.56789012"),
        "USDC": Decimal("0.99991"),
        "WBTC": Decimal(60000),
        "LINK": Decimal(15),
    }
    assert (marks["ETH"].status, marks["ETH"].source, marks["ETH"].method) == ("ok", "chainlink", "single")
    assert [(quote.provider, quote.reference) for quote in marks["ETH"].quotes] == [("chainlink", "2")]
    assert marks["ETH"].max_age_s == 3_900
    assert tick.block_numbers == {str(CHAIN_ID): market.head()}
    assert _latest(store) == tick
    assert outbox_left.ids() == []


def test_the_sequence_goes_on_across_invocations_and_restarts(
    call: Caller, market: Market, project: Project, tap: Callable[[str], Tap]
) -> None:
    announced = tap(topics.MARKET_PRICES)
    project.setenv(WINDOW_S="0.5", PRICE_INTERVAL_S="0.1")
    for level in ("WARNING", "ERROR", "INFO"):
        # Other settings: a new process, as far as what it keeps is concerned.
        project.setenv(LOG_LEVEL=level)
        assert _fetch(call) == 200

    sequences = [tick.sequence for tick in announced.events()]
    assert len(sequences) >= 6
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_second_copy_waits_for_the_lease_and_no_sequence_is_published_twice(
    market: Market, project: Project, tap: Callable[[str], Tap]
) -> None:
    """Two processes are started for the same minute; one is killed while it ticks."""
    announced = tap(topics.MARKET_PRICES)
    project.setenv(WINDOW_S="50", PRICE_INTERVAL_S="0.05")
    seen: list[int] = []

    def pull() -> int:
        seen.extend(tick.sequence for tick in announced.events())
        return len(seen)

    with Instances(project, FUNCTION) as instances:
        urls = [instances.start(), instances.start()]
        instances.post(urls[0])
        eventually(lambda: pull() >= 3, within_s=20)
        instances.post(urls[1])
        eventually(lambda: pull() >= 20, within_s=20)
        instances.kill(urls[0])
        known = pull()
        eventually(lambda: pull() >= known + 5, within_s=20)
    pull()

    assert len(set(seen)) == len(seen)
    # What the killed one committed and did not publish is in the outbox; the sweep publishes it.
    missing = set(range(1, max(seen) + 1)) - set(seen)
    assert len(missing) <= 1


def _zero(market: Market) -> None:
    market.chain.set_round(market.deployment, "ETH", 0, int(time.time()))


def _negative(market: Market) -> None:
    market.chain.set_round(market.deployment, "ETH", -(10**8), int(time.time()))


def _stale(market: Market) -> None:
    market.chain.set_round(market.deployment, "ETH", 3_000 * 10**8, int(time.time()) - 3_901)


def _future(market: Market) -> None:
    market.chain.set_round(market.deployment, "ETH", 3_000 * 10**8, int(time.time()) + 600)


def _never_updated(market: Market) -> None:
    market.chain.set_round(market.deployment, "ETH", 3_000 * 10**8, 0)


def _end_of_time(market: Market) -> None:
    market.chain.set_round(market.deployment, "ETH", 3_000 * 10**8, 2**64 - 1)


@pytest.mark.parametrize(
    ("spoil", "status", "reason"),
    [
        (_zero, "halted", "the answer is 0, not above zero"),
        (_negative, "halted", "the answer is -100000000, not above zero"),
        (_stale, "stale", "s old, the limit is 3900 s"),
        (_future, "halted", "in the future"),
        (_never_updated, "halted", "updated at second 0"),
        (_end_of_time, "halted", "in the future"),
    ],
)
def test_an_answer_that_cannot_be_believed_is_no_price_and_operators_are_told_once(
    call: Caller,
    market: Market,
    tap: Callable[[str], Tap],
    spoil: Callable[[Market], None],
    status: str,
    reason: str,
) -> None:
    announced, operations = tap(topics.MARKET_PRICES), tap(topics.OPERATIONS_ALERTS)
    assert _fetch(call) == 200
    spoil(market)
    for _ in range(3):
        assert _fetch(call) == 200

    for tick in announced.events()[1:]:
        mark = _marks(tick)["ETH"]
        assert (mark.status, mark.price) == (status, None)
        assert mark.reason is not None
        assert reason in mark.reason
        assert _marks(tick)["USDC"].price == 1
    (alert,) = operations.events()
    assert (alert.kind, alert.subject, alert.severity) == ("mark_unusable", "ETH", "critical")
    assert reason in alert.message

    market.chain.set_prices(market.deployment, {"ETH": Decimal(2500)})
    for _ in range(2):
        assert _fetch(call) == 200
    assert _marks(announced.events()[-1])["ETH"].price == 2500
    assert [(alert.kind, alert.subject) for alert in operations.events()] == [("mark_recovered", "ETH")]


def test_a_feed_without_code_has_no_mark_and_is_named(
    call: Caller, market: Market, project: Project, store: firestore.Client
) -> None:
    network = market.deployment.network(start_block=market.start_block)
    network["assets"]["ETH"]["prices"]["quotes"]["chainlink"]["feed"] = NO_CODE
    project.write_network(network)

    assert _fetch(call) == 200

    mark = _marks(_latest(store))["ETH"]
    assert (mark.status, mark.price) == ("stale", None)
    assert mark.reason == f"chainlink: feed {NO_CODE} did not answer with a round"


def test_it_is_called_again_while_no_node_answers(
    call: Caller, market: Market, store: firestore.Client, without: Outage
) -> None:
    with without("chain"):
        outcome = call.request(FUNCTION)
    assert outcome.status == 503
    assert "no price source answered: node 0: " in outcome.body["error"]
    assert ticks.find_latest(store) is None

    assert _fetch(call) == 200
    assert _latest(store).sequence == 1


def test_the_clock_of_a_tick_never_goes_back(call: Caller, market: Market, store: firestore.Client) -> None:
    assert _fetch(call) == 200
    first = _latest(store)
    ahead = first.model_copy(
        update={"event_id": "tick:000000000002", "sequence": 2, "as_of": first.as_of.replace(year=2100)}
    )
    store.document(f"price_ticks/{ahead.event_id}").set({"sequence": 2, "tick": ahead.encode()})

    assert _fetch(call) == 200

    assert (_latest(store).sequence, _latest(store).as_of) == (3, ahead.as_of)


def test_a_crash_between_commit_and_publish_is_made_good_by_the_sweep(
    call: Caller,
    market: Market,
    store: firestore.Client,
    without: Outage,
    tap: Callable[[str], Tap],
    outbox_left: Outbox,
) -> None:
    announced = tap(topics.MARKET_PRICES)
    with without("pubsub"):
        _fetch(call)
    assert _latest(store).sequence == 1
    assert outbox_left.ids() == ["market.prices.v1~tick:000000000001"]
    assert _fetch(call) == 200
    assert [tick.sequence for tick in announced.events()] == [2]

    outbox_left.age()
    assert call.request("relay_outbox").status == 200

    assert [tick.sequence for tick in announced.events()] == [1]
    assert outbox_left.ids() == []
