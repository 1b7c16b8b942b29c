"""What queries answer, and how many reads they cost."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.domain.margin import State
from shared.warehouse import client as warehouse
from tests.eventually import eventually
from tests.gateway.conftest import Server, running
from tests.gateway.escrow_records import put_dvp, put_escrow
from tests.gateway.world import World, address

MARGIN = """
query($id: ID!) { account(id: $id) { id version
  positions { chainId asset decimals collateralBase debtBase collateral debt }
  margin { accountId state unvaluedAssets valuedState collateralUsd debtUsd healthPct tickSequence
           positionVersion transitions } } }
"""
PAGE = """
query($first: Int, $after: String, $state: MarginState) {
  accounts(first: $first, after: $after, state: $state) {
    edges { cursor node { id margin { state } alerts(first: 2) { edges { node { id } } }
                          escrows(first: 2) { edges { node { id } } } } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }
"""


def margin_at(server: Server, key: str, sequence: int | None, number: int = 1) -> dict[str, Any]:
    """The account, once the gateway knows the tick."""

    def ask() -> dict[str, Any] | None:
        account = server.query(MARGIN, {"id": address(number)}, key=key)["account"]
        return account if account["margin"]["tickSequence"] == sequence else None

    found: dict[str, Any] = eventually(ask)
    return found


def test_account_is_valued_at_the_latest_tick(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    world.put_record(1, State.HEALTHY, transitions=3)
    world.announce_tick(world.tick(5, eth="1400"))
    account = margin_at(server, world.key(), 5)
    assert account["positions"] == [
        {
            "chainId": 31337,
            "asset": "ETH",
            "decimals": 18,
            "collateralBase": "10000000000000000000",
            "debtBase": "0",
            "collateral": "10.000000000000000000",
            "debt": "0.000000000000000000",
        },
        {
            "chainId": 31337,
            "asset": "USDC",
            "decimals": 6,
            "collateralBase": "0",
            "debtBase": "10000000000",
            "collateral": "0.000000",
            "debt": "10000.000000",
        },
    ]
    assert account["margin"] == {
        "accountId": address(1),
        "state": "WARNING",
        "unvaluedAssets": [],
        "valuedState": "WARNING",
        "collateralUsd": "14000.000000",
        "debtUsd": "10000.000000",
        "healthPct": 40.0,
        "tickSequence": 5,
        "positionVersion": 1,
        "transitions": 3,
    }


@pytest.mark.parametrize(("recorded", "state"), [(State.WARNING, "WARNING"), (State.HEALTHY, "HEALTHY")])
def test_hysteresis_starts_from_the_recorded_state(
    server: Server, world: World, recorded: State, state: str
) -> None:
    world.put_accounts(world.account(1))
    world.put_record(1, recorded)
    world.announce_tick(world.tick(1, eth="1510"))
    assert margin_at(server, world.key(), 1)["margin"]["state"] == state


def test_account_without_debt_has_no_health(server: Server, world: World) -> None:
    world.put_accounts(world.account(1, usdc_debt="0"))
    world.announce_tick(world.tick(1))
    margin = margin_at(server, world.key(), 1)["margin"]
    assert (margin["state"], margin["healthPct"], margin["debtUsd"]) == ("NO_DEBT", None, "0.000000")


def test_missing_mark_makes_the_account_unvalued(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    world.put_record(1, State.WARNING)
    world.announce_tick(world.tick(1, eth=None))
    margin = margin_at(server, world.key(), 1)["margin"]
    assert margin["state"] == "UNVALUED"
    assert margin["unvaluedAssets"] == ["ETH"]
    assert margin["valuedState"] == "WARNING"
    assert (margin["collateralUsd"], margin["debtUsd"], margin["healthPct"]) == (None, None, None)


def test_old_observation_and_unlisted_asset_make_the_account_unvalued(server: Server, world: World) -> None:
    world.put_accounts(world.account(1), world.account(2, extra_asset="DOGE"))
    old = datetime.now(UTC) - timedelta(seconds=61)
    world.announce_tick(world.tick(1, max_age_s=60, observed_at=old))
    assert margin_at(server, world.key(), 1)["margin"]["unvaluedAssets"] == ["ETH", "USDC"]
    world.announce_tick(world.tick(2))
    assert margin_at(server, world.key(), 2)["margin"]["state"] == "HEALTHY"
    margin = margin_at(server, world.key(), 2, number=2)["margin"]
    assert (margin["state"], margin["unvaluedAssets"]) == ("UNVALUED", ["DOGE"])


def test_a_tick_that_was_announced_before_the_start_is_known(world: World) -> None:
    world.put_accounts(world.account(1))
    world.put_tick(world.tick(3))
    with running() as server:
        margin = server.query(MARGIN, {"id": address(1)}, key=world.key())["account"]["margin"]
    assert (margin["tickSequence"], margin["state"]) == (3, "HEALTHY")


def test_unknown_account_is_null_and_a_malformed_id_names_its_argument(server: Server, world: World) -> None:
    key = world.key()
    assert server.query(MARGIN, {"id": address(9)}, key=key) == {"account": None}
    (error,) = server.post(MARGIN, {"id": "0x12"}, key=key).json()["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "id"}


def test_pages_cover_everything_once(server: Server, world: World) -> None:
    world.put_accounts(*(world.account(n) for n in range(1, 8)))
    for number in (2, 5, 6):
        world.put_record(number, State.WARNING)
    key = world.key()
    for state, expected in ((None, [1, 2, 3, 4, 5, 6, 7]), ("WARNING", [2, 5, 6])):
        seen: list[str] = []
        after: str | None = None
        while True:
            page = server.query(PAGE, {"first": 2, "after": after, "state": state}, key=key)["accounts"]
            seen += [edge["node"]["id"] for edge in page["edges"]]
            assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert seen == [address(number) for number in expected]


def test_reads_do_not_grow_with_the_page(server: Server, world: World) -> None:
    world.put_accounts(*(world.account(n) for n in range(1, 31)))
    for number in range(1, 31):
        world.put_alerts(world.transition(number, 1), world.transition(number, 2))
        put_escrow(world, 1000 + number, payer=number)
    key = world.key()
    server.query("{ marks { sequence } }", key=key)
    calls = []
    for first in (2, 30):
        server.reads.clear()
        page = server.query(PAGE, {"first": first}, key=key)["accounts"]
        assert len(page["edges"]) == first
        for edge in page["edges"]:
            account = edge["node"]
            assert [a["node"]["id"] for a in account["alerts"]["edges"]] == [
                f"{account['id']}:000002",
                f"{account['id']}:000001",
            ]
            assert len(account["escrows"]["edges"]) == 1
        calls.append(server.reads["calls"])
    # The page, the margin records, the alerts, the escrows; a second read of the key at most.
    assert calls[0] in (4, 5), calls
    assert calls[1] in (4, 5), calls


def test_alerts_of_an_account_page_backwards(server: Server, world: World) -> None:
    world.put_accounts(world.account(1))
    world.put_alerts(*(world.transition(1, n) for n in range(1, 6)))
    key = world.key()
    nested = 'query($after: String) { account(id: "%s") { alerts(first: 2, after: $after) { %s } } }'
    top = 'query($after: String) { alerts(first: 2, accountId: "%s", after: $after) { %s } }'
    fields = (
        "edges { node { sequence collateralUsd marks { asset price } } } pageInfo { hasNextPage endCursor }"
    )
    for query in (nested, top):
        seen: list[int] = []
        after: str | None = None
        while True:
            data = server.query(query % (address(1), fields), {"after": after}, key=key)
            page = data.get("alerts") or data["account"]["alerts"]
            seen += [edge["node"]["sequence"] for edge in page["edges"]]
            assert page["edges"][0]["node"]["collateralUsd"] == "14000.5"
            assert page["edges"][0]["node"]["marks"][0] == {"asset": "ETH", "price": "1400"}
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert seen == [5, 4, 3, 2, 1]


def test_escrows_by_party_and_status(server: Server, world: World) -> None:
    put_escrow(world, 11, payer=1)
    put_escrow(world, 12, payer=2, payee=1)
    put_escrow(world, 13, payer=2)
    query = """query($party: Address, $status: EscrowStatus) { escrows(party: $party, status: $status) {
      edges { node { address amount amountBase policy status } } } }"""
    key = world.key()

    def found(**variables: str) -> list[str]:
        edges = server.query(query, variables, key=key)["escrows"]["edges"]
        return [edge["node"]["address"] for edge in edges]

    assert found() == [address(11), address(12), address(13)]
    assert found(party=address(1)) == [address(11), address(12)]
    assert found(party=address(1), status="CREATED") == [address(11), address(12)]
    assert found(party=address(1), status="RELEASED") == []
    node = server.query(query, {"party": address(1)}, key=key)["escrows"]["edges"][0]["node"]
    assert node == {
        "address": address(11),
        "amount": "1.500000",
        "amountBase": "1500000",
        "policy": "TWO_OF_THREE",
        "status": "CREATED",
    }


def test_a_split_escrow_says_who_gets_what(server: Server, world: World) -> None:
    put_escrow(world, 21, payer=1, split=True)
    query = """query($address: Address!) { escrow(chainId: 31337, address: $address) {
      status approved withdrawn withdrawals arbiterProposals { role candidate } dispute { openedBy deadline }
      refundTime resolution { payeeShareBps payeeAmountBase payerAmountBase } } }"""
    node = server.query(query, {"address": address(21)}, key=world.key())["escrow"]
    assert node.pop("refundTime") == node["dispute"].pop("deadline"), "the dispute holds the refund back"
    assert node == {
        "status": "RESOLVED",
        "approved": False,
        "withdrawn": False,
        "withdrawals": [],
        "arbiterProposals": [{"role": "PAYER", "candidate": address(104)}],
        "dispute": {"openedBy": "PAYEE"},
        "resolution": {"payeeShareBps": 3333, "payeeAmountBase": "499950", "payerAmountBase": "1000050"},
    }


APPROVAL = """query($party: Address!, $deadline: DateTime!) { escrowApproval(chainId: 31337,
  address: "0x0000000000000000000000000000000000000016", party: $party, deadline: $deadline) {
    role transaction { chainId sender to data valueBase } typedData } }"""


def test_an_approval_is_prepared_for_the_partys_own_wallet(server: Server, world: World) -> None:
    put_escrow(world, 22, payer=1)
    variables = {"party": address(102), "deadline": "2100-01-01T00:00:00Z"}
    prepared = server.query(APPROVAL, variables, key=world.key())["escrowApproval"]
    typed_data = json.loads(prepared.pop("typedData"))
    assert prepared == {
        "role": "PAYEE",
        "transaction": {
            "chainId": 31337,
            "sender": address(102),
            "to": address(22),
            "data": "0x12424e3f",
            "valueBase": "0",
        },
    }
    assert typed_data["domain"]["verifyingContract"] == address(22)
    assert typed_data["message"] == {
        "role": 2,
        "payee": address(102),
        "asset": address(900),
        "amount": "1500000",
        "round": 0,
        "deadline": "4102444800",
    }


@pytest.mark.parametrize(
    ("party", "deadline", "argument"),
    [(55, "2100-01-01T00:00:00Z", "party"), (102, "2020-01-01T00:00:00Z", "deadline")],
)
def test_an_approval_that_cannot_be_is_refused(
    server: Server, world: World, party: int, deadline: str, argument: str
) -> None:
    put_escrow(world, 22, payer=1)
    variables = {"party": address(party), "deadline": deadline}
    (error,) = server.post(APPROVAL, variables, key=world.key()).json()["errors"]
    assert (error["extensions"]["code"], error["extensions"]["argument"]) == ("BAD_USER_INPUT", argument)


def test_deliveries_versus_payment_by_party_and_status(server: Server, world: World) -> None:
    put_dvp(world, 31, seller=1)
    put_dvp(world, 32, seller=2, buyer=1)
    put_dvp(world, 33, seller=2)
    query = """query($party: Address, $status: DvpStatus) { dvpEscrows(party: $party, status: $status) {
      edges { node { address
        delivery { asset amountBase deposited } payment { asset amount deposited } } } } }"""
    key = world.key()

    def found(**variables: str) -> list[dict[str, object]]:
        return [edge["node"] for edge in server.query(query, variables, key=key)["dvpEscrows"]["edges"]]

    assert [node["address"] for node in found()] == [address(31), address(32), address(33)]
    assert [node["address"] for node in found(party=address(1))] == [address(31), address(32)]
    assert [node["address"] for node in found(party=address(1), status="OPEN")] == [address(31), address(32)]
    assert found(party=address(1), status="SETTLED") == []
    assert found()[0] == {
        "address": address(31),
        "delivery": {"asset": "ETH", "amountBase": str(2**256 - 1), "deposited": True},
        "payment": {"asset": None, "amount": None, "deposited": False},
    }


def test_deliveries(server: Server, world: World) -> None:
    for number in (1, 2):
        world.put_delivery(number)
    query = """query($recipientId: String, $alertId: ID) { deliveries(recipientId: $recipientId,
      alertId: $alertId) { edges { node { id channel status recipientId } } } }"""

    def found(key: str, **variables: str) -> list[str]:
        edges = server.query(query, variables, key=key)["deliveries"]["edges"]
        return sorted(edge["node"]["id"] for edge in edges)

    key = world.key()
    assert found(key) == ["d1", "d2"]
    assert found(key, recipientId=address(1)) == ["d1"]
    assert found(key, alertId=f"{address(2)}:000001") == ["d2"]
    assert found(world.key(accounts=[address(1)])) == ["d1"]


def test_margin_history_reads_each_row_once(server: Server, world: World) -> None:
    world.project.provision_warehouse("margin_history")
    connected = warehouse.connect(world.settings)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [
        {
            "row_id": f"r{n}",
            "account_id": address(1),
            "as_of": (start + timedelta(minutes=n)).isoformat(),
            "kind": "sample",
            "state": "HEALTHY",
            "previous_state": None,
            "transition_sequence": None,
            "tick_sequence": n,
            "collateral_usd": "20000.123456",
            "debt_usd": "10000",
            "health_pct": 100.00123456,
        }
        for n in (0, 1, 1, 2, 3)
    ]
    assert connected.client.insert_rows_json(f"{connected.dataset}.margin_history", rows) == []
    query = """query($after: String) { marginHistory(accountId: "%s", from: "2026-03-01T00:00:00Z",
      to: "2026-03-01T00:03:00Z", first: 2, after: $after) { edges { node { id tickSequence collateralUsd
      healthPct state } } pageInfo { hasNextPage endCursor } } }""".replace("%s", address(1))
    key = world.key()
    first = server.query(query, key=key)["marginHistory"]
    assert [edge["node"]["id"] for edge in first["edges"]] == ["r0", "r1"]
    assert Decimal(first["edges"][0]["node"]["collateralUsd"]) == Decimal("20000.123456")
    assert first["edges"][0]["node"]["healthPct"] == 100.00123456
    second = server.query(query, {"after": first["pageInfo"]["endCursor"]}, key=key)["marginHistory"]
    assert [edge["node"]["id"] for edge in second["edges"]] == ["r2"]
    assert second["pageInfo"]["hasNextPage"] is False
    reversed_range = query.replace("00:03:00", "00:00:00")
    (error,) = server.post(reversed_range, key=key).json()["errors"]
    assert error["extensions"]["argument"] == "to"


def test_system_status(server: Server, world: World) -> None:
    world.put_record(1, State.WARNING)
    world.announce_tick(world.tick(4))
    query = """{ systemStatus { tickSequence ticksCurrent deadLetters liveConnected
      accountsByState { state accounts } } }"""
    key = world.key()

    def at_tick() -> Any:
        found = server.query(query, key=key)["systemStatus"]
        return found if found["tickSequence"] == 4 else None

    status = eventually(at_tick)
    assert status["ticksCurrent"] is True
    assert status["deadLetters"] == 0
    assert status["liveConnected"] is True
    counts = {row["state"]: row["accounts"] for row in status["accountsByState"]}
    assert counts["WARNING"] == 1
    assert sum(counts.values()) == 1


def test_chain_sync(server: Server, world: World) -> None:
    key = world.key()
    query = """{ chainSync { chainId name cursorNumber finalNumber lagBlocks lagS completenessDifferences gaps
                             reconciledBlock positionDifferences halted
                             providers { name score requests } } }"""
    (unknown,) = server.query(query, key=key)["chainSync"]
    assert (unknown["name"], unknown["cursorNumber"], unknown["providers"]) == ("anvil", None, [])
    assert (unknown["reconciledBlock"], unknown["positionDifferences"]) == (None, 0)
    world.put_chain_sync()
    (found,) = server.query(query, key=key)["chainSync"]
    assert found == {
        "chainId": 31337,
        "name": "anvil",
        "cursorNumber": 41,
        "finalNumber": 40,
        "lagBlocks": 9,
        "lagS": 18,
        "completenessDifferences": 2,
        "gaps": ["blocks 42 to 50: pruned"],
        "reconciledBlock": 40,
        "positionDifferences": 2,
        "halted": None,
        "providers": [{"name": "node 0", "score": 0.5, "requests": 7}],
    }
