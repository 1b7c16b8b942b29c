"""The schema, put together from the domains.

``python -m gateway.schema`` prints it (committed as ``graphql/schema.graphql``).
"""

from __future__ import annotations

import sys
from functools import cache

import strawberry
from graphql import GraphQLSchema, lexicographic_sort_schema, print_schema
from strawberry.schema.config import StrawberryConfig

from gateway.accounts.queries import AccountQueries
from gateway.alerts.queries import AlertQueries
from gateway.alerts.subscriptions import AlertSubscriptions
from gateway.chains.queries import ChainQueries
from gateway.deliveries.queries import DeliveryQueries
from gateway.dvp.queries import DvpQueries
from gateway.escrows.approvals import EscrowApprovalQueries
from gateway.escrows.queries import EscrowQueries
from gateway.history.queries import HistoryQueries
from gateway.lending.queries import LendingQueries
from gateway.margin.subscriptions import MarginSubscriptions
from gateway.marks.queries import MarkQueries
from gateway.marks.subscriptions import MarkSubscriptions
from gateway.platform.queries import PlatformQueries
from gateway.risk.measured_queries import MeasuredRiskQueries
from gateway.risk.queries import RiskQueries
from gateway.scalars import SCALARS
from gateway.settlement.mutations import SettlementMutations
from gateway.settlement.prepared import PreparedCommandQueries
from gateway.settlement.queries import SettlementQueries
from gateway.webhooks.mutations import WebhookMutations
from gateway.webhooks.queries import WebhookQueries


@strawberry.type(description="What is, and what was. Each field needs a scope of the API key.")
class Query(
    AccountQueries,
    MarkQueries,
    LendingQueries,
    EscrowQueries,
    EscrowApprovalQueries,
    DvpQueries,
    AlertQueries,
    DeliveryQueries,
    HistoryQueries,
    RiskQueries,
    ChainQueries,
    MeasuredRiskQueries,
    SettlementQueries,
    PreparedCommandQueries,
    WebhookQueries,
    PlatformQueries,
):
    """The root of queries."""


@strawberry.type(description="What is asked for. A refusal is an answer of its own type, not an error.")
class Mutation(SettlementMutations, WebhookMutations):
    """The root of mutations."""


@strawberry.type(description="What changes. Every subscription begins with a snapshot.")
class Subscription(MarginSubscriptions, AlertSubscriptions, MarkSubscriptions):
    """The root of subscriptions."""


@cache
def build_schema() -> GraphQLSchema:
    """The executable schema; nothing changes it, so a process has one."""
    schema = strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        # Sorting copies the types, and a union then does not know its own members.
        config=StrawberryConfig(scalar_map=SCALARS, sort_schema=False),
    )
    executable: GraphQLSchema = schema._schema
    return executable


def schema_text() -> str:
    """The schema in GraphQL's schema definition language."""
    return print_schema(lexicographic_sort_schema(build_schema())).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
