"""apply_settlement_event: contract events become accounts and escrows, whatever order they come in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.cloud import firestore

from shared.domain.dvp import DvpRole
from shared.domain.escrows import EscrowRole
from shared.domain.positions import Account, PositionAction
from shared.events import topics
from shared.events.settlement import EventRetracted, PositionChanged
from shared.stores import accounts, database, dvp_escrows, escrows, markets, supplies
from shared.stores.escrow_collection import escrow_id
from tests.contract_messages import (
    dvp_created,
    dvp_deposited,
    dvp_settled,
    escrow_approved,
    escrow_created,
    escrow_disputed,
    escrow_refunded,
    escrow_released,
    escrow_resolved,
    escrow_withdrawn,
    market_changed,
    position_changed,
    retraction,
)
from tests.functions.conftest import Caller, Outage, Outbox, Tap
from tests.messages import new_address

FUNCTION = "apply_settlement_event"


def _account(store: firestore.Client, account_id: str) -> Account:
    return accounts.find_many(store, [account_id])[account_id]


def _escrow(store: firestore.Client, address: str) -> escrows.StoredEscrow:
    identifier = escrow_id(31337, address)
    return escrows.find_many(store, [identifier])[identifier]


def test_a_position_is_recorded_and_announced(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], outbox_left: Outbox
) -> None:
    account_id = new_address()
    announced = tap(topics.POSITIONS_CHANGED)
    exact = 2**255 + 1

    assert call.push(
        FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1, collateral_base=exact)
    ).acknowledged
    assert call.push(
        FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 2, asset="USDC", debt_base=5)
    ).acknowledged

    account = _account(store, account_id)
    assert account.version == 2
    assert account.positions["31337:ETH"].collateral_base == exact
    assert account.positions["31337:USDC"].debt_shares == 5
    first, second = announced.events()
    assert [first.version, second.version] == [1, 2]
    assert [(p.asset, p.collateral_base, p.debt_shares) for p in second.positions] == [
        ("ETH", exact, 0),
        ("USDC", 10**18, 5),
    ]
    assert outbox_left.ids() == []


@pytest.mark.parametrize("action", [PositionAction.SUPPLY, PositionAction.REDEEM])
def test_what_lenders_and_markets_do_changes_no_account(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap], action: PositionAction
) -> None:
    account_id = new_address()
    announced = tap(topics.POSITIONS_CHANGED)
    lent = position_changed(account_id, 1, collateral_base=0, action=action)
    for event in (lent, market_changed(2), retraction(lent, 1), retraction(market_changed(2), 1)):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event).acknowledged

    assert accounts.find_many(store, [account_id]) == {}
    assert announced.pull() == []


def test_a_market_is_its_latest_report_that_stands_in_whatever_order_they_come(
    call: Caller, store: firestore.Client, outbox_left: Outbox
) -> None:
    reports = [market_changed(number, cash_base=number) for number in (1, 2, 3)]
    again = market_changed(3, cash_base=33).model_copy(update={"revision": 1})
    messages = [*reports, retraction(reports[2], 1), again, retraction(again, 2), retraction(reports[1], 2)]
    documents = []
    for chain_id, order in enumerate(
        ([0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [4, 3, 6, 0, 5, 2, 1]), 1
    ):
        for _ in range(2):
            for index in order:
                message = messages[index]
                of_chain = {"chain_id": chain_id}
                moved = (
                    message.model_copy(update=of_chain)
                    if not isinstance(message, EventRetracted)
                    else message.model_copy(
                        update={"retracted": message.retracted.model_copy(update=of_chain)}
                    )
                )
                assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, moved).acknowledged
        (market,) = [each for each in markets.list_all(store) if each.chain_id == chain_id]
        assert (market.books.sequence, market.books.cash_base) == (1, 1), order
        assert market.books.accrued_at == int(reports[0].block_time.timestamp())
        changes = [
            database.find(store, markets.change_path(chain_id, "USDC", number)) for number in (1, 2, 3)
        ]
        documents.append([{**each.fields, "updated_at": None} for each in changes if each])
    assert documents == [documents[0]] * 3
    assert outbox_left.ids() == []


def test_a_market_whose_every_report_was_taken_back_has_no_books(
    call: Caller, store: firestore.Client
) -> None:
    report = market_changed(1)
    for message in (report, retraction(report, 1)):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, message).acknowledged
    assert markets.list_all(store) == []


def test_a_lenders_shares_follow_supply_redemption_and_retraction_in_any_order(
    call: Caller, store: firestore.Client
) -> None:
    for order in itertools.permutations(range(4)):
        account_id = new_address()

        def lent(
            sequence: int, shares: int, action: PositionAction, account_id: str = account_id
        ) -> PositionChanged:
            return position_changed(account_id, sequence, collateral_base=0, action=action).model_copy(
                update={"supply_shares": shares}
            )

        redeemed = lent(5, 3, PositionAction.REDEEM)
        messages = (
            lent(2, 10, PositionAction.SUPPLY),
            redeemed,
            retraction(redeemed, 1),
            lent(4, 2**127, PositionAction.SUPPLY),
        )
        for index in order:
            assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, messages[index]).acknowledged
        (supply,) = supplies.find_many(store, [account_id])[account_id].values()
        assert supply.shares == 2**127, order


def test_a_liquidation_and_its_retraction_are_followed(call: Caller, store: firestore.Client) -> None:
    account_id = new_address()
    seized = position_changed(
        account_id, 4, collateral_base=3, amount_base=7, action=PositionAction.LIQUIDATE_COLLATERAL
    )
    paid = position_changed(
        account_id,
        3,
        asset="USDC",
        collateral_base=0,
        debt_base=20,
        amount_base=5,
        action=PositionAction.LIQUIDATE_DEBT,
    )
    for event in (paid, seized):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event).acknowledged
    positions = _account(store, account_id).positions
    assert (positions["31337:ETH"].collateral_base, positions["31337:USDC"].debt_shares) == (3, 20)

    for event in (seized, paid):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, retraction(event, 1)).acknowledged
    positions = _account(store, account_id).positions
    assert (positions["31337:ETH"].collateral_base, positions["31337:USDC"].debt_shares) == (10, 25)


def test_a_duplicate_changes_and_announces_nothing(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    account_id = new_address()
    announced = tap(topics.POSITIONS_CHANGED)
    for _ in range(3):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1)).acknowledged

    assert _account(store, account_id).version == 1
    assert len(announced.pull()) == 1


def test_every_order_of_arrival_ends_in_the_same_positions(call: Caller, store: firestore.Client) -> None:
    def story(account_id: str) -> list[object]:
        return [
            position_changed(account_id, 1, collateral_base=10),
            position_changed(account_id, 2, asset="USDC", collateral_base=0, debt_base=5),
            position_changed(account_id, 3, collateral_base=7),
        ]

    for order in itertools.permutations(range(3)):
        account_id = new_address()
        events = story(account_id)
        for index in order:
            assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, events[index]).acknowledged  # type: ignore[arg-type]
        positions = _account(store, account_id).positions
        assert {key: (p.collateral_base, p.debt_shares) for key, p in positions.items()} == {
            "31337:ETH": (7, 0),
            "31337:USDC": (0, 5),
        }, order


def test_every_order_of_an_escrows_steps_ends_in_the_same_escrow(
    call: Caller, store: firestore.Client
) -> None:
    for order in itertools.permutations(range(4)):
        address = new_address()
        steps = (
            escrow_created(address),
            escrow_approved(address),
            escrow_released(address),
            escrow_withdrawn(address),
        )
        for index in order:
            assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, steps[index]).acknowledged
            assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, steps[index]).acknowledged
        escrow = _escrow(store, address).escrow
        assert (escrow.status, escrow.withdrawn, escrow.step) == ("released", True, 4), order


def test_what_a_reorganisation_took_back_is_undone_whenever_one_hears_of_it(
    call: Caller, store: firestore.Client, tap: Callable[[str], Tap]
) -> None:
    for order in itertools.permutations(range(3)):
        account_id, address = new_address(), new_address()
        events = (
            position_changed(account_id, 1, collateral_base=10, amount_base=10),
            position_changed(account_id, 2, collateral_base=17, amount_base=7),
            retraction(position_changed(account_id, 2, collateral_base=17, amount_base=7), 1),
        )
        steps = (escrow_created(address), escrow_approved(address), retraction(escrow_approved(address), 1))
        for index in order:
            for event in (events[index], steps[index]):
                assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event).acknowledged
                assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event).acknowledged
        assert _account(store, account_id).positions["31337:ETH"].collateral_base == 10, order
        escrow = _escrow(store, address).escrow
        assert (escrow.step, escrow.approvals) == (1, frozenset()), order
        refunded = escrow_refunded(address, step=2).model_copy(update={"revision": 1})
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, refunded).acknowledged
        assert _escrow(store, address).escrow.status == "refunded", order


def test_races_for_one_account_lose_nothing(call: Caller, store: firestore.Client) -> None:
    account_id = new_address()
    events = [
        position_changed(account_id, number, asset=asset)
        for number, asset in enumerate(("ETH", "USDC", "WBTC", "LINK"), 1)
    ]
    call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(new_address(), 1))
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda event: call.push(FUNCTION, topics.SETTLEMENT_EVENTS, event), events))

    assert all(outcome.acknowledged for outcome in outcomes)
    account = _account(store, account_id)
    assert account.version == 4
    assert sorted(position.asset for position in account.positions.values()) == [
        "ETH",
        "LINK",
        "USDC",
        "WBTC",
    ]


def test_it_is_delivered_again_while_firestore_fails(
    call: Caller, store: firestore.Client, without: Outage
) -> None:
    account_id = new_address()
    with without("firestore"):
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1)).status == 500
    assert accounts.find_many(store, [account_id]) == {}

    assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1)).acknowledged
    assert _account(store, account_id).version == 1


def test_a_dispute_is_split_and_a_trade_is_settled_in_any_order(
    call: Caller, store: firestore.Client
) -> None:
    largest = 2**256 - 1
    for order in itertools.permutations(range(3)):
        address, trade = new_address(), new_address()
        steps = (
            escrow_created(address, amount_base=largest),
            escrow_disputed(address),
            escrow_resolved(address, amount_base=largest),
        )
        legs = (
            dvp_created(trade),
            dvp_deposited(trade, 2, DvpRole.SELLER),
            dvp_deposited(trade, 3, DvpRole.BUYER),
        )
        assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, dvp_settled(trade)).acknowledged
        for index in order:
            assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, steps[index]).acknowledged
            assert call.push(FUNCTION, topics.SETTLEMENT_EVENTS, legs[index]).acknowledged
        escrow = _escrow(store, address).escrow
        assert escrow.status == "resolved", order
        assert escrow.owed_base(EscrowRole.PAYEE) == largest * 2_500 // 10_000
        assert escrow.owed_base(EscrowRole.PAYER) + escrow.owed_base(EscrowRole.PAYEE) == largest
        identifier = escrow_id(31337, trade)
        assert dvp_escrows.find_many(store, [identifier])[identifier].escrow.status == "settled", order


def test_a_crash_between_commit_and_publish_is_made_good_by_the_sweep(
    call: Caller,
    store: firestore.Client,
    without: Outage,
    tap: Callable[[str], Tap],
    outbox_left: Outbox,
) -> None:
    account_id = new_address()
    announced = tap(topics.POSITIONS_CHANGED)
    with without("pubsub"):
        call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1))
        # Pub/Sub delivers again what the crashed process did not acknowledge.
        call.push(FUNCTION, topics.SETTLEMENT_EVENTS, position_changed(account_id, 1))
    assert _account(store, account_id).version == 1
    assert announced.pull() == []
    assert outbox_left.ids() == [f"positions.changed.v1~positions:{account_id}:1"]

    outbox_left.age()
    assert call.request("relay_outbox").status == 200

    (event,) = announced.events()
    assert (event.account_id, event.version) == (account_id, 1)
    assert outbox_left.ids() == []
