"""The platform's own figures."""

from __future__ import annotations

import strawberry

from gateway.margin.types import MarginState
from gateway.scalars import DateTime


@strawberry.type(description="How many accounts are in a state.")
class StateCount:
    state: MarginState  # type: ignore[valid-type]
    accounts: int


@strawberry.type(description="How the platform is doing.")
class SystemStatus:
    tick_sequence: int | None
    tick_as_of: DateTime | None
    ticks_current: bool = strawberry.field(description="Whether the latest tick is young enough to be used.")
    evaluated_tick_sequence: int | None = strawberry.field(
        description="The tick up to which margin states are recorded."
    )
    accounts_by_state: list[StateCount]
    dead_letters: int = strawberry.field(description="Messages that wait for an operator.")
    oldest_unpublished_at: DateTime | None = strawberry.field(
        description="When the oldest announcement was committed that may not have been published."
    )
    live_connected: bool = strawberry.field(
        description="Whether this gateway instance hears every live topic."
    )
    live_accounts: int = strawberry.field(description="Accounts that this instance follows for subscribers.")
    refused_messages: int = strawberry.field(description="Malformed messages that this instance ignored.")
