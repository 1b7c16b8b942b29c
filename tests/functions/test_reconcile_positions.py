"""reconcile_positions: what differs from the vault is said once, what is on its way is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud import firestore

from local.chain import borrow, calldata, deposit
from shared.chain import abi
from shared.domain.positions import Account
from shared.domain.reconciliation import BETWEEN_PASSES, PATIENCE, PositionDifference, Reconciliation
from shared.events import topics
from shared.events.operations import OperationsAlert
from shared.stores import accounts, database, position_differences, reconciliations
from tests.conftest import Project
from tests.functions.conftest import Caller, Market, Outage, Outbox, Outcome, Tap
from tests.functions.lending import charge_interest, pass_time
from tests.functions.relaying import cursor_of, describe_chain, make_deposits, relay, reorganise
from tests.messages import CHAIN_ID, new_address

FUNCTION = "reconcile_positions"
START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + PATIENCE


class World:
    """A vault whose blocks are all final, and a projection that gets the events that it is given."""

    def __init__(
        self, call: Caller, market: Market, store: firestore.Client, tap: Callable[[str], Tap]
    ) -> None:
        self.market = market
        self.store = store
        self._call = call
        self._announced = tap(topics.SETTLEMENT_EVENTS)
        self._alerts = tap(topics.OPERATIONS_ALERTS)

    def relayed(self) -> list[Any]:
        """The events of accounts that were announced since, nothing of them applied."""
        assert relay(self._call) == 200
        return [event for event in self._announced.events() if event.kind != "market_changed"]

    def apply(self, events: Sequence[Any]) -> None:
        """Project these events."""
        for event in events:
            assert self._call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, event).acknowledged

    def reconcile(self, as_of: datetime = START) -> Outcome:
        """Call the function as Cloud Scheduler does."""
        return self._call.request(FUNCTION, schedule_time=as_of)

    def said(self, as_of: datetime = START) -> list[OperationsAlert]:
        """What operators are told at a look that succeeds."""
        assert self.reconcile(as_of).status == 200
        return self._alerts.events()

    def open_now(self) -> list[PositionDifference]:
        """What differs."""
        return [each for each, _ in position_differences.list_of_chain(self.store, CHAIN_ID, limit=500)]

    def state(self) -> Reconciliation:
        """How far the pass is."""
        known = reconciliations.find(self.store, CHAIN_ID)
        assert known is not None
        return known[0]

    def put_accounts(self, *stored: Account) -> None:
        """Write accounts as they are."""
        for start in range(0, len(stored), 400):
            commit = database.Commit(self.store)
            for account in stored[start : start + 400]:
                commit.put(accounts.path(account.account_id), accounts.encode(account))
            commit.apply()


@pytest.fixture
def world(
    call: Caller, market: Market, project: Project, store: firestore.Client, tap: Callable[[str], Tap]
) -> World:
    """Nothing has happened yet; every block is final at once."""
    describe_chain(market, project, 2_000, finality=0)
    return World(call, market, store, tap)


def test_positions_that_are_the_vaults_are_not_mentioned(world: World) -> None:
    chain, deployment, account = world.market.chain, world.market.deployment, world.market.account()
    chain.mine(deposit(deployment, account, "ETH", 10**18))
    chain.mine(borrow(deployment, account, "USDC", 10**6))
    make_deposits(world.market, 2)
    world.apply(world.relayed())

    for moment in (START, START, LATER):
        assert world.said(moment) == []
    state = world.state()
    assert (state.completed_block, state.completed_at) == (world.market.head(), START)
    assert (state.accounts, state.ahead, state.is_complete) == (2, 0, True)
    assert world.open_now() == []


def test_interest_that_accrues_is_no_difference(world: World) -> None:
    market, account = world.market, world.market.account()
    charge_interest(market)
    market.chain.mine(deposit(market.deployment, account, "ETH", 10**20))
    market.chain.mine(borrow(market.deployment, account, "USDC", 10**9))
    world.apply(world.relayed())
    pass_time(market, 30 * 86_400)
    market.chain.mine(borrow(market.deployment, account, "USDC", 10**6))
    pass_time(market, 30 * 86_400)
    world.apply(world.relayed())
    data = calldata("position(address,address)", account, market.deployment.tokens["USDC"])
    call = {"to": market.deployment.vault, "data": data}
    _, owed, _ = (abi.unsigned(word) for word in abi.words(market.chain.client.call("eth_call", call), 3))
    assert owed > 10**9 + 10**6 + 10**6

    assert world.said() == world.said(LATER) == []
    assert world.open_now() == []
    state = world.state()
    assert (state.completed_block, state.ahead) == (market.head(), 0)
    # In shares, of which a loan made later has fewer.
    assert 10**9 < state.totals["USDC"].debt_shares < 10**9 + 10**6


def test_an_hour_later_the_next_pass_begins(world: World) -> None:
    account = make_deposits(world.market, 1)
    world.apply(world.relayed())
    assert world.reconcile().status == 200
    world.market.chain.mine(deposit(world.market.deployment, account, "ETH", 5))
    world.apply(world.relayed())
    assert world.reconcile(START + BETWEEN_PASSES - timedelta(seconds=1)).status == 200
    assert world.state().completed_at == START
    assert world.reconcile(START + BETWEEN_PASSES).status == 200
    state = world.state()
    assert (state.completed_at, state.completed_block) == (START + BETWEEN_PASSES, world.market.head())


def test_an_event_that_was_lost_is_announced_once_with_both_numbers_and_so_is_its_return(
    world: World,
) -> None:
    account = make_deposits(world.market, 2)
    first, lost = world.relayed()
    world.apply([first])

    assert world.said() == []
    (alert,) = world.said(LATER)
    assert (alert.kind, alert.severity, alert.subject) == (
        "position_differs",
        "critical",
        f"{CHAIN_ID}:{account}:ETH",
    )
    head = world.market.head()
    assert alert.details == {
        "chain_id": str(CHAIN_ID),
        "account_id": account,
        "asset": "ETH",
        "block": str(head),
        "vault_sequence": "2",
        "vault_collateral_base": "3",
        "vault_debt_shares": "0",
        "stored_sequence": "1",
        "stored_collateral_base": "1",
        "stored_debt_shares": "0",
    }
    assert alert.message == (
        f"ETH of {account} on anvil differs at block {head}: the vault has collateral of 3 and 0 shares of "
        "debt, what we keep as of the account's event 1 is 1 and 0."
    )
    # Said again by nobody: not at the next look, not by the next pass, not at another block.
    assert world.said(LATER) == []
    world.market.mine_empty()
    assert world.relayed() == []
    assert world.said(LATER + BETWEEN_PASSES) == []

    world.apply([lost])
    (over,) = world.said(LATER)
    assert (over.kind, over.subject) == ("position_agrees", alert.subject)
    assert world.said(LATER) == []
    assert world.open_now() == []


def test_an_event_that_is_on_its_way_is_not_announced(world: World) -> None:
    make_deposits(world.market, 3)
    first, second, third = world.relayed()
    world.apply([first])
    assert world.said() == []
    assert len(world.open_now()) == 1
    # Our side moves, so it is not lost; the moment counts from the move.
    world.apply([second])
    assert world.said(LATER) == []
    assert [each.found_at for each in world.open_now()] == [LATER]
    world.apply([third])
    assert world.said(LATER + PATIENCE) == []
    assert world.open_now() == []


def test_a_look_with_an_earlier_schedule_time_announces_nothing(world: World) -> None:
    make_deposits(world.market, 1)
    (lost,) = world.relayed()
    world.put_accounts(Account(lost.account_id, 1, START, {}))
    assert world.said(LATER) == []
    assert world.said(START) == []
    assert len(world.said(LATER + PATIENCE)) == 1


def test_a_projection_that_is_ahead_of_the_final_block_is_no_difference(
    world: World, project: Project
) -> None:
    describe_chain(world.market, project, 2_000, finality=2)
    account = make_deposits(world.market, 4)
    world.apply(world.relayed())
    assert cursor_of(world.store).final_number == world.market.head() - 2
    assert world.said() == []
    state = world.state()
    assert (state.ahead, state.completed_block) == (1, world.market.head() - 2)
    assert state.totals["ETH"].collateral_base == 1 + 2
    assert accounts.find_many(world.store, [account])[account].positions[f"{CHAIN_ID}:ETH"].sequence == 4
    assert world.open_now() == []


def test_a_balance_that_is_wrong_although_every_event_was_applied_is_announced(world: World) -> None:
    account = make_deposits(world.market, 2)
    world.apply(world.relayed())
    path = accounts.path(account)
    world.store.document(path).update({f"positions.`{CHAIN_ID}:ETH`.collateral_base": str(2**200)})
    assert world.said() == []
    (alert,) = world.said(LATER)
    assert alert.details["stored_collateral_base"] == str(2**200)
    assert (alert.details["stored_sequence"], alert.details["vault_sequence"]) == ("2", "2")


def test_what_accounts_hold_that_we_never_heard_of_is_announced_at_the_second_pass(world: World) -> None:
    known = make_deposits(world.market, 1)
    events = world.relayed()
    make_deposits(world.market, 2)
    lost = world.relayed()
    world.apply(events)

    assert world.said() == []
    assert world.said(LATER) == []
    (alert,) = world.said(START + BETWEEN_PASSES)
    assert (alert.kind, alert.subject) == ("position_differs", f"{CHAIN_ID}:unknown:ETH")
    assert (alert.details["vault_collateral_base"], alert.details["stored_collateral_base"]) == ("4", "1")
    assert "ETH of all accounts on anvil differs" in alert.message
    assert lost[0].account_id != known

    world.apply(lost)
    assert world.said(START + 2 * BETWEEN_PASSES)[0].kind == "position_agrees"
    assert world.open_now() == []


def test_a_pass_goes_on_where_the_window_ended(world: World, project: Project) -> None:
    make_deposits(world.market, 1)
    world.apply(world.relayed())
    world.put_accounts(*(Account(new_address(), 1, START, {}) for _ in range(201)))
    project.setenv(WINDOW_S="0.001")
    begun_at = world.market.head()

    (first,) = world.reconcile().body["chains"].values()
    assert (first["accounts"], first["is_complete"]) == (200, False)
    world.market.mine_empty()
    assert world.relayed() == []
    (second,) = world.reconcile(LATER).body["chains"].values()
    assert second == {"block": begun_at, "accounts": 202, "ahead": 0, "is_complete": True}
    assert world.open_now() == []


def test_a_pass_whose_block_no_node_has_begins_again_at_the_final_one(world: World) -> None:
    make_deposits(world.market, 1)
    world.apply(world.relayed())
    gone = Reconciliation(CHAIN_ID, world.market.head() - 1, "0x" + "de" * 32, START, after="0x9", accounts=7)
    commit = database.Commit(world.store)
    commit.put(reconciliations.path(CHAIN_ID), reconciliations.encode(gone))
    commit.apply()
    (done,) = world.reconcile().body["chains"].values()
    assert done == {"block": world.market.head(), "accounts": 1, "ahead": 0, "is_complete": True}


def test_a_node_that_does_not_answer_is_asked_again(world: World, without: Outage) -> None:
    make_deposits(world.market, 1)
    world.apply(world.relayed())
    with without("chain"):
        outcome = world.reconcile()
    assert outcome.status == 503
    assert outcome.body["error"].startswith("anvil: vault of chain 31337 at block 0x")
    assert reconciliations.find(world.store, CHAIN_ID) is None
    assert world.reconcile().status == 200
    assert world.state().is_complete


def test_an_address_that_is_not_our_vault_compares_nothing(world: World, project: Project) -> None:
    make_deposits(world.market, 1)
    world.apply(world.relayed())
    for field in ("vault", "multicall"):
        describe_chain(world.market, project, 2_000, finality=0, **{field: new_address()})
        assert world.reconcile().status == 503
    assert reconciliations.find(world.store, CHAIN_ID) is None


def test_a_malformed_schedule_time_is_refused(call: Caller, world: World) -> None:
    assert world.market.head() > 0
    outcome = call.request(FUNCTION, headers={"X-CloudScheduler-ScheduleTime": "noon"})
    assert (outcome.status, outcome.body["field"]) == (400, "X-CloudScheduler-ScheduleTime")


def test_what_a_crash_left_between_commit_and_publish_is_swept_and_said_once(
    call: Caller, world: World, without: Outage, outbox_left: Outbox
) -> None:
    make_deposits(world.market, 2)
    world.apply(world.relayed()[:1])
    assert world.said() == []
    with without("pubsub"):
        assert world.reconcile(LATER).status == 200
    assert len(outbox_left.ids()) == 1
    outbox_left.age()
    assert call.request("relay_outbox").status == 200
    assert [alert.kind for alert in world.said(LATER)] == ["position_differs"]
    assert outbox_left.ids() == []


def test_a_halted_chain_is_left_alone(call: Caller, world: World) -> None:
    make_deposits(world.market, 3)
    world.apply(world.relayed())
    reorganise(world.market, 2)
    assert relay(call) == 200
    assert cursor_of(world.store).halted is not None
    assert world.reconcile().body == {"chains": {"anvil": {"block": None}}}
    assert reconciliations.find(world.store, CHAIN_ID) is None


def test_before_anything_is_final_nothing_is_compared(world: World, project: Project) -> None:
    assert world.reconcile().body == {"chains": {"anvil": {"block": None}}}
    describe_chain(world.market, project, 2_000, finality=64)
    make_deposits(world.market, 1)
    world.relayed()
    assert world.reconcile().body == {"chains": {"anvil": {"block": None}}}


def test_where_everything_differs_the_number_that_is_announced_is_bounded(world: World) -> None:
    wrong = make_deposits(world.market, 1)
    (event,) = world.relayed()
    world.apply([event])
    stored = accounts.find_many(world.store, [wrong])[wrong].positions
    # All of a first page, and more of a second: balances that the vault does not have, as of no event.
    positions = {key: _as_of_no_event(position) for key, position in stored.items()}
    world.put_accounts(*(Account(new_address(), 1, START, positions) for _ in range(210)))
    for _ in range(2):
        assert world.said() == []
    assert len(world.open_now()) == 200
    assert world.reconcile(START).body["chains"]["anvil"] == {"block": None, "differences": 200}
    assert len(world.said(LATER)) == 200
    assert world.said(LATER) == []


def _as_of_no_event(position: Any) -> Any:
    return type(position)(
        chain_id=position.chain_id,
        asset=position.asset,
        decimals=position.decimals,
        collateral_base=7,
        debt_shares=0,
        sequence=0,
    )
