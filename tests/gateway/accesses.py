"""The authorisation matrix: every protected field, and the scopes that it takes to read or change it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.api_keys import Scope
from shared.domain.settlement_commands import command_id
from shared.domain.webhook_deliveries import webhook_delivery_id
from tests.gateway.webhook_records import endpoint_id
from tests.gateway.world import address


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
