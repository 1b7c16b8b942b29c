"""Valid messages of our own topics, for tests that publish or spoil them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from decimal import Decimal

from shared.domain.interest import RAY
from shared.domain.margin import Severity, State
from shared.domain.marks import MarkStatus
from shared.domain.notifications import Channel, DeliveryStatus
from shared.domain.settlement_commands import Command, CommandBody, CommandKind, CommandStatus, accept
from shared.events.deliveries import DeliveryChanged, delivery_event_id
from shared.events.margin import (
    MarginSamples,
    MarginShardWork,
    MarginTransition,
    Sample,
    Valuation,
    shard_work_id,
    transition_id,
)
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.events.positions import Position, PositionsChanged, positions_id
from shared.events.prices import Mark, MarketIndex, PriceTick, tick_id
from shared.events.settlement_commands import (
    CommandTransaction,
    SettlementCommandChanged,
    progress_id,
)

CHAIN_ID = 31337
PAYER, PAYEE, ARBITER = ("0x" + digit * 40 for digit in "abc")
DECIMALS = {"ETH": 18, "WBTC": 8, "USDC": 6, "LINK": 18}


def new_address() -> str:
    """An address that no other test uses."""
    return "0x" + secrets.token_hex(20)


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


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
