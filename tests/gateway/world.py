"""A project full of accounts, alerts, commands and deliveries for the gateway to show."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from gateway.settings import load_settings
from shared.domain.api_keys import ApiKey, Scope, format_key, hash_secret
from shared.domain.chain_progress import begun
from shared.domain.margin import MarginRecord, RecordedValuation, Severity, State
from shared.domain.marks import MarkStatus
from shared.domain.notifications import Channel, DeliveryStatus
from shared.domain.positions import Account, Position, position_key
from shared.domain.reconciliation import PositionDifference, Reconciliation, VaultBalance
from shared.domain.settlement_commands import Command, CommandBody, CommandKind, accept
from shared.events import topics
from shared.events.margin import MarginTransition, Valuation, transition_id
from shared.events.positions import Position as PositionOfEvent
from shared.events.positions import PositionsChanged, positions_id
from shared.events.prices import Mark, PriceTick, tick_id
from shared.messaging import publisher
from shared.messaging.publisher import OutboundMessage
from shared.stores import (
    accounts,
    alerts,
    api_keys,
    chain_cursors,
    chain_sync,
    database,
    deliveries,
    margin_states,
    position_differences,
    reconciliations,
    settlement_commands,
    ticks,
)
from shared.stores.deliveries import Delivery
from tests.conftest import Project
from tests.messages import market_index

ALL_SCOPES = frozenset(Scope)
WAIT_S = 15.0


def address(number: int) -> str:
    """The account id of a number."""
    return f"0x{number:040x}"


TABLES_READ = (
    "margin_history",
    "hourly_exposures",
    "price_bars",
    "portfolio_risks",
    "stress_test_results",
    "house_shortfalls",
    "house_risks",
    "house_account_risks",
)
"""The warehouse's tables and views that the gateway reads: the emulator takes a while for each."""


