"""The margin of one account."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import strawberry

from gateway.scalars import DateTime, Decimal
from shared.domain.margin import State

MarginState = strawberry.enum(
    State,
    name="MarginState",
    description="Margin states from best to worst; UNVALUED is none of them: a mark is missing.",
)


@strawberry.type(
    description=(
        "An account at the latest tick, with the recorded state's hysteresis. While it is UNVALUED the "
        "amounts are null and unvaluedAssets names the assets whose mark is missing, stale or not positive."
    )
)
class Margin:
    account_id: strawberry.ID
    state: MarginState  # type: ignore[valid-type]
    unvalued_assets: list[str]
    valued_state: MarginState | None = strawberry.field(  # type: ignore[valid-type]
        description="The last state while every asset had a mark; null if there has been none."
    )
    collateral_usd: Decimal | None = strawberry.field(description="After collateral factors.")
    debt_usd: Decimal | None = strawberry.field(description="After borrow factors.")
    health_pct: float | None = strawberry.field(
        description="(collateral − debt) / debt · 100; null without debt, and while UNVALUED."
    )
    tick_sequence: int | None = strawberry.field(
        description="The tick it was computed at; null before the first tick."
    )
    position_version: int = strawberry.field(description="The version of the account's positions.")
    transitions: int = strawberry.field(description="How many transitions have been announced, ever.")
    as_of: DateTime = strawberry.field(description="The tick's moment.")
    # The encoded JSON of this object by encoder: one object is encoded once for all its readers.
    encoded: strawberry.Private[dict[Any, str]] = strawberry.field(default_factory=dict)


@strawberry.enum(description="Whether a message holds everything or what changed since the one before.")
class MessageKind(StrEnum):
    SNAPSHOT = "SNAPSHOT"
    UPDATE = "UPDATE"


@strawberry.type(
    description=(
        "Margins of the accounts that changed since the message before, each at its newest; a slow reader "
        "gets fewer messages, never older ones. After a reconnection compare sequence, and per account "
        "positionVersion and transitions, with those seen last."
    )
)
class MarginHealth:
    kind: MessageKind
    sequence: int | None = strawberry.field(
        description="The sequence of the latest tick; null before the first."
    )
    as_of: DateTime = strawberry.field(description="When the gateway put the message together.")
    accounts: list[Margin]


def in_order(margins: dict[str, Margin], account_ids: Sequence[str]) -> list[Margin]:
    """The margins of those accounts that have one, in the order of the ids."""
    return [margins[account_id] for account_id in account_ids if account_id in margins]
