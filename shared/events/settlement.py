"""``settlement.events.v1``: decoded contract events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.domain.escrows import EscrowRole, ReleasePolicy
from shared.domain.positions import PositionAction
from shared.events.base import (
    Address,
    AssetId,
    BaseUnits,
    Event,
    Hash32,
    Instant,
    NonNegativeInt,
    PositiveInt,
)


class ContractEvent(Event):
    """Where on chain an event happened. ``event_id`` is ``chain_id:block_hash:log_index``.

    ``revision`` counts the reorganisations of the chain that had been seen when the event was announced. Of
    two messages about the same thing (an account's balances in an asset, a step of an escrow), the one with
    the higher revision is right.
    """

    revision: NonNegativeInt = 0
    chain_id: PositiveInt
    block_number: NonNegativeInt
    block_hash: Hash32
    block_time: Instant
    transaction_hash: Hash32
    log_index: NonNegativeInt
    contract: Address


class PositionChanged(ContractEvent):
    """An account's collateral or debt in one asset changed; the balances are those after it.

    ``sequence`` counts the account's events in this vault, from 1.
    """

    kind: Literal["position_changed"] = "position_changed"
    account_id: Address
    asset: AssetId
    asset_address: Address
    decimals: Annotated[int, Field(ge=0, le=77)]
    sequence: PositiveInt
    action: PositionAction
    amount_base: BaseUnits
    collateral_base: BaseUnits
    debt_base: BaseUnits


class EscrowEvent(ContractEvent):
    """A step in an escrow's life; ``step`` counts them, from 1 (its creation)."""

    escrow: Address
    step: PositiveInt


class EscrowCreated(EscrowEvent):
    """An escrow was created and funded."""

    kind: Literal["escrow_created"] = "escrow_created"
    payer: Address
    payee: Address
    arbiter: Address
    asset: AssetId
    asset_address: Address
    decimals: Annotated[int, Field(ge=0, le=77)]
    amount_base: BaseUnits
    release_time: Instant
    refund_time: Instant
    policy: ReleasePolicy


class EscrowApproved(EscrowEvent):
    """A party approved the release."""

    kind: Literal["escrow_approved"] = "escrow_approved"
    role: EscrowRole
    approver: Address


class EscrowReleased(EscrowEvent):
    """The amount now belongs to the payee."""

    kind: Literal["escrow_released"] = "escrow_released"
    payee: Address
    amount_base: BaseUnits


class EscrowRefunded(EscrowEvent):
    """The amount now belongs to the payer again."""

    kind: Literal["escrow_refunded"] = "escrow_refunded"
    payer: Address
    amount_base: BaseUnits


class EscrowWithdrawn(EscrowEvent):
    """The party that the amount belongs to has taken it out."""

    kind: Literal["escrow_withdrawn"] = "escrow_withdrawn"
    recipient: Address
    amount_base: BaseUnits


AnyEscrowEvent = EscrowCreated | EscrowApproved | EscrowReleased | EscrowRefunded | EscrowWithdrawn
AnyContractEvent = PositionChanged | AnyEscrowEvent


class EventRetracted(Event):
    """An announced event is no longer part of its chain: its block vanished in a reorganisation.

    ``retracted`` is the event as it was announced, with the id that it was announced under; ``revision`` is
    that of the reorganisation, higher than the event's. Retractions are published before what replaces them.
    """

    kind: Literal["event_retracted"] = "event_retracted"
    revision: PositiveInt
    retracted: Annotated[AnyContractEvent, Field(discriminator="kind")]


SettlementEvent = Annotated[AnyContractEvent | EventRetracted, Field(discriminator="kind")]


def contract_event_id(chain_id: int, block_hash: str, log_index: int) -> str:
    """The id of a contract event: a pure function of where it stands."""
    return f"{chain_id}:{block_hash}:{log_index}"


def retraction_id(event_id: str, revision: int) -> str:
    """The id of an event's retraction: one that comes back and vanishes again is retracted again."""
    return f"{event_id}:retracted:{revision}"
