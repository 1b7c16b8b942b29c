"""One message of every kind at a fixed moment, among them amounts and values at the edge of what is valid."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.domain.dvp import DvpRole
from shared.domain.escrows import EscrowRole, ReleasePolicy
from shared.domain.margin import Severity, State
from shared.domain.marks import MarkStatus, Method
from shared.domain.notifications import Channel, DeliveryStatus
from shared.domain.positions import PositionAction
from shared.domain.quotes import Refusal
from shared.domain.settlement_commands import CommandKind, CommandStatus
from shared.events import topics
from shared.events.base import UINT256_MAX, Event
from shared.events.deliveries import DeliveryChanged, delivery_event_id
from shared.events.margin import (
    MarginSamples,
    MarginShardWork,
    MarginSweep,
    Sample,
    Valuation,
    shard_work_id,
    transition_id,
)
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.events.prices import LastGood, Mark, MarketIndex, PriceTick, SourceQuote, tick_id
from shared.events.settlement import (
    DvpRefunded,
    DvpWithdrawn,
    EscrowArbiterChanged,
    EscrowArbiterProposed,
    EscrowReleased,
    EscrowResolved,
    EventRetracted,
    MarketChanged,
    PositionChanged,
    retraction_id,
)
from shared.events.settlement_commands import (
    CommandTransaction,
    SettlementCommand,
    SettlementCommandChanged,
    progress_id,
)
from tests.contract_messages import (
    dvp_created,
    dvp_deposited,
    dvp_settled,
    escrow_approved,
    escrow_created,
    escrow_disputed,
    escrow_refunded,
    escrow_released,
    escrow_withdrawn,
    place,
    position_changed,
)
from tests.messages import margin_transition, positions_changed

AS_OF = datetime(2025, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
ACCOUNT = "0x" + "a1" * 20
OTHER = "0x" + "b2" * 20
ESCROW = "0x" + "e5" * 20
BLOCK_HASH = "0x" + "0f" * 32

_PLACE: dict[str, Any] = place(12, AS_OF)
_TOKEN: dict[str, Any] = {"asset": "ETH", "asset_address": "0x" + "00" * 20, "decimals": 18}
_STEP: dict[str, Any] = {**_PLACE, "escrow": ESCROW}

_VALUATION = Valuation(
    collateral_usd=Decimal("1500.000000"), debt_usd=Decimal("1200.25"), health_pct=24.973963757
)

TICK = PriceTick(
    event_id=tick_id(7),
    sequence=7,
    as_of=AS_OF,
    block_numbers={"31337": 12},
    markets=(
        MarketIndex(
            chain_id=31337,
            asset="USDC",
            borrow_index=10**27 + 5,
            rate_per_second=10**17,
            reported_at=AS_OF,
        ),
    ),
    marks=(
        Mark(
            asset="ETH",
            status=MarkStatus.OK,
            price=Decimal("1833.20000000"),
            confidence=Decimal("0.9"),
            collateral_price=Decimal("1832.3"),
            debt_price=Decimal("1834.1"),
            source="chainlink+pyth-hermes",
            method=Method.WEIGHTED_MEDIAN,
            observed_at=AS_OF,
            age_s=0,
            max_age_s=3900,
            last_good=LastGood(
                price=Decimal("1833.2"), confidence=Decimal("0.9"), observed_at=AS_OF, max_age_s=3900
            ),
            quotes=(
                SourceQuote(
                    source="chainlink",
                    provider="chainlink",
                    price=Decimal("1833.20000000"),
                    confidence=Decimal(0),
                    observed_at=AS_OF,
                    read_at=AS_OF,
                    reference="18446744073709562776",
                ),
                SourceQuote(
                    source="pyth-hermes", provider="pyth", refusal=Refusal.UNREACHABLE, reason="HTTP 503"
                ),
            ),
        ),
        Mark(
            asset="USDC",
            status=MarkStatus.STALE,
            source="chainlink",
            max_age_s=3900,
            reason="4000 s old",
        ),
    ),
)

MESSAGES: tuple[tuple[str, Event], ...] = (
    (
        topics.SETTLEMENT_EVENTS,
        PositionChanged(
            **_PLACE,
            **_TOKEN,
            account_id=ACCOUNT,
            sequence=4,
            action=PositionAction.WITHDRAW,
            amount_base=10**18,
            collateral_base=UINT256_MAX,
            debt_shares=2**128 - 1,
            debt_base=UINT256_MAX,
            supply_shares=0,
            supplied_base=0,
            borrow_index=10**27 + 1,
        ),
    ),
    (topics.FINALIZED_EVENTS, position_changed(ACCOUNT, 4, debt_base=5, block_time=AS_OF)),
    (
        topics.SETTLEMENT_EVENTS,
        MarketChanged(
            **_PLACE,
            **_TOKEN,
            sequence=9,
            cash_base=5,
            supply_shares=5 * 10**6,
            debt_shares=2**128 - 1,
            borrow_index=10**27 + 1,
            pending_reserves_base=1,
            reserves_base=2,
            rate_per_second=10**18,
            reserve_factor_bps=1_000,
        ),
    ),
    (
        topics.SETTLEMENT_EVENTS,
        escrow_created(ESCROW, policy=ReleasePolicy.TWO_OF_THREE, block_time=AS_OF),
    ),
    (topics.SETTLEMENT_EVENTS, escrow_approved(ESCROW, block_time=AS_OF)),
    (topics.SETTLEMENT_EVENTS, escrow_released(ESCROW, block_time=AS_OF)),
    (topics.SETTLEMENT_EVENTS, escrow_refunded(ESCROW, block_time=AS_OF)),
    (
        topics.SETTLEMENT_EVENTS,
        EscrowArbiterProposed(**_STEP, step=3, role=EscrowRole.PAYEE, candidate=OTHER),
    ),
    (topics.SETTLEMENT_EVENTS, EscrowArbiterProposed(**_STEP, step=4, role=EscrowRole.PAYER, candidate=None)),
    (
        topics.SETTLEMENT_EVENTS,
        EscrowArbiterChanged(**_STEP, step=5, previous_arbiter=ACCOUNT, arbiter=OTHER),
    ),
    (topics.SETTLEMENT_EVENTS, escrow_disputed(ESCROW, block_time=AS_OF)),
    (
        topics.SETTLEMENT_EVENTS,
        EscrowResolved(
            **_STEP,
            step=3,
            payee_share_bps=10_000,
            payee_amount_base=UINT256_MAX,
            payer_amount_base=0,
        ),
    ),
    (topics.SETTLEMENT_EVENTS, escrow_withdrawn(ESCROW, block_time=AS_OF)),
    (topics.SETTLEMENT_EVENTS, dvp_created(ESCROW, delivery_amount_base=UINT256_MAX, block_time=AS_OF)),
    (topics.SETTLEMENT_EVENTS, dvp_deposited(ESCROW, 2, DvpRole.BUYER, block_time=AS_OF)),
    (topics.SETTLEMENT_EVENTS, dvp_settled(ESCROW, block_time=AS_OF)),
    (topics.SETTLEMENT_EVENTS, DvpRefunded(**_STEP, step=3, role=DvpRole.BUYER)),
    (
        topics.SETTLEMENT_EVENTS,
        DvpWithdrawn(
            **_STEP,
            step=5,
            role=DvpRole.SELLER,
            beneficiary=ACCOUNT,
            recipient=OTHER,
            asset_address="0x" + "02" * 20,
            amount_base=5,
        ),
    ),
    (
        topics.SETTLEMENT_EVENTS,
        EventRetracted(
            event_id=retraction_id(_PLACE["event_id"], 2),
            revision=2,
            retracted=EscrowReleased(**{**_STEP, "revision": 1}, step=3, payee=OTHER, amount_base=5),
        ),
    ),
    (
        topics.POSITIONS_CHANGED,
        positions_changed(ACCOUNT, 9, as_of=AS_OF, ETH=(2 * 10**18, 0), USDC=(0, 10**9)),
    ),
    (
        topics.SETTLEMENT_COMMANDS,
        SettlementCommand(
            event_id="cmd_1",
            account_id=ACCOUNT,
            chain_id=31337,
            kind=CommandKind.VAULT_BORROW,
            arguments={"asset": OTHER, "amount": str(UINT256_MAX)},
            deadline=AS_OF,
            body_hash="0f" * 32,
            as_of=AS_OF,
        ),
    ),
    (
        topics.SETTLEMENT_PROGRESS,
        SettlementCommandChanged(
            event_id=progress_id("cmd_1", CommandStatus.SUCCEEDED),
            command_id="cmd_1",
            account_id=ACCOUNT,
            chain_id=31337,
            kind=CommandKind.VAULT_BORROW,
            status=CommandStatus.SUCCEEDED,
            reason=None,
            field=None,
            transaction=CommandTransaction(hash=BLOCK_HASH, nonce=3, block_number=12),
            as_of=AS_OF,
        ),
    ),
    (topics.MARKET_PRICES, TICK),
    (topics.MARGIN_ALERTS, margin_transition(ACCOUNT, 2, previous=State.WARNING, as_of=AS_OF)),
    (
        topics.MARGIN_SAMPLES,
        MarginSamples(
            event_id="samples:2025-03-01T12:30:00+00:00:0",
            as_of=AS_OF,
            tick_sequence=7,
            samples=(
                Sample(account_id=ACCOUNT, state=State.MARGIN_CALL, valuation=_VALUATION),
                Sample(account_id=OTHER, state=State.UNVALUED, valuation=None),
            ),
        ),
    ),
    (topics.MARGIN_SWEEPS, MarginSweep(event_id="sweep")),
    (
        topics.MARGIN_SHARDS,
        MarginShardWork(
            event_id=shard_work_id(TICK.event_id, 3, 4), shard=3, shards=4, tick=TICK, as_of=AS_OF
        ),
    ),
    (
        topics.MARGIN_SHARDS,
        MarginShardWork(
            event_id=shard_work_id("sweep:2025-03-01", 0, 2), shard=0, shards=2, tick=None, as_of=AS_OF
        ),
    ),
    (
        topics.OPERATIONS_ALERTS,
        OperationsAlert(
            event_id="mark_unusable:ETH:7",
            kind=OperationsAlertKind.MARK_UNUSABLE,
            subject="ETH",
            severity=Severity.CRITICAL,
            message="ETH has no usable mark",
            details={"tick": "7"},
            as_of=AS_OF,
        ),
    ),
    (
        topics.DELIVERIES,
        DeliveryChanged(
            event_id=delivery_event_id("d", 1, DeliveryStatus.FAILED),
            delivery_id="d",
            alert_id=transition_id(ACCOUNT, 2),
            recipient_id=ACCOUNT,
            channel=Channel.WEBHOOK,
            status=DeliveryStatus.FAILED,
            attempt=1,
            error="HTTP 503",
            as_of=AS_OF,
        ),
    ),
)
