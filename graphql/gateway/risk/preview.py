"""What a trade would do to an account's margin."""

from __future__ import annotations

from dataclasses import replace

import strawberry

from gateway.risk.requirements import MarginRequirements, from_valuation
from shared.domain.market import Holder, Market, value_accounts
from shared.domain.positions import Account


@strawberry.type(
    description=(
        "An account before and after a trade that has not happened, both at the same tick. The state after "
        "follows from the one before with its hysteresis, as it would if the trade were made."
    )
)
class MarginPreview:
    account_id: strawberry.ID
    before: MarginRequirements
    after: MarginRequirements


def preview(market: Market, holder: Holder, changed: Account) -> MarginPreview:
    """An account as it is, and with the positions of ``changed``."""
    (before,) = value_accounts(market, [holder])
    previous = before.state.code if before.is_valued else holder.previous
    (after,) = value_accounts(market, [replace(holder, account=changed, previous=previous)])
    return MarginPreview(
        account_id=holder.account.account_id,  # type: ignore[arg-type]
        before=from_valuation(market, before),
        after=from_valuation(market, after),
    )
