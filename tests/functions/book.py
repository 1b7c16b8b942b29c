"""Accounts and ticks in Firestore, for the tests of evaluate_margin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from google.cloud import firestore

from shared.domain.margin import MarginRecord
from shared.domain.positions import Account, Position
from shared.events.margin import MarginTransition
from shared.events.prices import PriceTick
from shared.stores import accounts, alerts, database, margin_states, ticks
from tests.messages import CHAIN_ID, DECIMALS, now

LONG_AGO = timedelta(hours=1)


def account(
    account_id: str, version: int = 1, *, as_of: datetime | None = None, **positions: tuple[str, str]
) -> Account:
    """An account with (collateral, debt) in whole tokens by asset."""
    held = {
        f"{CHAIN_ID}:{asset}": Position(
            CHAIN_ID,
            asset,
            DECIMALS.get(asset, 18),
            int(Decimal(collateral) * 10 ** DECIMALS.get(asset, 18)),
            int(Decimal(debt) * 10 ** DECIMALS.get(asset, 18)),
            sequence=version,
        )
        for asset, (collateral, debt) in positions.items()
    }
    return Account(account_id, version, as_of or now(), held)


def store_accounts(store: firestore.Client, book: Iterable[Account], *, age: timedelta = LONG_AGO) -> None:
    """Write accounts as apply_settlement_event did, ``age`` ago."""
    moment = datetime.now(UTC) - age
    listed = list(book)
    for start in range(0, len(listed), 400):
        batch = store.batch()
        for each in listed[start : start + 400]:
            document = store.document(accounts.path(each.account_id))
            batch.set(document, {**accounts.encode(each), "updated_at": moment})
        batch.commit()


def store_tick(store: firestore.Client, tick: PriceTick) -> PriceTick:
    """Write a tick as fetch_prices does."""
    commit = database.Commit(store)
    ticks.add(commit, tick)
    commit.apply()
    return tick


def records(store: firestore.Client) -> Mapping[str, MarginRecord]:
    """Everything recorded, by account."""
    return {record.account_id: record for record, _, _ in margin_states.list_updated_since(store, None)}


def announced_states(store: firestore.Client) -> dict[str, list[tuple[int, str]]]:
    """Each account's transitions, as (sequence, state) in order of their sequence."""
    found: dict[str, list[tuple[int, str]]] = {}
    for transition in _transitions(store):
        found.setdefault(transition.account_id, []).append((transition.sequence, transition.state.value))
    return {account_id: sorted(states) for account_id, states in found.items()}


def _transitions(store: firestore.Client) -> list[MarginTransition]:
    return alerts.list_since(store, datetime.fromtimestamp(0, UTC), limit=100_000)
