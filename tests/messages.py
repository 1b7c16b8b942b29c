"""Valid messages of every topic, for tests that publish or spoil them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.domain.dvp import DvpRole
from shared.domain.escrows import EscrowRole, ReleasePolicy
from shared.domain.interest import RAY
from shared.domain.margin import Severity, State
from shared.domain.marks import MarkStatus
from shared.domain.notifications import Channel, DeliveryStatus
from shared.domain.positions import PositionAction
from shared.domain.settlement_commands import Command, CommandBody, CommandKind, CommandStatus, accept
from shared.events import topics
from shared.events.base import Event
from shared.events.deliveries import DeliveryChanged, delivery_event_id
from shared.events.margin import (
    MarginSamples,
    MarginShardWork,
    MarginSweep,
    MarginTransition,
    Sample,
    Valuation,
    shard_work_id,
    transition_id,
)
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.events.positions import Position, PositionsChanged, positions_id
from shared.events.prices import Mark, MarketIndex, PriceTick, tick_id
from shared.events.settlement import (
    AnyContractEvent,
    DvpCreated,
    DvpDeposited,
    DvpSettled,
    EscrowApproved,
    EscrowCreated,
    EscrowDisputed,
    EscrowRefunded,
    EscrowReleased,
    EscrowResolved,
    EscrowWithdrawn,
    EventRetracted,
    MarketChanged,
    PositionChanged,
    contract_event_id,
    retraction_id,
)
from shared.events.settlement_commands import (
    CommandTransaction,
    SettlementCommandChanged,
    command_message,
    progress_id,
)

CHAIN_ID = 31337
DECIMALS = {"ETH": 18, "WBTC": 8, "USDC": 6, "LINK": 18}
PAYER, PAYEE, ARBITER = ("0x" + digit * 40 for digit in "abc")


def new_address() -> str:
    """An address that no other test uses."""
    return "0x" + secrets.token_hex(20)


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def _place(number: int, block_time: datetime | None) -> dict[str, Any]:
    block_hash = f"0x{number:064x}"
    return {
        "event_id": contract_event_id(CHAIN_ID, block_hash, 0),
        "chain_id": CHAIN_ID,
        "block_number": number,
        "block_hash": block_hash,
        "block_time": block_time or now(),
        "transaction_hash": block_hash,
        "log_index": 0,
        "revision": 0,
        "contract": "0x" + "aa" * 20,
    }


def position_changed(
    account_id: str,
    sequence: int,
    *,
    asset: str = "ETH",
    collateral_base: int = 10**18,
    debt_base: int = 0,
    amount_base: int = 1,
    chain_id: int = CHAIN_ID,
    action: PositionAction = PositionAction.DEPOSIT,
) -> PositionChanged:
    """An account's balances in one asset after its ``sequence``-th event."""
    place = _place(sequence, None) | {"chain_id": chain_id}
    return PositionChanged(
        **place,
        account_id=account_id,
        asset=asset,
        asset_address="0x" + "01" * 20,
        decimals=DECIMALS[asset],
        sequence=sequence,
        action=action,
        amount_base=amount_base,
        collateral_base=collateral_base,
        debt_shares=debt_base,
        debt_base=debt_base,
        supply_shares=0,
        supplied_base=0,
        borrow_index=RAY,
    )


def market_changed(sequence: int, *, asset: str = "USDC", cash_base: int = 10**12) -> MarketChanged:
    """A market's books after its ``sequence``-th change, without interest."""
    return MarketChanged(
        **_place(sequence, None),
        asset=asset,
        asset_address="0x" + "01" * 20,
        decimals=DECIMALS[asset],
        sequence=sequence,
        cash_base=cash_base,
        supply_shares=cash_base * 10**6,
        debt_shares=0,
        borrow_index=RAY,
        pending_reserves_base=0,
        reserves_base=0,
        rate_per_second=0,
        reserve_factor_bps=1_000,
    )


def retraction(event: AnyContractEvent, revision: int) -> EventRetracted:
    """The chain took an event back."""
    return EventRetracted(
        event_id=retraction_id(event.event_id, revision), revision=revision, retracted=event
    )


def escrow_created(escrow: str, *, payer: str = PAYER, amount_base: int = 10**18) -> EscrowCreated:
    """Step 1 of an escrow."""
    return EscrowCreated(
        **_place(1, None),
        escrow=escrow,
        step=1,
        payer=payer,
        payee=PAYEE,
        arbiter=ARBITER,
        asset="ETH",
        asset_address="0x" + "00" * 20,
        decimals=18,
        amount_base=amount_base,
        release_time=datetime(2030, 1, 1, tzinfo=UTC),
        refund_time=datetime(2031, 1, 1, tzinfo=UTC),
        dispute_window_s=3_600,
        policy=ReleasePolicy.PAYER,
    )


def escrow_approved(escrow: str, step: int = 2) -> EscrowApproved:
    """The payer approves the release."""
    return EscrowApproved(
        **_place(step, None), escrow=escrow, step=step, role=EscrowRole.PAYER, approver=PAYER
    )


