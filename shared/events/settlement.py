"""``settlement.events.v1``, ``settlement.finalized.v1``: decoded contract events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.domain.dvp import DvpRole
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

Decimals = Annotated[int, Field(ge=0, le=77)]


class ContractEvent(Event):
    """Where on chain an event happened. ``event_id`` is ``chain_id:block_hash:log_index``.

    ``revision`` counts the reorganisations of the chain that had been seen when the event was announced. Of
    two messages about the same thing (an account's balances in an asset, a step of an escrow), the one with
    the higher revision is right.
    """

    revision: NonNegativeInt
    chain_id: PositiveInt
    block_number: NonNegativeInt
    block_hash: Hash32
    block_time: Instant
    transaction_hash: Hash32
    log_index: NonNegativeInt
    contract: Address


class PositionChanged(ContractEvent):
    """An account's balances in one asset changed; they are those after it.

    ``sequence`` counts the account's events in this vault, from 1. Debt and supply are kept in shares:
    ``debt_base`` is ``debt_shares · borrow_index`` (27 decimals) rounded up, ``supplied_base`` what
    ``supply_shares`` could be redeemed for. Supply is lent to the vault and is no collateral.
    """

    kind: Literal["position_changed"] = "position_changed"
    account_id: Address
    asset: AssetId
    asset_address: Address
    decimals: Decimals
    sequence: PositiveInt
    action: PositionAction
    amount_base: BaseUnits
    collateral_base: BaseUnits
    debt_shares: BaseUnits
    debt_base: BaseUnits
    supply_shares: BaseUnits
    supplied_base: BaseUnits
    borrow_index: BaseUnits

    @property
    def subject(self) -> str:
        """Whose events these are: the ordering key without the chain."""
        return self.account_id


class MarketChanged(ContractEvent):
    """The books of an asset's lenders and borrowers changed; all of them, as of the block.

    ``sequence`` counts the market's changes, from 1. Rate and index have 27 decimals; until the next change
    the index grows with the rate (:mod:`shared.domain.interest`).
    """

    kind: Literal["market_changed"] = "market_changed"
    asset: AssetId
    asset_address: Address
    decimals: Decimals
    sequence: PositiveInt
    cash_base: BaseUnits
    supply_shares: BaseUnits
    debt_shares: BaseUnits
    borrow_index: BaseUnits
    pending_reserves_base: BaseUnits
    reserves_base: BaseUnits
    rate_per_second: BaseUnits
    reserve_factor_bps: Annotated[int, Field(ge=0, le=10_000)]

    @property
    def subject(self) -> str:
        """Whose events these are: the ordering key without the chain."""
        return f"market:{self.asset}"


class EscrowEvent(ContractEvent):
    """A step in an escrow's life; ``step`` counts them, from 1 (its creation)."""

    escrow: Address
    step: PositiveInt

    @property
    def subject(self) -> str:
        """Whose events these are: the ordering key without the chain."""
        return self.escrow


class EscrowCreated(EscrowEvent):
    """An escrow was created and funded.

    Anyone may escrow any token: ``asset`` and ``decimals`` are null where the network description does not
    list the one at ``asset_address``.
    """

    kind: Literal["escrow_created"] = "escrow_created"
    payer: Address
    payee: Address
    arbiter: Address
    asset: AssetId | None
    asset_address: Address
    decimals: Decimals | None
    amount_base: BaseUnits
    release_time: Instant
    refund_time: Instant
    dispute_window_s: PositiveInt
    policy: ReleasePolicy


class EscrowApproved(EscrowEvent):
    """A party approved the release."""

    kind: Literal["escrow_approved"] = "escrow_approved"
    role: EscrowRole
    approver: Address


class EscrowArbiterProposed(EscrowEvent):
    """Payer or payee named whom they want as arbiter; no candidate takes an earlier proposal back."""

    kind: Literal["escrow_arbiter_proposed"] = "escrow_arbiter_proposed"
    role: EscrowRole
    candidate: Address | None


class EscrowArbiterChanged(EscrowEvent):
    """Payer and payee agreed on another arbiter; approvals so far are void."""

    kind: Literal["escrow_arbiter_changed"] = "escrow_arbiter_changed"
    previous_arbiter: Address
    arbiter: Address


class EscrowDisputed(EscrowEvent):
    """Payer or payee asked the arbiter to split; until the deadline the payer cannot take the amount back."""

    kind: Literal["escrow_disputed"] = "escrow_disputed"
    role: EscrowRole
    deadline: Instant


class EscrowResolved(EscrowEvent):
    """The arbiter split the amount; the payee's part is rounded down, the payer has the rest."""

    kind: Literal["escrow_resolved"] = "escrow_resolved"
    payee_share_bps: Annotated[int, Field(ge=0, le=10_000)]
    payee_amount_base: BaseUnits
    payer_amount_base: BaseUnits


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
    """A party has taken out what it was owed."""

    kind: Literal["escrow_withdrawn"] = "escrow_withdrawn"
    role: EscrowRole
    beneficiary: Address
    recipient: Address
    amount_base: BaseUnits


class DvpCreated(EscrowEvent):
    """A delivery-versus-payment escrow was created; the deposit of its creator's leg follows.

    A leg's asset and decimals are null where the network description does not list the token.
    """

    kind: Literal["dvp_created"] = "dvp_created"
    seller: Address
    buyer: Address
    delivery_asset: AssetId | None
    delivery_asset_address: Address
    delivery_decimals: Decimals | None
    delivery_amount_base: BaseUnits
    payment_asset: AssetId | None
    payment_asset_address: Address
    payment_decimals: Decimals | None
    payment_amount_base: BaseUnits
    deadline: Instant


class DvpDeposited(EscrowEvent):
    """A party's leg has come."""

    kind: Literal["dvp_deposited"] = "dvp_deposited"
    role: DvpRole
    depositor: Address
    asset_address: Address
    amount_base: BaseUnits


class DvpSettled(EscrowEvent):
    """Each leg belongs to the other party."""

    kind: Literal["dvp_settled"] = "dvp_settled"


class DvpRefunded(EscrowEvent):
    """The leg that came belongs to its depositor again."""

    kind: Literal["dvp_refunded"] = "dvp_refunded"
    role: DvpRole


class DvpWithdrawn(EscrowEvent):
    """A party has taken out what it was owed."""

    kind: Literal["dvp_withdrawn"] = "dvp_withdrawn"
    role: DvpRole
    beneficiary: Address
    recipient: Address
    asset_address: Address
    amount_base: BaseUnits


AnyEscrowEvent = (
    EscrowCreated
    | EscrowApproved
    | EscrowArbiterProposed
    | EscrowArbiterChanged
    | EscrowDisputed
    | EscrowResolved
    | EscrowReleased
    | EscrowRefunded
    | EscrowWithdrawn
)
AnyDvpEvent = DvpCreated | DvpDeposited | DvpSettled | DvpRefunded | DvpWithdrawn
AnyContractEvent = PositionChanged | MarketChanged | AnyEscrowEvent | AnyDvpEvent


class EventRetracted(Event):
    """An announced event is no longer part of its chain: its block vanished in a reorganisation.

    ``retracted`` is the event as it was announced, with the id that it was announced under; ``revision`` is
    that of the reorganisation, higher than the event's. Retractions are published before what replaces them.
    """

    kind: Literal["event_retracted"] = "event_retracted"
    revision: PositiveInt
    retracted: Annotated[AnyContractEvent, Field(discriminator="kind")]


SettlementEvent = Annotated[AnyContractEvent | EventRetracted, Field(discriminator="kind")]

FinalizedEvent = Annotated[AnyContractEvent, Field(discriminator="kind")]
"""An event of a final block that was read twice; of ``settlement.finalized.v1``, never retracted."""


def contract_event_id(chain_id: int, block_hash: str, log_index: int) -> str:
    """The id of a contract event: a pure function of where it stands."""
    return f"{chain_id}:{block_hash}:{log_index}"


def retraction_id(event_id: str, revision: int) -> str:
    """The id of an event's retraction: one that comes back and vanishes again is retracted again."""
    return f"{event_id}:retracted:{revision}"
