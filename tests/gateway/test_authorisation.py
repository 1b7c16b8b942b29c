"""Who may see what: every root field and nested protected field, against every kind of key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphql import GraphQLObjectType
from websockets.exceptions import ConnectionClosed

from gateway.authentication import REMEMBERED_FOR_S
from gateway.schema import build_schema
from gateway.sessions import CHECK_INTERVAL_S
from shared.domain.api_keys import Scope
from shared.domain.settlement_commands import command_id
from shared.domain.webhook_deliveries import webhook_delivery_id
from tests.eventually import eventually
from tests.gateway.conftest import Server, running
from tests.gateway.lending_records import put_lending
from tests.gateway.webhook_records import endpoint_id, put_webhook
from tests.gateway.world import ALL_SCOPES, TABLES_READ, World, address

OURS, THEIRS = 1, 2


@dataclass(frozen=True)
class Access:
    """A field and how one asks for something of an account through it."""

    field: str
    query: str
    scopes: frozenset[Scope]
    needs_unrestricted_key: bool = False


def _of(field: str, query: str, *scopes: Scope, unrestricted: bool = False) -> Access:
    return Access(field, query, frozenset(scopes), unrestricted)


def accesses(number: int) -> list[Access]:
    """Every protected field, asking for the account ``number``."""
    account = address(number)
    escrow = address(500 + number)
    endpoint = f"whe_{number:032x}"
    delivery = webhook_delivery_id(endpoint, f"d{number}")
    return [
        _of(
            "Query.account",
            f'{{ account(id: "{account}") {{ id margin {{ accountId }} }} }}',
            Scope.ACCOUNTS_READ,
        ),
        _of("Query.accounts", "{ accounts { edges { node { id } } } }", Scope.ACCOUNTS_READ),
        _of("Query.marks", "{ marks { sequence } }", Scope.MARKS_READ),
        _of("Query.mark", '{ mark(asset: "ETH") { price } }', Scope.MARKS_READ),
        _of(
            "Query.markHistory",
            '{ markHistory(asset: "ETH", interval: DAY, from: "2026-01-01T00:00:00Z",'
            ' to: "2027-01-01T00:00:00Z") { edges { node { start } } } }',
            Scope.HISTORY_READ,
        ),
        _of("Query.markets", "{ markets { asset } }", Scope.MARKS_READ),
        _of("Query.market", '{ market(chainId: 31337, asset: "USDC") { asset } }', Scope.MARKS_READ),
        _of("Query.supplies", f'{{ supplies(accountId: "{account}") {{ shares }} }}', Scope.ACCOUNTS_READ),
        _of(
            "Account.supplies",
            f'{{ account(id: "{account}") {{ id supplies {{ shares }} }} }}',
            Scope.ACCOUNTS_READ,
        ),
        _of("Query.priceSources", "{ priceSources { id } }", Scope.OPERATIONS_READ, unrestricted=True),
        _of(
            "Query.escrow",
            f'{{ escrow(chainId: 31337, address: "{escrow}") {{ payer }} }}',
            Scope.ESCROWS_READ,
        ),
        _of(
            "Query.escrowApproval",
            f'{{ escrowApproval(chainId: 31337, address: "{escrow}", party: "{account}",'
            ' deadline: "2100-01-01T00:00:00Z") { role } }',
            Scope.ESCROWS_READ,
        ),
        _of(
            "Query.escrows",
            f'{{ escrows(party: "{account}") {{ edges {{ node {{ payer }} }} }} }}',
            Scope.ESCROWS_READ,
        ),
        _of(
            "Query.dvpEscrow",
            f'{{ dvpEscrow(chainId: 31337, address: "{escrow}") {{ seller }} }}',
            Scope.ESCROWS_READ,
        ),
        _of(
            "Query.dvpEscrows",
            f'{{ dvpEscrows(party: "{account}") {{ edges {{ node {{ seller }} }} }} }}',
            Scope.ESCROWS_READ,
        ),
        _of(
            "Query.alerts",
            f'{{ alerts(accountId: "{account}") {{ edges {{ node {{ id }} }} }} }}',
            Scope.ALERTS_READ,
        ),
        _of(
            "Query.deliveries",
            f'{{ deliveries(recipientId: "{account}") {{ edges {{ node {{ recipientId }} }} }} }}',
            Scope.DELIVERIES_READ,
        ),
        _of(
            "Query.marginHistory",
            f'{{ marginHistory(accountId: "{account}", from: "2026-01-01T00:00:00Z",'
            ' to: "2027-01-01T00:00:00Z") { edges { node { id accountId } } } }',
            Scope.HISTORY_READ,
        ),
        _of(
            "Query.marginPreview",
            f'{{ marginPreview(accountId: "{account}", changes: [{{asset: "ETH", debtBaseDelta: "1"}}])'
            " { accountId } }",
            Scope.ACCOUNTS_READ,
        ),
        _of(
            "Query.stressTest",
            f'{{ stressTest(accountIds: ["{account}"], scenario: "rally_day")'
            " { accounts { accountId } } }",
            Scope.ACCOUNTS_READ,
        ),
        _of(
            "Query.reverseStress",
            f'{{ reverseStress(accountIds: ["{account}"], assets: ["ETH"]) {{ accounts {{ accountId }} }} }}',
            Scope.ACCOUNTS_READ,
        ),
        _of(
            "Query.settlementCommand",
            f'{{ settlementCommand(id: "{command_id(account, "order")}") {{ accountId }} }}',
            Scope.COMMANDS_READ,
        ),
        _of(
            "Query.settlementCommands",
            f'{{ settlementCommands(accountId: "{account}") {{ edges {{ node {{ accountId }} }} }} }}',
            Scope.COMMANDS_READ,
        ),
        _of(
            "Query.preparedCommand",
            f'{{ preparedCommand(input: {{sender: "{account}", chainId: 31337, kind: VAULT_WITHDRAW,'
            f' arguments: [{{name: "asset", value: "{address(0)}"}}, {{name: "amount", value: "1"}}]}})'
            " { ... on PreparedCommand { transaction { sender } } } }",
            Scope.COMMANDS_READ,
        ),
        _of("Query.settlementCommandKinds", "{ settlementCommandKinds { kind } }", Scope.COMMANDS_READ),
        _of(
            "Mutation.submitSettlementCommand",
            f'mutation {{ submitSettlementCommand(input: {{ accountId: "{account}", clientKey: "new",'
            " chainId: 31337, kind: VAULT_DEPOSIT, arguments: [], deadline:"
            ' "2030-01-01T00:00:00Z" }) { __typename ... on SettlementCommandRefused { field } } }',
            Scope.COMMANDS_WRITE,
        ),
        _of(
            "Query.webhookEndpoint",
            f'{{ webhookEndpoint(id: "{endpoint}") {{ accountIds }} }}',
            Scope.WEBHOOKS_READ,
        ),
        _of(
            "Query.webhookEndpoints",
            "{ webhookEndpoints { edges { node { accountIds } } } }",
            Scope.WEBHOOKS_READ,
        ),
        _of(
            "Query.webhookDelivery",
            f'{{ webhookDelivery(id: "{delivery}") {{ eventId }} }}',
            Scope.WEBHOOKS_READ,
        ),
        _of(
            "Query.webhookDeliveries",
            f'{{ webhookDeliveries(endpointId: "{endpoint}") {{ edges {{ node {{ eventId }} }} }} }}',
            Scope.WEBHOOKS_READ,
        ),
        _of(
            "Mutation.registerWebhookEndpoint",
            'mutation { registerWebhookEndpoint(input: { url: "",'
            f' accountIds: ["{account}"] }}) {{ __typename }} }}',
            Scope.WEBHOOKS_WRITE,
        ),
        *(
            _of(
                f"Mutation.{name}",
                f'mutation {{ {name}({argument}: "{identifier}"{rest}) {{ __typename'
                " ... on WebhookRefused { field reason } } }",
                Scope.WEBHOOKS_WRITE,
            )
            for name, argument, identifier, rest in (
                ("updateWebhookEndpoint", "id", endpoint, ", input: {}"),
                ("rotateWebhookSecret", "id", endpoint, ""),
                ("redeliverWebhook", "id", delivery, ""),
                ("redeliverFailedWebhooks", "endpointId", endpoint, ', since: "2026-01-01T00:00:00Z"'),
                ("enableWebhookEndpoint", "id", endpoint, ""),
                ("disableWebhookEndpoint", "id", endpoint, ""),
                ("deleteWebhookEndpoint", "id", endpoint_id(number + 1_000), ""),
            )
        ),
        _of("Query.stressScenarios", "{ stressScenarios { name } }", Scope.ACCOUNTS_READ),
        _of("Query.chainSync", "{ chainSync { name } }", Scope.OPERATIONS_READ, unrestricted=True),
        _of(
            "Account.risk", f'{{ account(id: "{account}") {{ risk {{ accountId }} }} }}', Scope.ACCOUNTS_READ
        ),
        _of(
            "Query.riskHistory",
            f'{{ riskHistory(accountId: "{account}", from: "2026-01-01T00:00:00Z",'
            ' to: "2027-01-01T00:00:00Z") { edges { node { id accountId } } } }',
            Scope.HISTORY_READ,
        ),
        _of(
            "Query.backtest",
            f'{{ backtest(accountId: "{account}") {{ accountId unmeasuredReason }} }}',
            Scope.ACCOUNTS_READ,
        ),
        _of("Query.houseRisk", "{ houseRisk { esUsd } }", Scope.OPERATIONS_READ, unrestricted=True),
        _of(
            "HouseRisk.byAccount",
            "{ houseRisk { byAccount { edges { node { accountId } } } } }",
            Scope.OPERATIONS_READ,
            unrestricted=True,
        ),
        _of(
            "Query.hourlyExposures",
            f'{{ hourlyExposures(accountId: "{account}", from: "2026-01-01T00:00:00Z",'
            ' to: "2027-01-01T00:00:00Z") { edges { node { accountId hour } } } }',
            Scope.HISTORY_READ,
        ),
        _of(
            "Query.houseExposures",
            "{ houseExposures { accounts } }",
            Scope.OPERATIONS_READ,
            unrestricted=True,
        ),
        _of("Query.houseStress", "{ houseStress { scenario } }", Scope.OPERATIONS_READ, unrestricted=True),
        _of(
            "Query.systemStatus", "{ systemStatus { deadLetters } }", Scope.OPERATIONS_READ, unrestricted=True
        ),
        _of(
            "Account.alerts",
            f'{{ account(id: "{account}") {{ alerts {{ edges {{ node {{ id }} }} }} }} }}',
            Scope.ACCOUNTS_READ,
            Scope.ALERTS_READ,
        ),
        _of(
            "Account.escrows",
            f'{{ account(id: "{account}") {{ escrows {{ edges {{ node {{ payer }} }} }} }} }}',
            Scope.ACCOUNTS_READ,
            Scope.ESCROWS_READ,
        ),
        _of(
            "Subscription.marginHealth",
            f'subscription {{ marginHealth(accountIds: ["{account}"]) {{ accounts {{ accountId }} }} }}',
            Scope.ACCOUNTS_READ,
        ),
        _of(
            "Subscription.alerts",
            f'subscription {{ alerts(accountIds: ["{account}"]) {{ alerts {{ id }} }} }}',
            Scope.ALERTS_READ,
        ),
        _of("Subscription.marks", "subscription { marks { sequence } }", Scope.MARKS_READ),
    ]


FIELDS = [access.field for access in accesses(OURS)]


def ask(server: Server, query: str, key: str | None) -> dict[str, Any]:
    """The answer to a query, or the first message of a subscription, as a response."""
    if not query.startswith("subscription"):
        body: dict[str, Any] = server.post(query, key=key).json()
        return body
    with server.socket(init=False) as socket:
        socket.send({"type": "connection_init", "payload": {"apiKey": key} if key else None})
        try:
            assert socket.receive()["type"] == "connection_ack"
        except ConnectionClosed:
            code, reason = socket.closed()
            return {"errors": [{"message": reason, "extensions": {"code": code}}]}
        socket.subscribe("1", query)
        message = socket.receive()
        if message["type"] == "error":
            return {"errors": message["payload"]}
        assert message["type"] == "next"
        payload: dict[str, Any] = message["payload"]
        return payload


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    """One world for all tests: they make keys of their own; what else they change, no other looks at."""
    return module_world


@pytest.fixture(scope="module")
def filled(world: World) -> Iterator[Server]:
    """A gateway over two accounts that have one of everything."""
    world.project.provision_warehouse(*TABLES_READ)
    with running() as server:
        for number in (OURS, THEIRS):
            world.put_accounts(world.account(number))
            world.put_alerts(world.transition(number, 1))
            world.put_escrow(500 + number, payer=number, payee=100 + number, arbiter=200 + number)
            world.put_dvp(500 + number, seller=number, buyer=100 + number)
            world.put_delivery(number)
            world.put_command(number)
            put_webhook(world, number)
            # To be deleted.
            put_webhook(world, number + 1_000, accounts=frozenset((address(number),)))
            put_lending(world, number)
        world.announce_tick(world.tick(1))
        eventually(lambda: server.query("{ marks { sequence } }", key=world.key())["marks"])
        yield server


def test_the_matrix_covers_every_root_field() -> None:
    schema = build_schema()
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    offered = {
        f"{root.name}.{name}" for root in roots if isinstance(root, GraphQLObjectType) for name in root.fields
    }
    assert offered <= set(FIELDS)


def test_without_a_valid_key_nothing_is_answered(filled: Server, world: World) -> None:
    good = world.key()
    past = datetime.now(UTC) - timedelta(seconds=1)
    keys: Mapping[str, str | None] = {
        "none": None,
        "malformed": "fp_nonsense",
        "unknown": "fp_000000000000_" + "A" * 43,
        "wrong secret": good[:-43] + "A" * 43,
        "disabled": world.key(enabled=False),
        "expired": world.key(expires_at=past),
    }
    for kind, key in keys.items():
        for access in accesses(OURS):
            body = ask(filled, access.query, key)
            assert "data" not in body, (kind, access.field)
            assert body["errors"][0]["extensions"]["code"] in ("UNAUTHENTICATED", 4403), (kind, access.field)
            assert address(OURS) not in str(body), (kind, access.field)
        introspection = ask(filled, "{ __schema { queryType { name } } }", key)
        assert "data" not in introspection, kind


def test_each_field_needs_its_scopes_and_no_others(filled: Server, world: World) -> None:
    sufficient: dict[frozenset[Scope], str] = {}
    for access in accesses(OURS):
        key = sufficient.setdefault(access.scopes, world.key(access.scopes))
        assert "errors" not in ask(filled, access.query, key), access.field
        for missing in access.scopes:
            without = sufficient.setdefault(ALL_SCOPES - {missing}, world.key(ALL_SCOPES - {missing}))
            body = ask(filled, access.query, without)
            assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"], access.field
            assert body["errors"][0]["extensions"]["scope"] == missing.value, access.field
            data = body.get("data")
            assert data is None or set(data.values()) == {None}, access.field


@pytest.mark.parametrize("field", FIELDS)
def test_another_account_looks_like_one_that_does_not_exist(filled: Server, world: World, field: str) -> None:
    key = world.key(accounts=[address(OURS)])
    by_field = [{access.field: access for access in accesses(number)} for number in (OURS, THEIRS, 999)]
    ours, theirs, absent = (accesses_of[field] for accesses_of in by_field)
    if ours.needs_unrestricted_key:
        assert ask(filled, ours.query, key)["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        return
    seen = ask(filled, ours.query, key)
    assert "errors" not in seen
    hidden = ask(filled, theirs.query, key)
    assert address(THEIRS) not in str(hidden.get("data"))
    assert f"d{THEIRS}" not in str(hidden.get("data"))
    nonexistent = ask(filled, absent.query, key)
    as_absent = str(hidden).replace(address(THEIRS), address(999)).replace(address(502), address(1499))
    assert as_absent == str(nonexistent)


def test_lists_without_an_account_show_only_allowed_ones(filled: Server, world: World) -> None:
    key = world.key(accounts=[address(OURS)])
    body = filled.query(
        """{ accounts { edges { node { id } } } inState: accounts(state: WARNING) { edges { node { id } } }
        alerts { edges { node { accountId } } } deliveries { edges { node { recipientId } } }
        escrows { edges { node { payer } } }
        settlementCommands { edges { node { accountId } } }
        webhookEndpoints { edges { node { accountIds } } } }""",
        key=key,
    )
    assert address(THEIRS) not in str(body)
    assert str(body).count(address(OURS)) == 7
    everything = filled.query("{ accounts { edges { node { id } } } }", key=world.key())
    assert address(THEIRS) in str(everything)


def test_header_forms(filled: Server, world: World) -> None:
    key = world.key()
    query = "{ marks { sequence } }"
    for headers in ({"Authorization": f"bearer {key}"}, {"X-API-Key": key}):
        assert "errors" not in filled.post(query, key=None, headers=headers).json()
    for headers in ({"Authorization": f"Basic {key}"}, {"Authorization": key}):
        response = filled.post(query, key=None, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
    with filled.socket(init=False, additional_headers={"X-API-Key": key}) as socket:
        socket.send({"type": "connection_init"})
        assert socket.receive() == {"type": "connection_ack"}
    with filled.socket(init=False) as socket:
        socket.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {key}"}})
        assert socket.receive() == {"type": "connection_ack"}


def test_a_key_that_is_taken_away_ends_its_streams(filled: Server, world: World) -> None:
    assert REMEMBERED_FOR_S + CHECK_INTERVAL_S < 9
    changes: list[dict[str, Any]] = [{"enabled": False}, {"scopes": frozenset()}, {"accounts": frozenset()}]
    keys, other = [world.key() for _ in changes], world.key()
    subscription = f'subscription {{ marginHealth(accountIds: ["{address(OURS)}"]) {{ kind }} }}'
    with ExitStack() as streams:
        bystander, *sockets = (streams.enter_context(filled.socket(key)) for key in (other, *keys))
        for socket in (bystander, *sockets):
            socket.subscribe("1", subscription)
            assert socket.next("1") == {"kind": "SNAPSHOT"}
        sent = [streams.enter_context(filled.events(subscription, key=key)) for key in keys]
        for events in sent:
            assert next(events)["data"]["marginHealth"]["kind"] == "SNAPSHOT"
        for key, change in zip(keys, changes, strict=True):
            world.change_key(key, **change)
        for socket, events in zip(sockets, sent, strict=True):
            code, reason = socket.closed()
            assert code == 4403
            assert "key" in reason
            (error,) = next(events)["errors"]
            assert error["extensions"]["code"] == "UNAUTHENTICATED"
            assert next(events, None) is None
        latest = filled.query("{ marks { sequence } }", key=other)["marks"]["sequence"]
        world.announce_tick(world.tick(latest + 1))
        assert bystander.next("1") == {"kind": "UPDATE"}
    assert filled.post("{ marks { sequence } }", key=keys[0]).status_code == 401