def escrow_released(escrow: str, step: int = 3) -> EscrowReleased:
    """The amount is the payee's."""
    return EscrowReleased(**_place(step, None), escrow=escrow, step=step, payee=PAYEE, amount_base=10**18)


def escrow_refunded(escrow: str, step: int = 3) -> EscrowRefunded:
    """The amount is the payer's again."""
    return EscrowRefunded(**_place(step, None), escrow=escrow, step=step, payer=PAYER, amount_base=10**18)


def escrow_withdrawn(escrow: str, step: int = 4) -> EscrowWithdrawn:
    """The payee has taken the amount out."""
    return EscrowWithdrawn(
        **_place(step, None),
        escrow=escrow,
        step=step,
        role=EscrowRole.PAYEE,
        beneficiary=PAYEE,
        recipient=PAYEE,
        amount_base=10**18,
    )


def escrow_disputed(escrow: str, step: int = 2) -> EscrowDisputed:
    """The payee asks the arbiter to split."""
    return EscrowDisputed(
        **_place(step, None),
        escrow=escrow,
        step=step,
        role=EscrowRole.PAYEE,
        deadline=datetime(2030, 2, 1, tzinfo=UTC),
    )


def escrow_resolved(escrow: str, step: int = 3, *, amount_base: int = 10**18) -> EscrowResolved:
    """The arbiter gives the payee a quarter."""
    payee_part = amount_base * 2_500 // 10_000
    return EscrowResolved(
        **_place(step, None),
        escrow=escrow,
        step=step,
        payee_share_bps=2_500,
        payee_amount_base=payee_part,
        payer_amount_base=amount_base - payee_part,
    )


def dvp_created(escrow: str) -> DvpCreated:
    """Step 1 of a delivery versus payment: 2 WBTC against 5 of a token that is not listed."""
    return DvpCreated(
        **_place(1, None),
        escrow=escrow,
        step=1,
        seller=PAYER,
        buyer=PAYEE,
        delivery_asset="WBTC",
        delivery_asset_address="0x" + "01" * 20,
        delivery_decimals=8,
        delivery_amount_base=2 * 10**8,
        payment_asset=None,
        payment_asset_address="0x" + "02" * 20,
        payment_decimals=None,
        payment_amount_base=5,
        deadline=datetime(2030, 1, 1, tzinfo=UTC),
    )


def dvp_deposited(escrow: str, step: int, role: DvpRole) -> DvpDeposited:
    """A party's leg of :func:`dvp_created`."""
    sold = role is DvpRole.SELLER
    return DvpDeposited(
        **_place(step, None),
        escrow=escrow,
        step=step,
        role=role,
        depositor=PAYER if sold else PAYEE,
        asset_address="0x" + ("01" if sold else "02") * 20,
        amount_base=2 * 10**8 if sold else 5,
    )


def dvp_settled(escrow: str, step: int = 4) -> DvpSettled:
    """Each leg is the other's."""
    return DvpSettled(**_place(step, None), escrow=escrow, step=step)


def positions_changed(
    account_id: str,
    version: int,
    *,
    as_of: datetime | None = None,
    **positions: tuple[int, int],
) -> PositionsChanged:
    """An account's (collateral, debt) in base units by asset."""
    return PositionsChanged(
        event_id=positions_id(account_id, version),
        account_id=account_id,
        version=version,
        as_of=as_of or now(),
        positions=tuple(
            Position(
                chain_id=CHAIN_ID,
                asset=asset,
                decimals=DECIMALS[asset],
                collateral_base=collateral_base,
                debt_shares=debt_base,
            )
            for asset, (collateral_base, debt_base) in positions.items()
        ),
    )


def price_tick(
    sequence: int,
    *,
    as_of: datetime | None = None,
    observed_at: datetime | None = None,
    max_age_s: int = 3_900,
    **prices: str | MarkStatus,
) -> PriceTick:
    """A tick with a price by asset, or the status that says why there is none."""
    moment = as_of or now()
    return PriceTick(
        event_id=tick_id(sequence),
        sequence=sequence,
        as_of=moment,
        block_numbers={str(CHAIN_ID): sequence},
        marks=tuple(_mark(asset, price, observed_at or moment, max_age_s) for asset, price in prices.items()),
        markets=tuple(market_index(asset, moment) for asset in prices),
    )


def market_index(
    asset: str, reported_at: datetime, *, borrow_index: int = RAY, chain_id: int = CHAIN_ID
) -> MarketIndex:
    """A market's index at a tick; without interest, unless one is given."""
    return MarketIndex(
        chain_id=chain_id,
        asset=asset,
        borrow_index=borrow_index,
        rate_per_second=0,
        reported_at=reported_at,
    )


