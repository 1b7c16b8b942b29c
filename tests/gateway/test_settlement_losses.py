"""What clients of the platform before this one lost through its API: tried again, and not lost.

The table of all of them is ``docs/regressions.md``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.stores import custody, settlement_commands
from tests.gateway.conftest import Server
from tests.gateway.escrow_records import put_escrow
from tests.gateway.world import World, address
from tests.repository.sources import ROOT

SUBMIT = (ROOT / "graphql/operations/submit_settlement_command.graphql").read_text()
NATIVE = "0x" + "00" * 20


def _command(**changes: str) -> dict[str, Any]:
    given = {"kind": "VAULT_DEPOSIT", "amount": "5"} | changes
    return {
        "accountId": address(1),
        "clientKey": "order-1",
        "chainId": 31337,
        "kind": given["kind"],
        "arguments": [{"name": "asset", "value": NATIVE}, {"name": "amount", "value": given["amount"]}],
        "deadline": (datetime.now(UTC) + timedelta(hours=3)).isoformat(),
    }


def _submit(server: Server, key: str, **changes: str) -> dict[str, Any]:
    answer = server.query(SUBMIT, {"input": _command(**changes)}, key=key)["submitSettlementCommand"]
    return dict(answer)


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-1", "1e3", "0.5", "0", "", "٣"])
def test_amounts_that_are_not_numbers_pass_and_are_refused_here(
    server: Server, world: World, amount: str
) -> None:
    custody.put(world.client, custody.Custody(address(1), None))
    refused = _submit(server, world.key(), amount=amount)
    assert (refused["__typename"], refused["field"]) == ("SettlementCommandRefused", "arguments.amount")
    assert list(world.client.collection(settlement_commands.COLLECTION).stream()) == []


def test_a_commands_deadline_and_kind_are_overwritten_and_kept_here(server: Server, world: World) -> None:
    custody.put(world.client, custody.Custody(address(1), None))
    before = datetime.now(UTC) + timedelta(hours=3)
    accepted = _submit(server, world.key(), kind="VAULT_REPAY", amount=str(2**256 - 1))
    found = settlement_commands.find(world.client, accepted["command"]["id"])
    assert found is not None
    body = found[0].body
    assert body.kind == "VAULT_REPAY"
    assert body.arguments == {"asset": NATIVE, "amount": str(2**256 - 1)}
    assert before <= body.deadline <= before + timedelta(minutes=1)


def test_anyone_commands_any_account_and_only_who_may_see_it_here(server: Server, world: World) -> None:
    custody.put(world.client, custody.Custody(address(1), None))
    stranger = world.key(accounts=[address(2)])
    (error,) = server.post(SUBMIT, {"input": _command()}, key=stranger).json()["errors"]
    assert error["extensions"]["code"] == "NOT_FOUND"
    assert server.post(SUBMIT, {"input": _command()}, key=None).status_code == 401
    assert list(world.client.collection(settlement_commands.COLLECTION).stream()) == []


def test_a_list_without_a_filter_is_empty_and_has_pages_of_every_escrow_here(
    server: Server, world: World
) -> None:
    for number in range(11, 16):
        put_escrow(world, number, payer=1)
    query = """query($after: String) { escrows(first: 2, after: $after) {
      edges { node { address } } pageInfo { hasNextPage endCursor } } }"""
    key, found, after = world.key(), [], None
    while True:
        page = server.query(query, {"after": after}, key=key)["escrows"]
        found += [edge["node"]["address"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert found == [address(number) for number in range(11, 16)]
