"""The committed schema is the printed one, and every sample operation runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import FieldNode, GraphQLObjectType, OperationDefinitionNode, OperationType, parse, validate

from gateway.schema import build_schema, schema_text
from shared.domain.margin import State
from shared.domain.settlement_commands import command_id
from tests.conftest import ROOT
from tests.gateway.conftest import Server, running
from tests.gateway.escrow_records import put_dvp, put_escrow
from tests.gateway.lending_records import put_lending
from tests.gateway.webhook_records import put_webhook, webhook_delivery, webhook_endpoint
from tests.gateway.world import TABLES_READ, World, address

BEFORE_ANYTHING_NULL = {"house_risk"}
OPERATIONS = sorted((ROOT / "graphql" / "operations").glob("*.graphql"))


def test_committed_schema_is_the_printed_one() -> None:
    committed = (ROOT / "graphql" / "schema.graphql").read_text()
    assert committed == schema_text(), (
        "run: PYTHONPATH=.:graphql python -m gateway.schema > graphql/schema.graphql"
    )


def test_sample_operations_cover_every_root_field() -> None:
    schema = build_schema()
    used = {
        (definition.operation, field.name.value)
        for path in OPERATIONS
        for definition in parse(path.read_text()).definitions
        if isinstance(definition, OperationDefinitionNode)
        for field in definition.selection_set.selections
        if isinstance(field, FieldNode)
    }
    roots = {
        OperationType.QUERY: schema.query_type,
        OperationType.MUTATION: schema.mutation_type,
        OperationType.SUBSCRIPTION: schema.subscription_type,
    }
    offered = {
        (kind, name)
        for kind, root in roots.items()
        if isinstance(root, GraphQLObjectType)
        for name in root.fields
    }
    assert used == offered


@pytest.fixture(scope="module")
def server(module_world: World) -> Iterator[Server]:
    """A gateway over an account that has one of everything."""
    module_world.put_accounts(module_world.account(1))
    module_world.put_alerts(module_world.transition(1, 1))
    put_escrow(module_world, 7, payer=1)
    put_dvp(module_world, 7, seller=1)
    module_world.put_command(1)
    put_webhook(module_world, 1)
    put_webhook(module_world, 3)
    put_lending(module_world, 1)
    module_world.project.provision_warehouse(*TABLES_READ)
    module_world.put_tick(module_world.tick(1))
    with running() as started:
        yield started


@pytest.mark.parametrize("path", OPERATIONS, ids=lambda path: path.stem)
def test_sample_operation_runs(path: Path, server: Server, module_world: World) -> None:
    query = path.read_text()
    assert not validate(build_schema(), parse(query))
    variables: dict[str, Any] = {
        "id": address(1),
        "accountId": address(1),
        "prepared": {
            "sender": address(1),
            "chainId": 31337,
            "kind": "DVP_DEPOSIT",
            "arguments": [{"name": "escrow", "value": address(7)}],
        },
        "accountIds": [address(1)],
        "party": address(1),
        "chainId": 31337,
        "address": address(7),
        "deadline": "2100-01-01T00:00:00Z",
        "state": State.WARNING.value,
        "asset": "ETH",
        "from": "2026-01-01T00:00:00Z",
        "to": "2027-01-01T00:00:00Z",
        "endpointId": webhook_endpoint(module_world, 1).endpoint_id,
        "deletedEndpointId": webhook_endpoint(module_world, 3).endpoint_id,
        "deliveryId": webhook_delivery(module_world, 1).delivery_id,
        "endpoint": {"url": "https://hooks.client.example/", "accountIds": [address(1)]},
        "change": {"description": "changed"},
        "overlapS": 60,
        "since": "2026-01-01T00:00:00Z",
        "commandId": command_id(address(1), "order"),
        "input": {
            "accountId": address(1),
            "clientKey": "order",
            "chainId": 31337,
            "kind": "VAULT_DEPOSIT",
            "arguments": [
                {"name": "asset", "value": "0x" + "00" * 20},
                {"name": "amount", "value": "1"},
            ],
            "deadline": "2099-01-01T00:00:00Z",
        },
    }
    definition = parse(query).definitions[0]
    assert isinstance(definition, OperationDefinitionNode)
    declared = {v.variable.name.value for v in definition.variable_definitions or ()}
    used = {name: value for name, value in variables.items() if name in declared}
    if definition.operation is not OperationType.SUBSCRIPTION:
        (value,) = server.query(query, used, key=module_world.key()).values()
        assert value is not None or path.stem in BEFORE_ANYTHING_NULL
        return
    with server.socket(module_world.key()) as socket:
        socket.subscribe("sample", query, used)
        assert socket.next("sample")["kind"] == "SNAPSHOT"