def _mark(asset: str, price: str | MarkStatus, observed_at: datetime, max_age_s: int) -> Mark:
    source = f"chainlink:{CHAIN_ID}:{asset}"
    if isinstance(price, MarkStatus):
        return Mark(asset=asset, status=price, source=source, max_age_s=max_age_s, reason=f"it is {price}")
    return Mark(
        asset=asset,
        status=MarkStatus.OK,
        price=Decimal(price),
        source=source,
        observed_at=observed_at,
        max_age_s=max_age_s,
    )


def margin_transition(
    account_id: str,
    sequence: int = 1,
    *,
    previous: State | None = State.HEALTHY,
    state: State = State.MARGIN_CALL,
    notify: bool = True,
    as_of: datetime | None = None,
) -> MarginTransition:
    """An account entered another margin state."""
    return MarginTransition(
        event_id=transition_id(account_id, sequence),
        account_id=account_id,
        sequence=sequence,
        previous_state=previous,
        state=state,
        severity=Severity.HIGH,
        notify=notify,
        valuation=Valuation(collateral_usd=Decimal("1200.5"), debt_usd=Decimal("1000"), health_pct=20.05),
        marks={"ETH": Decimal("1200.5"), "USDC": Decimal("1")},
        tick_sequence=7,
        position_version=2,
        as_of=as_of or now(),
    )


def operations_alert(subject: str = "ETH") -> OperationsAlert:
    """A mark became unusable."""
    return OperationsAlert(
        event_id=f"mark_unusable:{subject}:9",
        kind=OperationsAlertKind.MARK_UNUSABLE,
        subject=subject,
        severity=Severity.CRITICAL,
        message=f"{subject} has no usable mark",
        details={"tick": "9"},
        as_of=now(),
    )


def delivery_changed() -> DeliveryChanged:
    """A delivery reached its recipient."""
    delivery_id = f"{transition_id(PAYER, 1)}~{PAYER}~{Channel.EMAIL}"
    return DeliveryChanged(
        event_id=delivery_event_id(delivery_id, 1, DeliveryStatus.DELIVERED),
        delivery_id=delivery_id,
        alert_id=transition_id(PAYER, 1),
        recipient_id=PAYER,
        channel=Channel.EMAIL,
        status=DeliveryStatus.DELIVERED,
        attempt=1,
        error=None,
        as_of=now(),
    )


def settlement_command() -> Command:
    """A command whose deadline passed long ago."""
    accepted_at = datetime(2026, 1, 1, tzinfo=UTC)
    body = CommandBody(
        CHAIN_ID,
        CommandKind.VAULT_DEPOSIT,
        {"asset": "0x" + "00" * 20, "amount": "1"},
        deadline=datetime(2026, 1, 1, 1, tzinfo=UTC),
    )
    return accept(PAYER, "order-1", body, accepted_at)


def settlement_command_changed() -> SettlementCommandChanged:
    """A command was submitted."""
    command = settlement_command()
    return SettlementCommandChanged(
        event_id=progress_id(command.command_id, CommandStatus.SUBMITTED),
        command_id=command.command_id,
        account_id=PAYER,
        chain_id=CHAIN_ID,
        kind=command.body.kind,
        status=CommandStatus.SUBMITTED,
        reason=None,
        field=None,
        transaction=CommandTransaction(hash="0x" + "ab" * 32, nonce=0, block_number=None),
        as_of=now(),
    )


def margin_samples() -> MarginSamples:
    """Two accounts' health at a sampling moment."""
    valuation = Valuation(collateral_usd=Decimal(3), debt_usd=Decimal(2), health_pct=50.0)
    return MarginSamples(
        event_id="samples:2026-01-01T00:00:00+00:00:0",
        as_of=now(),
        tick_sequence=7,
        samples=(
            Sample(account_id=PAYER, state=State.HEALTHY, valuation=valuation),
            Sample(account_id=PAYEE, state=State.UNVALUED, valuation=None),
        ),
    )


def margin_shard_work() -> MarginShardWork:
    """A tick for the second of two shards."""
    tick = price_tick(1, ETH="3000", USDC="1")
    return MarginShardWork(
        event_id=shard_work_id(tick.event_id, 1, 2), shard=1, shards=2, tick=tick, as_of=tick.as_of
    )


VALID: Mapping[str, Callable[[], Event]] = {
    topics.SETTLEMENT_EVENTS: lambda: position_changed(PAYER, 1),
    topics.SETTLEMENT_COMMANDS: lambda: command_message(settlement_command()),
    topics.SETTLEMENT_PROGRESS: settlement_command_changed,
    topics.POSITIONS_CHANGED: lambda: positions_changed(PAYER, 1, ETH=(10**18, 0)),
    topics.MARKET_PRICES: lambda: price_tick(1, ETH="3000", USDC="1"),
    topics.MARGIN_ALERTS: lambda: margin_transition(PAYER),
    topics.MARGIN_SAMPLES: margin_samples,
    topics.MARGIN_SWEEPS: lambda: MarginSweep(event_id="sweep"),
    topics.MARGIN_SHARDS: margin_shard_work,
    topics.OPERATIONS_ALERTS: operations_alert,
    topics.DELIVERIES: delivery_changed,
}
"""One valid message of every topic."""