class World:
    """Writes into the stores and topics what the functions write there."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.settings = load_settings()
        self.client = database.connect(self.settings)
        self.publisher = publisher.connect(self.settings)
        self.now = datetime.now(UTC)

    def key(
        self,
        scopes: Iterable[Scope] = ALL_SCOPES,
        accounts: Iterable[str] | None = None,
        *,
        enabled: bool = True,
        expires_at: datetime | None = None,
    ) -> str:
        """A new key, as its owner presents it."""
        key_id = secrets.token_hex(6)
        secret = secrets.token_urlsafe(32)
        allowed = None if accounts is None else frozenset(accounts)
        api_keys.put(
            self.client,
            ApiKey(key_id, hash_secret(secret), "test", frozenset(scopes), allowed, expires_at, enabled),
        )
        return format_key(key_id, secret)

    def change_key(self, presented: str, **changes: Any) -> None:
        """Change a key that exists."""
        stored = api_keys.find(self.client, presented.split("_")[1])
        assert stored is not None
        api_keys.put(self.client, replace(stored, **changes))

    def account(
        self,
        number: int,
        *,
        eth: str = "10",
        usdc_debt: str = "10000",
        version: int = 1,
        extra_asset: str | None = None,
    ) -> Account:
        """An account that holds ETH and owes USDC."""
        held = [
            Position(31337, "ETH", 18, int(Decimal(eth).scaleb(18)), 0, version),
            Position(31337, "USDC", 6, 0, int(Decimal(usdc_debt).scaleb(6)), version),
        ]
        if extra_asset is not None:
            held.append(Position(31337, extra_asset, 18, 10**18, 0, version))
        return Account(
            address(number), version, self.now, {position_key(p.chain_id, p.asset): p for p in held}
        )

    def put_accounts(self, *written: Account) -> None:
        """Write accounts."""
        for start in range(0, len(written), 400):
            commit = database.Commit(self.client)
            for account in written[start : start + 400]:
                commit.put(accounts.path(account.account_id), accounts.encode(account))
            commit.apply()

    def put_record(
        self, number: int, state: State, *, transitions: int = 0, tick_sequence: int = 1, version: int = 1
    ) -> None:
        """Write a margin record."""
        valued = state is not State.UNVALUED
        record = MarginRecord(
            account_id=address(number),
            state=state,
            valued_state=state if valued else None,
            transitions=transitions,
            unvalued_assets=() if valued else ("ETH",),
            valuation=RecordedValuation(Decimal(20000), Decimal(10000), 100.0) if valued else None,
            tick_sequence=tick_sequence,
            position_version=version,
            as_of=self.now,
        )
        commit = database.Commit(self.client)
        commit.put(margin_states.path(address(number)), margin_states.encode(record))
        commit.apply()

    def tick(
        self,
        sequence: int,
        *,
        eth: str | None = "2000",
        usdc: str | None = "1",
        as_of: datetime | None = None,
        max_age_s: int = 3900,
        observed_at: datetime | None = None,
    ) -> PriceTick:
        """A tick of ETH and USDC; None is a mark that is missing."""
        moment = as_of or datetime.now(UTC)
        marks = tuple(
            Mark(
                asset=asset,
                status=MarkStatus.OK if price is not None else MarkStatus.STALE,
                price=None if price is None else Decimal(price),
                source="chainlink:31337",
                observed_at=(observed_at or moment) if price is not None else None,
                max_age_s=max_age_s,
                reason=None if price is not None else "the feed did not answer",
            )
            for asset, price in (("ETH", eth), ("USDC", usdc))
        )
        return PriceTick(
            event_id=tick_id(sequence),
            sequence=sequence,
            as_of=moment,
            block_numbers={},
            marks=marks,
            markets=tuple(market_index(asset, moment) for asset in ("ETH", "USDC")),
        )

    def put_tick(self, tick: PriceTick) -> None:
        """Record a tick, as fetch_prices does before it is announced."""
        commit = database.Commit(self.client)
        ticks.add(commit, tick)
        commit.apply()

    def transition(
        self,
        number: int,
        sequence: int,
        state: State = State.WARNING,
        *,
        previous: State | None = State.HEALTHY,
        tick_sequence: int = 1,
        as_of: datetime | None = None,
    ) -> MarginTransition:
        """A transition of an account."""
        return MarginTransition(
            event_id=transition_id(address(number), sequence),
            account_id=address(number),
            sequence=sequence,
            previous_state=previous,
            state=state,
            severity=Severity.MEDIUM,
            notify=True,
            valuation=Valuation(
                collateral_usd=Decimal("14000.5"), debt_usd=Decimal(10000), health_pct=40.005
            ),
            marks={"ETH": Decimal(1400), "USDC": Decimal(1)},
            tick_sequence=tick_sequence,
            position_version=1,
            as_of=as_of or self.now + timedelta(seconds=sequence),
        )

    def put_alerts(self, *transitions: MarginTransition, announce: bool = False) -> None:
        """Record transitions with the record's count, and announce them."""
        commit = database.Commit(self.client)
        latest: dict[str, MarginTransition] = {}
        for transition in transitions:
            alerts.add(commit, transition)
            latest[transition.account_id] = transition
        for transition in latest.values():
            number = int(transition.account_id, 16)
            record = MarginRecord(
                account_id=address(number),
                state=transition.state,
                valued_state=transition.state,
                transitions=transition.sequence,
                unvalued_assets=(),
                valuation=RecordedValuation(Decimal(14000), Decimal(10000), 40.0),
                tick_sequence=transition.tick_sequence,
                position_version=1,
                as_of=transition.as_of,
            )
            commit.put(margin_states.path(address(number)), margin_states.encode(record))
        commit.apply()
        if announce:
            for transition in transitions:
                self.announce_transition(transition)

    def put_chain_sync(self) -> None:
        """Write a relay's cursor at block 41 and its figures of a head at block 50."""
        progress = begun(31337, 41, "0x" + "ab" * 32).advanced(["0x" + "cd" * 32], 40)
        figures = chain_sync.ChainSync(
            chain_id=31337,
            as_of=self.now,
            head_number=50,
            head_time=1_018,
            cursor_number=41,
            cursor_time=1_000,
            retries=0,
            forks=0,
            head_regressions=0,
            retractions=0,
            unreadable="blocks 42 to 50: pruned",
            providers=[
                chain_sync.ProviderFigures(
                    name="node 0",
                    score=0.5,
                    requests=7,
                    failures=3,
                    rate_limits=0,
                    latency_s=None,
                    block_range=2_000,
                )
            ],
        )
        commit = database.Commit(self.client)
        commit.put(chain_cursors.path(31337), chain_cursors.encode(replace(progress, differences=2)))
        commit.put(chain_sync.path(31337), chain_sync.encode(figures))
        known = Reconciliation(31337, 40, "0x" + "cd" * 32, self.now, accounts=3).completed(self.now)
        commit.put(reconciliations.path(31337), reconciliations.encode(known))
        for number, is_announced in enumerate((True, False, True)):
            difference = PositionDifference(
                chain_id=31337,
                account_id=address(number),
                asset="ETH",
                block_number=40,
                vault=VaultBalance(1, 2),
                vault_sequence=3,
                stored=VaultBalance(),
                stored_sequence=0,
                found_at=self.now,
                is_announced=is_announced,
            )
            path = position_differences.path(difference.difference_id)
            commit.put(path, position_differences.encode(difference))
        commit.apply()

    def put_command(self, number: int, client_key: str = "order") -> Command:
        """Write a command that was accepted."""
        body = CommandBody(
            31337,
            CommandKind.VAULT_DEPOSIT,
            {"asset": "0x" + "00" * 20, "amount": str(2**256 - 1)},
            self.now + timedelta(hours=1),
        )
        command = accept(address(number), client_key, body, self.now)
        commit = database.Commit(self.client)
        commit.put(settlement_commands.path(command.command_id), settlement_commands.encode(command))
        commit.apply()
        return command

    def put_delivery(self, number: int) -> None:
        """Write the delivery ``d<number>`` of an account's first alert."""
        delivery = Delivery(
            delivery_id=f"d{number}",
            alert_id=transition_id(address(number), 1),
            recipient_id=address(number),
            channel=Channel.EMAIL,
            status=DeliveryStatus.DELIVERED,
            attempt=1,
            error=None,
            leased_until=None,
            created_at=self.now,
        )
        commit = database.Commit(self.client)
        commit.put(deliveries.path(delivery.delivery_id), deliveries.encode(delivery))
        commit.apply()

    def publish(self, topic: str, data: bytes, ordering_key: str = "") -> None:
        """Publish a message and wait until Pub/Sub has it."""
        (failure,) = self.publisher.publish([OutboundMessage(topic, data, ordering_key)])
        assert failure is None, failure

    def announce_tick(self, tick: PriceTick) -> None:
        """Publish a tick."""
        self.publish(topics.MARKET_PRICES, tick.encode())

    def announce_transition(self, transition: MarginTransition) -> None:
        """Publish a transition."""
        self.publish(topics.MARGIN_ALERTS, transition.encode(), transition.account_id)

    def announce_positions(self, account: Account) -> None:
        """Publish an account's positions."""
        event = PositionsChanged(
            event_id=positions_id(account.account_id, account.version),
            account_id=account.account_id,
            version=account.version,
            as_of=account.as_of,
            positions=tuple(
                PositionOfEvent(
                    chain_id=p.chain_id,
                    asset=p.asset,
                    decimals=p.decimals,
                    collateral_base=p.collateral_base,
                    debt_shares=p.debt_shares,
                )
                for p in account.positions.values()
            ),
        )
        self.publish(topics.POSITIONS_CHANGED, event.encode(), account.account_id)
