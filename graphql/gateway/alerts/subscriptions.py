"""``alerts``, live."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from collections.abc import AsyncIterator

import strawberry

from gateway.alerts.streams import AccountAlertsStream, AllAlertsStream
from gateway.alerts.types import AlertsMessage
from gateway.context import Info
from gateway.permissions import NeedsAlertsScope, visible_accounts


@strawberry.type
class AlertSubscriptions:
    """Mixed into the schema's Subscription."""

    @strawberry.subscription(
        permission_classes=[NeedsAlertsScope],
        description=(
            "What was missed since after (else the latest 20), then every new alert. With accountIds each "
            "alert comes exactly once and in its account's order. Without, alerts of every account come at "
            "least once: those of the minute before the cursor are repeated, with the same id."
        ),
    )
    async def alerts(
        self, info: Info, account_ids: list[strawberry.ID] | None = None, after: str | None = None
    ) -> AsyncIterator[AlertsMessage]:
        hub, stores = info.context.live, info.context.stores
        allowed = info.context.key.accounts
        wanted: list[strawberry.ID] | None = account_ids
        if wanted is None and allowed is not None:
            wanted = [strawberry.ID(account_id) for account_id in sorted(allowed)]
        stream: AccountAlertsStream | AllAlertsStream
        if wanted is not None:
            stream = AccountAlertsStream(hub, stores, visible_accounts(info, wanted, "accountIds"))
            # Listening first and reading second, so that nothing falls in between.
            hub.add_alerts_stream(stream, stream.account_ids)
        else:
            stream = AllAlertsStream(hub, stores)
            hub.add_alerts_stream(stream, None)
        try:
            await stream.open(after)
        except BaseException:
            stream.close()
            raise
        return stream  # type: ignore[return-value]
