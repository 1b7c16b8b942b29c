"""Reads of one operation, batched: what the same level of a query asks for is read together."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TypeVar

from strawberry.dataloader import DataLoader

from gateway.errors import BadUserInputError
from gateway.live.book import Holding, LiveBook
from gateway.live.hub import LiveHub
from gateway.margin.types import Margin
from gateway.reading import StoreReader
from gateway.risk.history_models import HistoryModels
from gateway.risk.measures import AccountRisk, RiskQuestion, measure_accounts
from gateway.risk.reading import present_market
from gateway.risk.requirements import MarginRequirements, TriggerQuestion, from_valuation, trigger_prices
from shared.domain.api_keys import ApiKey
from shared.domain.lending import LendingMarket, Supply
from shared.domain.margin import MarginRecord
from shared.domain.market import Holder, value_accounts
from shared.domain.network import Network
from shared.domain.positions import Account
from shared.domain.settlement_commands import Command
from shared.domain.transactions import Transaction
from shared.domain.webhook_deliveries import is_endpoint_id
from shared.domain.webhooks import WebhookEndpoint, sees_endpoint
from shared.events.margin import MarginTransition
from shared.risk.measurement_policy import RiskMethod, measurement_policy
from shared.risk.prices import TriggerPrices
from shared.runtime import clock
from shared.stores import (
    accounts,
    alerts,
    dvp_escrows,
    escrows,
    margin_states,
    markets,
    settlement_commands,
    supplies,
    transactions,
    webhook_endpoints,
)
from shared.stores.dvp_escrows import StoredDvpEscrow
from shared.stores.escrows import StoredEscrow

Key = TypeVar("Key")
Value = TypeVar("Value")

ESCROWS_PER_BATCH = 500
_COMMAND_ID = re.compile(r"cmd_[0-9a-f]{40}")


class Loaders:
    """The loaders of one operation. What the key may not see is loaded as if it did not exist."""

    def __init__(
        self, key: ApiKey, network: Network, stores: StoreReader, live: LiveHub, histories: HistoryModels
    ) -> None:
        self._key = key
        self._network = network
        self._stores = stores
        self._live = live
        self._histories = histories
        self.account = _loader(self._accounts)
        self.margin_record = _loader(self._margin_records)
        self.margin = _loader(self._margins)
        self.requirements = _loader(self._requirements)
        self.trigger_prices = _loader(_trigger_prices)
        self.risk: DataLoader[RiskQuestion, AccountRisk | None] = DataLoader(load_fn=self._risks)
        self.lending_market = _loader(self._lending_markets)
        self.supplies = _loader(self._supplies)
        self.alert = _loader(self._alerts)
        self.settlement_command = _loader(self._settlement_commands)
        self.webhook_endpoint = _loader(self._webhook_endpoints)
        self.transaction = _loader(self._transactions)
        self.escrow = _loader(self._escrows)
        self.dvp_escrow = _loader(self._dvp_escrows)
        self.escrows_of_party = _loader(self._escrows_of_parties)

    def prime_account(self, account: Account) -> None:
        """Keep an account that was read with a page."""
        self.account.prime(account.account_id, account)

    def prime_margin_record(self, record: MarginRecord) -> None:
        """Keep a record that was read with a page."""
        self.margin_record.prime(record.account_id, record)

    async def _accounts(self, account_ids: list[str]) -> list[Account | None]:
        visible = [account_id for account_id in account_ids if self._key.sees(account_id)]
        found = await self._stores.read(accounts.find_many, visible) if visible else {}
        return [found.get(account_id) for account_id in account_ids]

    async def _margin_records(self, account_ids: list[str]) -> list[MarginRecord | None]:
        visible = [account_id for account_id in account_ids if self._key.sees(account_id)]
        found = await self._stores.read(margin_states.find_many, visible) if visible else {}
        return [found[account_id][0] if account_id in found else None for account_id in account_ids]

    async def _settlement_commands(self, command_ids: list[str]) -> list[Command | None]:
        wanted = [each for each in command_ids if _COMMAND_ID.fullmatch(each)]
        found = await self._stores.read(settlement_commands.find_many, wanted) if wanted else {}
        commands = [found[each][0] if each in found else None for each in command_ids]
        return [each if each is not None and self._key.sees(each.account_id) else None for each in commands]

    async def _webhook_endpoints(self, endpoint_ids: list[str]) -> list[WebhookEndpoint | None]:
        wanted = [each for each in endpoint_ids if is_endpoint_id(each)]
        found = await self._stores.read(webhook_endpoints.find_many, wanted) if wanted else {}
        endpoints = [found[each][0] if each in found else None for each in endpoint_ids]
        return [each if each is not None and sees_endpoint(self._key, each) else None for each in endpoints]

    async def _transactions(self, transaction_ids: list[str]) -> list[Transaction | None]:
        found = await self._stores.read(transactions.find_many, transaction_ids)
        transactions_found = map(found.get, transaction_ids)
        return [
            each if each is not None and self._key.sees(each.signer) else None for each in transactions_found
        ]

    async def _margins(self, account_ids: list[str]) -> list[Margin | None]:
        """Margins at the latest tick, all accounts valued in one pass."""
        read = await self.account.load_many(account_ids)
        records = await self.margin_record.load_many(account_ids)
        book = LiveBook(self._network)
        for account, record in zip(read, records, strict=True):
            if account is None:
                continue
            held = account.positions.values()
            book.put_positions(
                account.account_id,
                account.version,
                account.as_of,
                [Holding.of(p) for p in held],
            )
            book.put_record(account.account_id, record)
        if self._live.book.tick is not None:
            book.apply_tick(self._live.book.tick, clock.now())
        book.settle()
        return [book.margin(account_id) if account_id in book else None for account_id in account_ids]

    async def _holders(self, account_ids: list[str]) -> list[Holder]:
        """The accounts among these that exist for the key."""
        read = await self.account.load_many(account_ids)
        records = await self.margin_record.load_many(account_ids)
        return [Holder.of(account, record) for account, record in zip(read, records, strict=True) if account]

    async def _requirements(self, account_ids: list[str]) -> list[MarginRequirements | None]:
        """Requirements at the latest tick, all accounts valued in one pass."""
        holders = await self._holders(account_ids)
        market = present_market(self._network, self._live)
        valuations = await asyncio.to_thread(value_accounts, market, holders)
        found = {
            valuation.holder.account.account_id: from_valuation(market, valuation) for valuation in valuations
        }
        return [found.get(account_id) for account_id in account_ids]

    async def _risks(self, questions: list[RiskQuestion]) -> list[AccountRisk | Exception | None]:
        """Risks at the latest tick; those of one method, level and horizon are measured together."""
        wanted = list(dict.fromkeys(question.account_id for question in questions))
        holders = {holder.account.account_id: holder for holder in await self._holders(wanted)}
        history = await self._histories.at(measurement_policy().n_returns)
        market = present_market(self._network, self._live)
        together: dict[tuple[RiskMethod, Decimal, int], list[RiskQuestion]] = {}
        for question in questions:
            if question.account_id in holders:
                kind = (question.method, question.level, question.horizon_days)
                together.setdefault(kind, []).append(question)
        found: dict[RiskQuestion, AccountRisk | Exception] = {}
        for (method, level, horizon_days), asked in together.items():
            try:
                measured = await asyncio.to_thread(
                    measure_accounts,
                    market,
                    history,
                    [holders[question.account_id] for question in asked],
                    method=method,
                    level=level,
                    horizon_days=horizon_days,
                )
            except BadUserInputError as error:
                # Of this level only: others that are asked for in the same operation have an answer.
                found.update(dict.fromkeys(asked, error))
            else:
                found.update(zip(asked, measured, strict=True))
        return [found.get(question) for question in questions]

    async def _lending_markets(self, keys: list[str]) -> list[LendingMarket | None]:
        found = await self._stores.read(markets.find_many, keys)
        return [found.get(key) for key in keys]

    async def _supplies(self, account_ids: list[str]) -> list[dict[str, Supply]]:
        visible = [account_id for account_id in account_ids if self._key.sees(account_id)]
        found = await self._stores.read(supplies.find_many, visible) if visible else {}
        return [found.get(account_id, {}) for account_id in account_ids]

    async def _alerts(self, alert_ids: list[str]) -> list[MarginTransition | None]:
        found = await self._stores.read(alerts.find_many, alert_ids)
        return [
            transition
            if (transition := found.get(alert_id)) and self._key.sees(transition.account_id)
            else None
            for alert_id in alert_ids
        ]

    async def _escrows(self, escrow_ids: list[str]) -> list[StoredEscrow | None]:
        found = await self._stores.read(escrows.find_many, escrow_ids)
        return [
            stored if (stored := found.get(escrow_id)) and sees_escrow(self._key, stored) else None
            for escrow_id in escrow_ids
        ]

    async def _dvp_escrows(self, escrow_ids: list[str]) -> list[StoredDvpEscrow | None]:
        found = await self._stores.read(dvp_escrows.find_many, escrow_ids)
        return [
            stored if (stored := found.get(escrow_id)) and sees_escrow(self._key, stored) else None
            for escrow_id in escrow_ids
        ]

    async def _escrows_of_parties(self, keys: list[tuple[str, str | None, int]]) -> list[list[StoredEscrow]]:
        """The first escrows of each (party, after, limit).

        Parties that ask for the same page are read together. Firestore limits a query, not each party of
        it; where the joint answer was cut, each party is read for itself.
        """
        pages: dict[tuple[str | None, int], list[str]] = {}
        for party, after, limit in keys:
            pages.setdefault((after, limit), []).append(party)
        found: dict[tuple[str, str | None, int], list[StoredEscrow]] = {}
        for (after, limit), parties in pages.items():
            joint = await self._stores.read(
                escrows.list_page, after=after, limit=ESCROWS_PER_BATCH, parties=parties
            )
            for party in parties:
                of_party = [stored for stored in joint if party in stored.escrow.parties]
                if len(joint) == ESCROWS_PER_BATCH and len(of_party) < limit:
                    of_party = await self._stores.read(
                        escrows.list_page, after=after, limit=limit, parties=[party]
                    )
                found[party, after, limit] = of_party[:limit]
        return [found[key] for key in keys]


async def _trigger_prices(questions: list[TriggerQuestion]) -> list[TriggerPrices]:
    return await asyncio.to_thread(trigger_prices, questions)


def sees_escrow(key: ApiKey, stored: StoredEscrow | StoredDvpEscrow) -> bool:
    """Whether a key may see an escrow: it may if it may see one of the parties."""
    return any(map(key.sees, stored.escrow.parties))


def _loader(load: Callable[[list[Key]], Awaitable[list[Value]]]) -> DataLoader[Key, Value]:
    return DataLoader(load_fn=load)
