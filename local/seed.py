"""A reproducible clientele: accounts with collateral and debt, how to reach them, and an API key."""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from google.cloud import firestore

from local.chain import LocalChain, borrow, deposit
from local.deployment import ASSETS, Deployment
from shared.domain.api_keys import ApiKey, Scope, format_key, hash_secret
from shared.stores import api_keys, contacts, custody, database
from shared.stores.contacts import Contact, WebhookEndpoint

_ETHER = 10**18
_DECIMALS = {asset.asset: asset.decimals for asset in ASSETS}
_PRICES = {asset.asset: asset.price for asset in ASSETS}
_VOLATILE = ("ETH", "WBTC", "LINK")
_GAS_MONEY = 100 * _ETHER
_KEY_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Client:
    """An account and what it starts with, in base units by asset."""

    account_id: str
    collateral: dict[str, int]
    debt: dict[str, int]


def make_clients(count: int, seed: int) -> list[Client]:
    """``count`` clients, the same for the same seed.

    Most owe dollars against coins and suffer when prices fall, some owe coins against dollars and suffer
    when they rise, and a few owe nothing. Health starts between 56 % (the vault's initial margin is 55 %)
    and about 160 %, more of them near the lower end.
    """
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    clients: list[Client] = []
    for number in range(count):
        digest = hashlib.sha256(f"client:{seed}:{number}".encode()).hexdigest()
        value = Decimal(str(round(draw.lognormvariate(11.5, 0.9), 2)))
        owes_coins = draw.random() < 0.2
        held = ["USDC"] if owes_coins else draw.sample(_VOLATILE, draw.choice((1, 1, 2, 3)))
        owed = draw.choice(("ETH", "WBTC")) if owes_coins else "USDC"
        collateral = {asset: _base(asset, value / len(held)) for asset in held}
        health = Decimal(str(round(0.56 + draw.expovariate(4.0), 4)))
        debt = {} if draw.random() < 0.05 else {owed: _base(owed, value / (1 + min(health, Decimal("1.6"))))}
        clients.append(Client(f"0x{digest[:40]}", collateral, debt))
    return clients


def _base(asset: str, value_usd: Decimal) -> int:
    return int((value_usd / _PRICES[asset]).scaleb(_DECIMALS[asset]))


def fund(chain: LocalChain, deployment: Deployment, clients: Sequence[Client]) -> None:
    """Give every client its native coins and let it deposit its collateral."""
    chain.set_balances(
        {client.account_id: client.collateral.get("ETH", 0) + _GAS_MONEY for client in clients}
    )
    chain.mine_in_turn(
        deposit(deployment, client.account_id, asset, amount)
        for client in clients
        for asset, amount in client.collateral.items()
    )


def lend(chain: LocalChain, deployment: Deployment, clients: Sequence[Client]) -> None:
    """Let every client borrow what it owes."""
    chain.mine_in_turn(
        borrow(deployment, client.account_id, asset, amount)
        for client in clients
        for asset, amount in client.debt.items()
    )


def add_contacts(
    client: firestore.Client, account_ids: Sequence[str], *, webhook_url: str, webhook_secret: str
) -> None:
    """Every account, and the operators, by e-mail and by webhook."""
    recipients = [*account_ids, contacts.OPERATIONS]
    for start in range(0, len(recipients), database.MAX_WRITES):
        commit = database.Commit(client)
        for recipient in recipients[start : start + database.MAX_WRITES]:
            contact = Contact(
                recipient_id=recipient,
                email=f"{recipient}@clients.example",
                webhook=WebhookEndpoint(f"{webhook_url}/hook/{recipient}", webhook_secret),
            )
            commit.put(contacts.path(recipient), contacts.encode(contact))
        commit.apply()


def add_custody(client: firestore.Client, account_id: str) -> None:
    """Take an account into custody whose key is in the setting."""
    custody.put(client, custody.Custody(account_id, key_version=None))


def add_api_key(client: firestore.Client, name: str, *, accounts: Sequence[str] | None = None) -> str:
    """A key with every scope, for these accounts or for all; as its owner gets it, once."""
    key_id = "".join(secrets.choice(_KEY_CHARACTERS) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    api_keys.put(
        client,
        ApiKey(
            key_id=key_id,
            secret_hash=hash_secret(secret),
            name=name,
            scopes=frozenset(Scope),
            accounts=None if accounts is None else frozenset(accounts),
            expires_at=None,
            enabled=True,
        ),
    )
    return format_key(key_id, secret)
